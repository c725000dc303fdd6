//! Metrics and health.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use crate::sandbox::{Daemon, Sandbox};

fn get(base: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(base.strip_prefix("http://").unwrap()).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer)
}

/// The value of a metric without labels.
pub(crate) fn metric(daemon: &Daemon, name: &str) -> f64 {
    let (_, text) = get(daemon.ready["metrics"].as_str().unwrap(), "/metrics");
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {name}: {text}")).parse().unwrap()
}

#[test]
fn metrics_and_health_answer_and_everything_else_is_not_found() {
    let sandbox = Sandbox::new();
    let daemon = sandbox.up(&["--metrics", "127.0.0.1:0"]);
    let base = daemon.ready["metrics"].as_str().unwrap();
    let (status, metrics) = get(base, "/metrics");
    assert_eq!(status, 200);
    assert!(metrics.contains("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    assert!(metrics.ends_with("# EOF\n"), "{metrics}");
    for (path, wanted) in [("/healthz", 200), ("/readyz", 200), ("/", 404), ("/metrics/x", 404)] {
        let (status, answer) = get(base, path);
        assert_eq!(status, wanted, "{path}: {answer}");
    }
}

#[test]
fn the_dashboard_shows_metrics_that_exist() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/grafana/dashboard.json");
    let dashboard = std::fs::read_to_string(path).unwrap();
    let parsed: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    let panels = parsed["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let shown: std::collections::BTreeSet<&str> = targets
        .flat_map(|target| {
            let expression = target["expr"].as_str().unwrap();
            expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        })
        .filter(|word| word.starts_with("peerage_"))
        .collect();
    assert!(shown.len() > 10, "{shown:?}");
    let sandbox = Sandbox::new();
    let daemon = sandbox.up(&["--metrics", "127.0.0.1:0"]);
    for name in shown {
        assert!(metric(&daemon, name) >= 0.0, "{name}");
    }
}

#[test]
fn silent_connections_do_not_keep_health_from_answering() {
    let sandbox = Sandbox::new();
    let daemon = sandbox.up(&["--metrics", "127.0.0.1:0"]);
    let base = daemon.ready["metrics"].as_str().unwrap();
    let address = base.strip_prefix("http://").unwrap();
    let silent: Vec<_> = (0..40).map(|_| TcpStream::connect(address).unwrap()).collect();
    assert_eq!(get(base, "/healthz").0, 200);
    drop(silent);
}

#[test]
fn the_control_api_on_tcp_wants_the_token() {
    let sandbox = Sandbox::new();
    let daemon = sandbox.up(&["--rpc", "127.0.0.1:0"]);
    let rpc = daemon.ready["rpc"].as_str().unwrap();
    let address = rpc.split_once(",http://").unwrap().1;
    let token = std::fs::read_to_string(sandbox.data().join("rpc.token")).unwrap();
    let ask = |authorisation: &str| {
        let body = r#"{"jsonrpc":"2.0","id":1,"method":"node.id","params":{}}"#;
        let mut stream = TcpStream::connect(address).unwrap();
        write!(
            stream,
            "POST / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{authorisation}\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(ask("").starts_with("HTTP/1.1 401"));
    let answer = ask(&format!("Authorization: Bearer {}\r\n", token.trim()));
    assert!(answer.contains(daemon.id()), "{answer}");
}
