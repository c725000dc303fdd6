//! Tokens that the command line keeps in the data directory: a file each, for its owner alone.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use peerage_api::types::{ServiceName, Token, UserId};
use zeroize::Zeroizing;

use crate::{
    failed::{Exit, Failed},
    private::{self, Draft},
};

/// More than a token and a line end.
const MAX_BYTES: u64 = 128;

const ENDING: &str = ".token";

/// A folder of tokens, by whom they belong to.
#[derive(Debug, Clone)]
pub(crate) struct Tokens {
    folder: PathBuf,
}

impl Tokens {
    /// Of sessions, by user.
    pub(crate) fn sessions(data: &Path) -> Self {
        Self { folder: data.join("sessions") }
    }

    /// Of services, by name.
    pub(crate) fn services(data: &Path) -> Self {
        Self { folder: data.join("services") }
    }

    /// Where the token of a service is.
    pub(crate) fn of_service(&self, name: &ServiceName) -> Slot {
        self.slot(name.as_str())
    }

    /// Where the token of a user is.
    pub(crate) fn of_user(&self, user: UserId) -> Slot {
        self.slot(&user.to_string())
    }

    fn slot(&self, name: &str) -> Slot {
        Slot { path: self.folder.join(format!("{name}{ENDING}")) }
    }

    /// The users who have a token, by id.
    pub(crate) fn users(&self) -> Result<Vec<UserId>, Failed> {
        let listed = match std::fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
            listed => listed.and_then(Iterator::collect::<io::Result<Vec<_>>>),
        };
        let listed = listed.map_err(|error| private::unread(&self.folder, &error))?;
        let names = listed.iter().map(|entry| entry.file_name().to_string_lossy().into_owned());
        let user = |name: String| name.strip_suffix(ENDING)?.parse().ok();
        let mut users: Vec<UserId> = names.filter_map(user).collect();
        users.sort_unstable();
        Ok(users)
    }
}

/// The place of one token.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    path: PathBuf,
}

impl Slot {
    /// A file that somebody names.
    pub(crate) fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The token, if there is one. One that others can read is refused: they may have it.
    pub(crate) fn read(&self) -> Result<Option<Token>, Failed> {
        let file = match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(|error| self.unread(&error))?,
        };
        if private::is_open(&file).map_err(|error| self.unread(&error))? {
            return Err(self.unusable("can be read by others"));
        }
        let mut text = Zeroizing::new(String::new());
        let read = file.take(MAX_BYTES).read_to_string(&mut text);
        read.map_err(|error| self.unread(&error))?;
        text.trim().parse().map(Some).map_err(|_| self.unusable("holds no token"))
    }

    /// Keeps a token in place of the one before.
    pub(crate) fn write(&self, token: &Token) -> Result<(), Failed> {
        self.path.parent().map_or(Ok(()), private::folder)?;
        write(&self.path, token)
    }

    /// Forgets the token, if it is there.
    pub(crate) fn remove(&self) -> Result<(), Failed> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let text = format!("cannot remove {}: {error}", self.path.display());
                Err(Failed::new(Exit::Failed, "io", text))
            }
            _ => Ok(()),
        }
    }

    /// Forgets this token, but not one that has come in its place meanwhile.
    pub(crate) fn remove_stale(&self, stale: &Token) {
        if matches!(self.read(), Ok(Some(held)) if held == *stale) {
            // It is useless, so that leaving it does no harm.
            let _ = self.remove();
        }
    }

    fn unread(&self, error: &io::Error) -> Failed {
        private::unread(&self.path, error)
    }

    fn unusable(&self, fault: &str) -> Failed {
        let text =
            format!("{} {fault}; remove it, then log in or register again", self.path.display());
        Failed::new(Exit::Failed, "unsafe_token", text)
    }
}

/// Writes a token to a file of its own.
pub(crate) fn write(path: &Path, token: &Token) -> Result<(), Failed> {
    let mut text = Zeroizing::new(token.to_text());
    text.push('\n');
    Draft::new(path)?.finish(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_token_stays_until_it_is_removed_and_is_its_owners_alone() {
        let data = tempfile::tempdir().unwrap();
        let tokens = Tokens::sessions(data.path());
        let (ada, ben) = (UserId([1; 32]), UserId([2; 32]));
        assert_eq!(tokens.users().unwrap(), []);
        assert_eq!(tokens.of_user(ada).read().unwrap(), None);
        for user in [ben, ada] {
            tokens.of_user(user).write(&Token::new(user.0)).unwrap();
        }
        std::fs::write(data.path().join("sessions/notes.txt"), "").unwrap();
        assert_eq!(tokens.users().unwrap(), [ada, ben]);
        let slot = tokens.of_user(ada);
        assert_eq!(slot.path(), data.path().join(format!("sessions/{ada}.token")));
        assert_eq!((mode(slot.path()), mode(slot.path().parent().unwrap())), (0o600, 0o700));
        assert_eq!(slot.read().unwrap(), Some(Token::new([1; 32])));
        slot.remove_stale(&Token::new([3; 32]));
        assert!(slot.read().unwrap().is_some(), "somebody logged in again meanwhile");
        slot.remove_stale(&Token::new([1; 32]));
        assert_eq!(tokens.users().unwrap(), [ben]);
        slot.remove().unwrap();
    }

    #[test]
    fn a_token_that_others_can_read_or_that_is_none_is_refused() {
        let data = tempfile::tempdir().unwrap();
        let slot = Tokens::services(data.path()).of_service(&"org.example".parse().unwrap());
        slot.write(&Token::new([1; 32])).unwrap();
        std::fs::set_permissions(slot.path(), PermissionsExt::from_mode(0o640)).unwrap();
        assert!(slot.read().is_err());
        slot.write(&Token::new([1; 32])).unwrap();
        assert!(slot.read().unwrap().is_some(), "what replaces it is closed again");
        std::fs::write(slot.path(), "nothing of the kind").unwrap();
        assert!(slot.read().is_err());
    }
}
