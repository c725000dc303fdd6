//! TCP: nobody without the token, no web page, nothing too large.

use std::{fs, net::SocketAddr, os::unix::fs::PermissionsExt};

use peerage_api::{Feed, Method, Visitor, peers::PeersError, types::PeerId, visit};
use peerage_rpc::{Client, Config, ConnectError, Server, StartError};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::daemon::{self, Daemon, asked, remote};

async fn tcp() -> (Daemon, SocketAddr, String) {
    let daemon = Daemon::with(|c| c.tcp = Some(([127, 0, 0, 1], 0).into())).await;
    let endpoints = daemon.server.endpoints().clone();
    let token = fs::read_to_string(endpoints.token_file.unwrap()).unwrap().trim().to_owned();
    (daemon, endpoints.tcp.unwrap(), token)
}

/// Sends one request and returns status and body.
async fn post(address: SocketAddr, headers: &[(&str, &str)], body: &str) -> (u16, String) {
    let mut request = "POST / HTTP/1.1\r\nconnection: close\r\n".to_owned();
    let length = body.len().to_string();
    let fixed = [("content-type", "application/json"), ("content-length", &length)];
    for (name, value) in headers.iter().chain(&fixed) {
        request += &format!("{name}: {value}\r\n");
    }
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("{request}\r\n").as_bytes()).await.unwrap();
    // A server that refuses by the headers does not wait for the body.
    let _ = stream.write_all(body.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    let status = answer.split(' ').nth(1).expect("a status line").parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

fn ask_metrics() -> String {
    json!({ "jsonrpc": "2.0", "id": 1, "method": "node.metrics" }).to_string()
}

#[tokio::test]
async fn a_request_with_the_token_is_served_over_http_and_websocket() {
    let (mut daemon, address, token) = tcp().await;
    let bearer = format!("Bearer {token}");
    let (by_address, by_name) = (address.to_string(), format!("localhost:{}", address.port()));
    let origin = format!("http://{by_name}");
    for headers in [
        vec![("host", by_address.as_str()), ("authorization", &bearer)],
        vec![("host", &by_name), ("authorization", &bearer), ("origin", &origin)],
    ] {
        let body = ask_metrics();
        let ((status, answer), ()) = tokio::join!(post(address, &headers, &body), async {
            asked!(daemon, Node::Metrics).reply(Ok("over http".into()));
        });
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!((status, &answer["result"]), (200, &json!("over http")));
    }
    for given in [by_address.clone(), by_name, format!("ws://{by_address}")] {
        let node = remote(Client::tcp(&given, &token).await.unwrap());
        let (metrics, ()) = tokio::join!(node.metrics(), async {
            asked!(daemon, Node::Metrics).reply(Ok("over websocket".into()));
        });
        assert_eq!(metrics.unwrap(), "over websocket");
        let (events, sink) =
            tokio::join!(node.events(), async { asked!(daemon, Node::Events).accept().1 });
        drop(events.unwrap());
        sink.closed().await;
    }
}

#[tokio::test]
async fn without_the_right_token_nothing_is_served() {
    let (mut daemon, address, token) = tcp().await;
    let host = address.to_string();
    let bare = token.clone();
    let basic = format!("Basic {token}");
    let short = format!("Bearer {}", &token[1..]);
    let wrong = format!("Bearer {}", "0".repeat(64));
    for authorization in [None, Some(&bare), Some(&basic), Some(&short), Some(&wrong)] {
        let mut headers = vec![("host", host.as_str())];
        headers.extend(authorization.map(|a| ("authorization", a.as_str())));
        assert_eq!(post(address, &headers, &ask_metrics()).await.0, 401, "{authorization:?}");
    }
    for token in ["", "wrong", &"0".repeat(64)] {
        let error = Client::tcp(&host, token).await.unwrap_err();
        assert!(matches!(error, ConnectError::Unauthorised), "{error}");
    }
    assert!(daemon.commands.try_recv().is_err(), "a refused request reached the node");
}

#[tokio::test]
async fn a_foreign_host_or_origin_is_refused_though_the_token_is_right() {
    let (_daemon, address, token) = tcp().await;
    let bearer = format!("Bearer {token}");
    let good = address.to_string();
    let other_port = format!("127.0.0.1:{}", address.port() ^ 1);
    let rebound = format!("evil.example:{}", address.port());
    let userinfo = format!("evil@127.0.0.1:{}", address.port());
    for host in [rebound.as_str(), &other_port, &userinfo, "localhost", "10.0.0.1"] {
        let headers = [("host", host), ("authorization", bearer.as_str())];
        assert_eq!(post(address, &headers, &ask_metrics()).await.0, 403, "{host}");
    }
    let twice = [("host", good.as_str()), ("host", &rebound), ("authorization", &bearer)];
    assert!(matches!(post(address, &twice, &ask_metrics()).await.0, 400 | 403));
    for origin in ["http://evil.example", "null", "https://127.0.0.1", &format!("http://{rebound}")]
    {
        let headers = [("host", good.as_str()), ("authorization", &bearer), ("origin", origin)];
        assert_eq!(post(address, &headers, &ask_metrics()).await.0, 403, "{origin}");
    }
}

#[tokio::test]
async fn an_oversized_request_is_refused() {
    let (mut daemon, address, token) = tcp().await;
    let (host, bearer) = (address.to_string(), format!("Bearer {token}"));
    let headers = [("host", host.as_str()), ("authorization", &bearer)];
    let body = " ".repeat(peerage_rpc::MAX_MESSAGE_BYTES as usize + 1);
    assert_eq!(post(address, &headers, &body).await.0, 413);
    assert!(daemon.commands.try_recv().is_err());
}

#[tokio::test]
async fn the_token_is_private_lasting_and_never_taken_from_an_exposed_file() {
    let (daemon, _, token) = tcp().await;
    assert_eq!(token.len(), 64);
    let path = daemon.dir.path().join("rpc.token");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    let Daemon { server, dir, .. } = daemon;
    server.stop().await;

    let mut config = Config::in_data_dir(dir.path());
    config.tcp = Some(([127, 0, 0, 1], 0).into());
    let again = Server::start(daemon::node().0, config.clone()).await.unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap().trim(), token);
    again.stop().await;

    for (text, mode) in [(token.as_str(), 0o644), ("short", 0o600)] {
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let error = Server::start(daemon::node().0, config.clone()).await.unwrap_err();
        assert!(matches!(error, StartError::UnsafeToken { .. }), "{error}");
        assert!(!dir.path().join("api.sock").exists(), "a failed start leaves its socket");
    }
}

