//! The Unix socket: private from its first moment, exclusive, replaced when stale.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io,
    os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, Mode};
use tempfile::TempDir;
use tokio::net::{UnixListener, UnixSocket, UnixStream};

use super::{StartError, listen};
use crate::{MAX_SOCKET_PATH, SOCKET_FILE};

/// Prefix of the directories that hold the sockets of deep data directories.
const FOLDER_PREFIX: &str = "peerage-";

/// A listening Unix socket and the files that belong to it, removed on drop.
#[derive(Debug)]
pub(super) struct UnixEndpoint {
    listener: UnixListener,
    /// Where clients look: the socket itself or a link to it.
    path: PathBuf,
    /// The directory of a socket behind a link.
    _folder: Option<TempDir>,
    /// Held while the socket is ours. The file stays: removing it would let two servers hold
    /// locks on two files of the same name.
    _lock: File,
}

impl Drop for UnixEndpoint {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

impl UnixEndpoint {
    /// Listens at `path`, or behind a link at `path` where that is too long for a socket.
    pub(super) async fn bind(path: &Path) -> Result<Self, StartError> {
        let failed = |source| StartError::Unix { path: path.to_owned(), source };
        let lock = lock(path)?;
        remove_stale(path).await?;
        if path.as_os_str().len() <= MAX_SOCKET_PATH {
            let listener = listen_private(path).map_err(failed)?;
            return Ok(Self { listener, path: path.to_owned(), _folder: None, _lock: lock });
        }
        let folder = short_folder(path)?;
        let socket = folder.path().join(SOCKET_FILE);
        let listener = listen_private(&socket).map_err(failed)?;
        symlink(&socket, path).map_err(failed)?;
        Ok(Self { listener, path: path.to_owned(), _folder: Some(folder), _lock: lock })
    }
}

impl listen::Listener for UnixEndpoint {
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<UnixStream> {
        self.listener.accept().await.map(|(stream, _)| stream)
    }

    fn turn_away(stream: &UnixStream, answer: &[u8]) {
        let _ = stream.try_write(answer);
    }
}

/// Creates the socket so that nobody else can ever connect to it: Linux gives the file the mode of
/// the descriptor, and elsewhere the mode is set before `listen` lets anyone in.
fn listen_private(path: &Path) -> io::Result<UnixListener> {
    let socket = UnixSocket::new_stream()?;
    // Other systems do not allow this on a socket.
    let _ = rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR);
    socket.bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    socket.listen(listen::BACKLOG)
}

fn lock(path: &Path) -> Result<File, StartError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    let open = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&name);
    let file = open.map_err(|source| StartError::Unix { path: name.clone(), source })?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(StartError::InUse { path: path.to_owned() }),
        Err(errno) => Err(StartError::Unix { path: name, source: errno.into() }),
    }
}

/// Removes what a dead server left behind; refuses what is alive or not a socket.
async fn remove_stale(path: &Path) -> Result<(), StartError> {
    let failed = |source| StartError::Unix { path: path.to_owned(), source };
    let kind = match fs::symlink_metadata(path) {
        Ok(found) => found.file_type(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(failed(source)),
    };
    let target = if kind.is_symlink() { fs::read_link(path).map_err(failed)? } else { path.into() };
    let is_socket = fs::symlink_metadata(&target).is_ok_and(|t| t.file_type().is_socket());
    if !kind.is_symlink() && !is_socket {
        return Err(StartError::Occupied { path: path.to_owned() });
    }
    if is_socket {
        match UnixStream::connect(&target).await {
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {}
            // A full backlog, or a socket of somebody else: alive either way.
            _ => return Err(StartError::InUse { path: path.to_owned() }),
        }
    }
    if kind.is_symlink() && is_socket && in_our_folder(&target) {
        let _ = fs::remove_file(&target);
        target.parent().map(fs::remove_dir);
    }
    fs::remove_file(path).map_err(failed)
}

fn in_our_folder(socket: &Path) -> bool {
    let folder = socket.parent().and_then(Path::file_name);
    folder.is_some_and(|name| name.to_string_lossy().starts_with(FOLDER_PREFIX))
}

/// A new directory of mode 0700 with a random name, where a socket's path is short enough.
fn short_folder(path: &Path) -> Result<TempDir, StartError> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let places = runtime.filter(|r| r.is_absolute()).into_iter().chain([std::env::temp_dir()]);
    for place in places {
        let folder = tempfile::Builder::new()
            .prefix(FOLDER_PREFIX)
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(&place);
        match folder {
            Ok(folder) if folder.path().join(SOCKET_FILE).as_os_str().len() <= MAX_SOCKET_PATH => {
                return Ok(folder);
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(place = %place.display(), %error, "no socket here"),
        }
    }
    Err(StartError::PathTooLong { path: path.to_owned() })
}
