//! The Unix socket: private, exclusive, replaced when stale, reachable however deep.

use std::{fs, os::unix::fs::PermissionsExt, os::unix::net::UnixListener, path::Path};

use peerage_api::{LinkError, node::NodeError};
use peerage_rpc::{Client, Config, ConnectError, Limits, Server, StartError};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

use crate::daemon::{self, Daemon, asked};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

async fn start(dir: &Path) -> Result<Server, StartError> {
    Server::start(daemon::node().0, Config::in_data_dir(dir)).await
}

#[tokio::test]
async fn the_socket_is_private_and_goes_with_the_server() {
    let daemon = Daemon::start().await;
    let path = daemon.socket();
    assert_eq!(mode(&path), 0o600);
    assert_eq!(daemon.server.endpoints().to_string(), format!("unix:{}", path.display()));
    daemon.server.stop().await;
    assert!(!path.exists());
    let error = Client::unix(&path).await.unwrap_err();
    assert!(matches!(&error, ConnectError::NoDaemon { path: p } if *p == path), "{error}");
    assert!(error.is_no_daemon());
}

#[tokio::test]
async fn the_socket_of_a_dead_process_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("api.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(Client::unix(&path).await.unwrap_err().is_no_daemon());
    let server = start(dir.path()).await.unwrap();
    assert_eq!(mode(&path), 0o600);
    Client::unix(&path).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn a_second_server_is_refused_and_harms_the_first_in_no_way() {
    let daemon = Daemon::start().await;
    for _ in 0..2 {
        let error = start(daemon.dir.path()).await.unwrap_err();
        assert!(matches!(error, StartError::InUse { .. }), "{error}");
        daemon.client().await;
    }
    let other = tempfile::tempdir().unwrap();
    let _stranger = UnixListener::bind(other.path().join("api.sock")).unwrap();
    let error = start(other.path()).await.unwrap_err();
    assert!(matches!(error, StartError::InUse { .. }), "{error}");
}

#[tokio::test]
async fn a_file_in_the_place_of_the_socket_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("api.sock");
    fs::write(&path, "precious").unwrap();
    let error = start(dir.path()).await.unwrap_err();
    assert!(matches!(error, StartError::Occupied { .. }), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[tokio::test]
async fn a_data_directory_that_is_too_deep_for_a_socket_works_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join("d".repeat(60)).join("e".repeat(60));
    fs::create_dir_all(&deep).unwrap();
    let path = deep.join("api.sock");
    assert!(Client::unix(&path).await.unwrap_err().is_no_daemon());
    let server = start(&deep).await.unwrap();
    let socket = fs::read_link(&path).unwrap();
    assert_eq!((mode(&socket), mode(socket.parent().unwrap())), (0o600, 0o700));
    Client::unix(&path).await.unwrap();
    assert!(matches!(start(&deep).await.unwrap_err(), StartError::InUse { .. }));
    server.stop().await;
    assert!(fs::symlink_metadata(&path).is_err() && !socket.parent().unwrap().exists());

    // What a killed daemon leaves behind is cleared away.
    let stale = tempfile::Builder::new().prefix("peerage-").tempdir().unwrap().keep();
    drop(UnixListener::bind(stale.join("api.sock")).unwrap());
    std::os::unix::fs::symlink(stale.join("api.sock"), &path).unwrap();
    start(&deep).await.unwrap().stop().await;
    assert!(!stale.exists());
}

#[tokio::test]
async fn a_client_finds_the_daemon_again_after_a_restart() {
    let daemon = Daemon::start().await;
    let node = daemon.node().await;
    let Daemon { server, dir, commands } = daemon;
    server.stop().await;
    drop(commands);
    let lost = node.metrics().await.unwrap_err();
    assert!(matches!(lost, NodeError::Link(LinkError::Unreachable { .. })), "{lost}");

    let (fresh, commands) = daemon::node();
    let server = Server::start(fresh, Config::in_data_dir(dir.path())).await.unwrap();
    let mut daemon = Daemon { server, commands, dir };
    let (metrics, ()) = tokio::join!(node.metrics(), async {
        asked!(daemon, Node::Metrics).reply(Ok("back".into()));
    });
    assert_eq!(metrics.unwrap(), "back");
}

#[tokio::test]
async fn a_connection_beyond_the_limit_is_told_so_until_one_closes() {
    let limits = Limits { max_connections: 1, ..Limits::default() };
    let daemon = Daemon::with(|c| c.limits = limits).await;
    let first = daemon.client().await;
    let error = Client::unix(daemon.socket()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Busy { .. }), "{error}");
    drop(first);
    loop {
        match Client::unix(daemon.socket()).await {
            Ok(_) => break,
            Err(ConnectError::Busy { .. }) => tokio::task::yield_now().await,
            Err(other) => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn garbage_closes_its_own_connection_and_nothing_else() {
    let daemon = Daemon::start().await;
    let client = daemon.node().await;
    let garbage: [&[u8]; 4] = [
        b"\x00\x01\x02\x03\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: \xff\xfe\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 18446744073709551616\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    ];
    for bytes in garbage {
        let mut stream = UnixStream::connect(daemon.socket()).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        // Reset or closed, with an error or without: it just must end.
        let _ = stream.read_to_end(&mut answer).await;
    }
    let mut daemon = daemon;
    let (metrics, ()) = tokio::join!(client.metrics(), async {
        asked!(daemon, Node::Metrics).reply(Ok("fine".into()));
    });
    assert_eq!(metrics.unwrap(), "fine");
}
