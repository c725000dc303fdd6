//! The node's keys on disk: created once, private to the user, checked at every start.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use libp2p::{identity::Keypair, pnet::PreSharedKey};
use peerage_wire::identity::SigningKey;
use zeroize::Zeroizing;

/// File of the identity key in the data directory: libp2p's protobuf form of an Ed25519 key pair.
const IDENTITY_FILE: &str = "identity.key";
/// Largest key file that is read: a real one has under 200 bytes.
const MAX_KEY_BYTES: u64 = 4096;

/// How a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Others may read it.
    #[error(
        "{path} can be read by others (mode {mode:03o}); make it private with `chmod 600 {path}`"
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is not a key.
    #[error("{path} is not {what}; restore it from a copy, or move it away to start afresh")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What it should be.
        what: &'static str,
    },
    /// A key that is there is never replaced.
    #[error("{path} exists already and is left as it is; choose another name")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

fn io_error(path: &Path, source: io::Error) -> KeyError {
    KeyError::Io { path: path.to_owned(), source }
}

/// The key of the node as it signs entries; a copy that wipes itself.
pub(crate) fn signing_key(keys: &Keypair) -> Result<SigningKey, KeyError> {
    let malformed =
        || KeyError::Malformed { path: IDENTITY_FILE.into(), what: "an Ed25519 identity key" };
    let key = keys.clone().try_into_ed25519().map_err(|_| malformed())?;
    let secret = key.secret();
    let secret: &[u8; 32] = secret.as_ref().try_into().map_err(|_| malformed())?;
    Ok(SigningKey::from_bytes(secret))
}

/// Reads a private file, refusing one that others may read.
fn read_private(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, KeyError> {
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(io_error(path, e)),
    };
    let mode = file.metadata().map_err(|e| io_error(path, e))?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyError::Exposed { path: path.to_owned(), mode });
    }
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(MAX_KEY_BYTES).read_to_end(&mut bytes).map_err(|e| io_error(path, e))?;
    Ok(Some(bytes))
}

/// Writes a private file so that it is there whole or not at all, and never replaces another.
fn write_private(path: &Path, bytes: &[u8]) -> Result<(), KeyError> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(format!(".{}", std::process::id()));
    let partial = PathBuf::from(partial);
    let write = || {
        let mut file =
            fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::hard_link(&partial, path)?;
        // A bare name has an empty parent.
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
        fs::File::open(dir.unwrap_or(Path::new(".")))?.sync_all()
    };
    let written = write();
    let _ = fs::remove_file(&partial);
    written.map_err(|e| match e.kind() {
        io::ErrorKind::AlreadyExists => KeyError::Exists { path: path.to_owned() },
        _ => io_error(path, e),
    })
}

/// The identity in `dir`, created at the first start.
pub(crate) fn load_or_create(dir: &Path) -> Result<Keypair, KeyError> {
    let path = dir.join(IDENTITY_FILE);
    if let Some(bytes) = read_private(&path)? {
        return Keypair::from_protobuf_encoding(&bytes)
            .map_err(|_| KeyError::Malformed { path, what: "an identity key" });
    }
    let keys = Keypair::generate_ed25519();
    let bytes = keys
        .to_protobuf_encoding()
        .map_err(|_| KeyError::Malformed { path: path.clone(), what: "an identity key" })?;
    write_private(&path, &Zeroizing::new(bytes))?;
    Ok(keys)
}

/// Reads the pre-shared key of a network.
pub(crate) fn load_network_key(path: &Path) -> Result<PreSharedKey, KeyError> {
    let not_found = || io_error(path, io::ErrorKind::NotFound.into());
    let bytes = read_private(path)?.ok_or_else(not_found)?;
    let malformed = || KeyError::Malformed {
        path: path.to_owned(),
        what: "a network key (three lines: /key/swarm/psk/1.0.0/, /base16/, 64 hexadecimal digits)",
    };
    let text = std::str::from_utf8(&bytes).map_err(|_| malformed())?;
    text.trim().parse().map_err(|_| malformed())
}

/// Writes a new pre-shared network key to `path`, mode 0600, in the format of `swarm.key`.
///
/// # Errors
/// [`KeyError::Exists`]: a key is never replaced; [`KeyError::Io`] if it cannot be written.
pub fn create_network_key(path: &Path) -> Result<(), KeyError> {
    let key = PreSharedKey::new(rand::random());
    write_private(path, &Zeroizing::new(key.to_key_file().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_made_once_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let first = load_or_create(dir.path()).unwrap();
        let again = load_or_create(dir.path()).unwrap();
        assert_eq!(first.public(), again.public());
        let mode = fs::metadata(dir.path().join(IDENTITY_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no partial file stays behind");
    }

    #[test]
    fn a_key_that_others_can_read_or_that_is_none_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(IDENTITY_FILE);
        fs::write(&path, "not a key").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(load_or_create(dir.path()), Err(KeyError::Exposed { mode: 0o644, .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(load_or_create(dir.path()), Err(KeyError::Malformed { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"not a key", "what is there stays there");
    }

    #[test]
    fn a_network_key_survives_the_way_through_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("swarm.key");
        create_network_key(&path).unwrap();
        let key = load_network_key(&path).unwrap();
        assert_eq!(key.to_key_file().into_bytes(), fs::read(&path).unwrap());
        assert!(matches!(create_network_key(&path), Err(KeyError::Exists { .. })));
    }
}