#[tokio::test]
async fn a_taken_port_and_a_silent_one_are_named() {
    let (daemon, address, _) = tcp().await;
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::in_data_dir(dir.path());
    config.tcp = Some(address);
    let error = Server::start(daemon::node().0, config).await.unwrap_err();
    assert!(matches!(error, StartError::Tcp { .. }), "{error}");
    daemon.server.stop().await;
    let error = Client::tcp(&address.to_string(), "t").await.unwrap_err();
    assert!(matches!(error, ConnectError::NoAnswer { .. }), "{error}");
    for bad in ["wss://localhost:1", "no port:x", ""] {
        let error = Client::tcp(bad, "t").await.unwrap_err();
        assert!(matches!(error, ConnectError::Address { .. }), "{bad}: {error}");
    }
}

#[tokio::test]
async fn a_feed_over_http_is_refused_with_what_to_do() {
    struct Feeds(Vec<[&'static str; 2]>);
    impl Visitor for Feeds {
        fn method<M: Method>(&mut self) {}
        fn feed<F: Feed>(&mut self) {
            self.0.push([F::NAME, F::END]);
        }
    }
    let (_daemon, address, token) = tcp().await;
    let (host, bearer) = (address.to_string(), format!("Bearer {token}"));
    let headers = [("host", host.as_str()), ("authorization", &bearer)];
    let mut feeds = Feeds(vec![]);
    visit(&mut feeds);
    assert!(feeds.0.len() > 5);
    for name in feeds.0.into_iter().flatten() {
        let call = json!({ "jsonrpc": "2.0", "id": 7, "method": name, "params": {} });
        let answer = post(address, &headers, &call.to_string()).await.1;
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["error"]["data"]["code"], "needs_websocket", "{name}: {answer}");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains("WebSocket") && answer["id"] == 7, "{message}");
        let dance = json!({ "jsonrpc": "2.0", "id": 8, "method": "node.dance", "params": {} });
        let cancel = json!({ "jsonrpc": "2.0", "method": "rpc.cancel", "params": { "id": 1 } });
        let batch = json!([call, cancel, dance]).to_string();
        let answers: Value =
            serde_json::from_str(&post(address, &headers, &batch).await.1).unwrap();
        let codes =
            |place: usize| (&answers[place]["id"], &answers[place]["error"]["data"]["code"]);
        assert_eq!(answers.as_array().unwrap().len(), 2, "{answers}");
        assert_eq!(codes(0), (&json!(7), &json!("needs_websocket")), "{name}: {answers}");
        assert_eq!(codes(1), (&json!(8), &json!("no_such_method")));
    }
}

#[tokio::test]
async fn errors_have_the_documented_codes_and_details() {
    let (mut daemon, address, token) = tcp().await;
    let (host, bearer) = (address.to_string(), format!("Bearer {token}"));
    let headers = [("host", host.as_str()), ("authorization", &bearer)];
    let call = |method: &str, params: Value| {
        json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string()
    };
    let cases = [
        (call("node.dance", json!({})), -32601, json!("no_such_method")),
        (call("peers.show", json!({ "peer": 1 })), -32602, json!("invalid_params")),
        (call("peers.show", json!(["x"])), -32602, json!("invalid_params")),
        ("{".to_owned(), -32700, Value::Null),
    ];
    for (body, code, detail) in cases {
        let answer: Value = serde_json::from_str(&post(address, &headers, &body).await.1).unwrap();
        assert_eq!(
            (&answer["error"]["code"], &answer["error"]["data"]["code"]),
            (&json!(code), &detail)
        );
    }
    let peer = PeerId::random();
    let body = call("peers.disconnect", json!({ "peer": peer }));
    let error = PeersError::NotConnected { peer };
    let ((_, answer), ()) = tokio::join!(post(address, &headers, &body), async {
        asked!(daemon, Peers::Disconnect).reply(Err(error.clone()));
    });
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let expected = json!({
        "code": -32000,
        "message": error.to_string(),
        "data": { "code": "not_connected", "peer": peer },
    });
    assert_eq!(answer["error"], expected);
}
