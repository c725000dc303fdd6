//! The way from a command to the daemon of a data directory.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use peerage::{ConnectError, Remote};
use peerage_api::Node;
use rustix::fs::{FlockOperation, flock};

use crate::{
    cli::Global,
    dirs,
    failed::{Exit, Failed},
};

/// The data directory: as given, or else the user's.
pub(crate) fn data_dir(global: &Global) -> Result<PathBuf, Failed> {
    // An empty variable is as good as none.
    let given = global.data.clone().filter(|dir| !dir.as_os_str().is_empty());
    let chosen = given.or_else(dirs::data);
    let dir = chosen.ok_or_else(|| {
        Failed::new(Exit::Failed, "no_home", "no home directory is known; name one with --data")
    })?;
    Ok(std::path::absolute(dir)?)
}

/// Connects to the daemon of `data`.
pub(crate) async fn connect(data: &Path) -> Result<Node, Failed> {
    Remote::connect(data).await.map_err(|error| match error {
        ConnectError::NoDaemon { .. } => {
            let dir = data.display();
            let message = format!("no daemon runs in {dir}; start one with `peerage up`");
            Failed::new(Exit::NoDaemon, "no_daemon", message)
        }
        ConnectError::Busy { .. } => Failed::new(Exit::Failed, "overloaded", error),
        other => Failed::new(Exit::Failed, "unreachable", other),
    })
}

/// The locks that a daemon holds while it runs: its directory, and its socket.
const LOCKS: [&str; 2] = ["lock", "api.sock.lock"];

/// Waits until no daemon uses the data directory.
pub(crate) async fn gone(data: &Path) -> Result<(), Failed> {
    let files = LOCKS.map(|name| data.join(name));
    let wait = tokio::task::spawn_blocking(move || files.iter().try_for_each(|file| free(file)));
    Ok(wait.await.map_err(anyhow::Error::from)??)
}

fn free(lock: &Path) -> io::Result<()> {
    match File::open(lock) {
        Ok(file) => Ok(flock(file, FlockOperation::LockShared)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
