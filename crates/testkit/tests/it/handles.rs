//! One suite, two kinds of handle.

use std::sync::Arc;

use peerage_api::{Link, Node};
use peerage_rpc::{Client, Config, Server};
use peerage_testkit::{Net, suite};

/// Runs the whole suite with `near` as the handle of node 0.
async fn whole_suite(near: &Node, net: &Net) {
    net.connect(1, 0).await;
    let far = net.node(1);
    suite::node(near).await;
    suite::pubsub(near, far).await;
    suite::exchange(near, far).await;
    suite::discovery(near, far).await;
    suite::files(near, far).await;
    suite::users(near, far).await;
    suite::kv(near, far).await;
    suite::peers(near, far).await;
}

#[tokio::test]
async fn the_handle_in_this_process_keeps_the_contract() {
    let net = Net::start(2).await;
    whole_suite(&net.node(0).clone(), &net).await;
    net.stop().await;
}

#[tokio::test]
async fn the_handle_on_a_daemon_keeps_the_same_contract() {
    let net = Net::start(2).await;
    let dir = tempfile::tempdir().unwrap();
    let config = Config::in_data_dir(dir.path());
    let socket = config.unix.clone().unwrap();
    let daemon = Server::start(net.node(0).clone(), config).await.unwrap();
    let client = Client::unix(socket).await.unwrap();
    whole_suite(&Node::new(Link::Remote(Arc::new(client))), &net).await;
    daemon.stop().await;
    net.stop().await;
}

#[tokio::test]
async fn the_handle_over_tcp_keeps_the_same_contract() {
    let net = Net::start(2).await;
    let dir = tempfile::tempdir().unwrap();
    let config =
        Config { tcp: Some("127.0.0.1:0".parse().unwrap()), ..Config::in_data_dir(dir.path()) };
    let daemon = Server::start(net.node(0).clone(), config).await.unwrap();
    let address = daemon.endpoints().tcp.unwrap();
    let token = std::fs::read_to_string(dir.path().join("rpc.token")).unwrap();
    let client = Client::tcp(&address.to_string(), token.trim()).await.unwrap();
    whole_suite(&Node::new(Link::Remote(Arc::new(client))), &net).await;
    daemon.stop().await;
    net.stop().await;
}
