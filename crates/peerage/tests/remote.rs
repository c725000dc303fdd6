//! Connecting to a daemon that is not there.

use peerage::{ConnectError, Remote};

#[tokio::test]
async fn without_a_daemon_the_socket_that_was_tried_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let error = Remote::connect(dir.path()).await.unwrap_err();
    assert!(
        matches!(&error, ConnectError::NoDaemon { path } if *path == dir.path().join("api.sock")),
        "{error}"
    );
    assert!(error.is_no_daemon());
}
