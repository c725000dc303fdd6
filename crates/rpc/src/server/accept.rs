//! The accept loop: admits connections, bounds their number and hands them to jsonrpsee.

use std::{sync::Arc, time::Duration};

use jsonrpsee::server::{
    BatchRequestConfig, Methods, ServerConfig, StopHandle, TowerService, TowerServiceBuilder,
    middleware::rpc::RpcServiceBuilder, serve_with_graceful_shutdown,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tower::layer::util::{Identity, Stack};

use super::{
    Limits,
    auth::{Gate, Guarded},
    calls::CallsLayer,
    cut::Cut,
    listen::Listener,
};

/// Requests in one batch; they run one after the other and count as one call.
const MAX_BATCH: u32 = 64;
/// Pause after a failed accept, which means that file descriptors or memory are short.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);
/// What a client is told when every place is taken.
const NO_ROOM: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

type Middleware = Stack<CallsLayer, Identity>;
/// jsonrpsee's service of one connection.
pub(super) type Rpc = TowerService<Middleware, Identity>;

/// Makes the service of each connection.
#[derive(Debug, Clone)]
pub(super) struct Services {
    builder: TowerServiceBuilder<Middleware, Identity>,
    methods: Methods,
    stop: StopHandle,
}

impl Services {
    pub(super) fn new(
        methods: impl Into<Methods>,
        limits: Limits,
        stop: StopHandle,
        calls: &CancellationToken,
    ) -> Self {
        let sessions = u32::try_from(limits.max_connections.saturating_mul(2)).unwrap_or(u32::MAX);
        let config = ServerConfig::builder()
            .max_request_body_size(limits.max_request_bytes)
            .max_response_body_size(limits.max_response_bytes)
            .max_subscriptions_per_connection(limits.max_subscriptions)
            .set_message_buffer_capacity(limits.max_queued)
            .set_batch_request_config(BatchRequestConfig::Limit(MAX_BATCH))
            .max_connections(sessions)
            .build();
        let builder = jsonrpsee::server::Server::builder()
            .set_config(config)
            .to_service_builder()
            .set_rpc_middleware(RpcServiceBuilder::new().layer(CallsLayer::new(limits, calls)));
        Self { builder, methods: methods.into(), stop }
    }

    fn connection(&self) -> Rpc {
        self.builder.clone().build(self.methods.clone(), self.stop.clone())
    }
}

/// The places for the connections of one listener.
#[derive(Debug, Clone)]
pub(super) struct Slots {
    free: Arc<Semaphore>,
    max: u32,
}

impl Slots {
    pub(super) fn new(max: usize) -> Self {
        let max = u32::try_from(max.min(Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX);
        Self { free: Arc::new(Semaphore::new(max as usize)), max }
    }

    fn take(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.free).try_acquire_owned().ok()
    }

    /// Waits until no connection is left.
    pub(super) async fn all_free(&self) {
        // The semaphore is never closed; if it were, nothing could hold a place either.
        let _ = self.free.acquire_many(self.max).await;
    }
}

/// Accepts the connections of one listener until the server stops.
#[derive(Debug)]
pub(super) struct Acceptor {
    services: Services,
    slots: Slots,
    stop: CancellationToken,
    cut: CancellationToken,
    gate: Option<Arc<Gate>>,
}

impl Acceptor {
    pub(super) fn new(
        services: Services,
        slots: Slots,
        stop: &CancellationToken,
        cut: &CancellationToken,
    ) -> Self {
        Self { services, slots, stop: stop.clone(), cut: cut.clone(), gate: None }
    }

    /// Lets only requests in that pass the gate.
    pub(super) fn guarded(mut self, gate: Gate) -> Self {
        self.gate = Some(Arc::new(gate));
        self
    }

    pub(super) async fn run<L: Listener>(self, listener: L) {
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok(stream) => self.admit::<L>(stream),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept control connections; raise the limit of open files");
                    tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
                }
            }
        }
    }

    fn admit<L: Listener>(&self, stream: L::Stream) {
        let Some(place) = self.slots.take() else {
            tracing::debug!(max = self.slots.max, "no place for another control connection");
            L::turn_away(&stream, NO_ROOM);
            return;
        };
        let stream = Cut::new(stream, &self.cut, place);
        let service = Guarded::new(self.services.connection(), self.gate.clone());
        let stopped = self.services.stop.clone().shutdown();
        tokio::spawn(async move {
            if let Err(error) = serve_with_graceful_shutdown(stream, service, stopped).await {
                tracing::debug!(error, "a control connection broke");
            }
        });
    }
}
