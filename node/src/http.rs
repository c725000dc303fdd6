//! Metrics and health over HTTP.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{CACHE_CONTROL, CONTENT_TYPE},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use peerage_api::Node;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinHandle,
    time::timeout,
};

/// Connections at once; further ones wait for a place.
const MAX_CONNECTIONS: usize = 32;
/// A request head must be complete within this.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection lives no longer than this, so that 32 silent ones cannot hold the server.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
/// The driver must answer within this to count as healthy.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// As Prometheus and the OpenMetrics specification name it.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";

/// The running server; ends when dropped.
#[derive(Debug)]
pub(crate) struct Http {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Drop for Http {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Http {
    /// Listens on `HOST:PORT`.
    pub(crate) async fn start(node: Node, listen: &str) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        if !address.ip().is_loopback() {
            tracing::warn!(%address, "metrics and health can be read by other machines");
        }
        Ok(Self { address, accepting: tokio::spawn(accept(listener, node)) })
    }
}

async fn accept(listener: TcpListener, node: Node) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let node = node.clone();
                tokio::spawn(async move {
                    // Its end, in time or not, is the client's business.
                    let _ = timeout(CONNECTION_TIMEOUT, serve(stream, node)).await;
                    drop(place);
                });
            }
            // Out of file descriptors: wait for some to be closed.
            Err(error) => {
                tracing::debug!(%error, "connection for metrics not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, node: Node) -> hyper::Result<()> {
    let service = service_fn(move |request| {
        let node = node.clone();
        async move { Ok::<_, Infallible>(answer(&request, &node).await) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

async fn answer(request: &Request<Incoming>, node: &Node) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return reply(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "only GET\n".into());
    }
    match request.uri().path() {
        "/metrics" => metrics(node).await,
        "/healthz" => health(healthy(node).await),
        "/readyz" => health(ready(node).await),
        _ => reply(StatusCode::NOT_FOUND, PLAIN, "not found\n".into()),
    }
}

fn reply(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, hyper::header::HeaderValue::from_static("no-store"));
    response
}

fn health(outcome: Result<(), String>) -> Response<Full<Bytes>> {
    match outcome {
        Ok(()) => reply(StatusCode::OK, PLAIN, "ok\n".into()),
        Err(reason) => reply(StatusCode::SERVICE_UNAVAILABLE, PLAIN, format!("{reason}\n")),
    }
}

async fn metrics(node: &Node) -> Response<Full<Bytes>> {
    match within(node.metrics()).await {
        Ok(text) => reply(StatusCode::OK, OPENMETRICS, text),
        Err(reason) => health(Err(reason)),
    }
}

/// Whether the driver answers in time.
async fn healthy(node: &Node) -> Result<(), String> {
    within(node.id()).await.map(|_| ())
}

/// Whether others can reach the node and it can keep what it learns.
async fn ready(node: &Node) -> Result<(), String> {
    if within(node.status()).await?.listen.is_empty() {
        return Err("not listening".to_owned());
    }
    let checks = within(node.doctor()).await?;
    let failing = |name: &str| {
        let failed = |c: &&peerage_api::node::Check| {
            c.name == name && c.verdict == peerage_api::node::Verdict::Fail
        };
        checks.iter().find(failed).map(|check| format!("{name}: {}", check.detail))
    };
    failing("store").map_or(Ok(()), Err)
}

async fn within<T, E: std::fmt::Display>(
    answer: impl Future<Output = Result<T, E>>,
) -> Result<T, String> {
    match timeout(ANSWER_TIMEOUT, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the node did not answer within 1 s".to_owned()),
    }
}
