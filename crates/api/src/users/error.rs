//! How a question to the facet `users` fails.

use peerage_types::{Handle, UserId};
use serde::{Deserialize, Serialize};

use super::AuthError;
use crate::{Failure, LinkError};

/// How a question to this facet fails.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum UsersError {
    /// The password does not open it.
    #[error(
        "wrong password: that is not the one of this user on this node; if it is lost, import an \
         export (`peerage user import`) or revoke the key with its recovery code (`peerage user revoke`)"
    )]
    WrongPassword {},
    /// The password is not the one that the archive was sealed with.
    #[error(
        "wrong password of the archive: give the one that was chosen for it at the export, which need \
         not be the user's own"
    )]
    WrongArchivePassword {},
    /// Too many wrong passwords in a row.
    #[error("too many wrong passwords; try again in {} s", retry_after_ms.div_ceil(1000))]
    Throttled {
        /// Milliseconds until the next attempt is taken.
        retry_after_ms: u64,
    },
    /// The account was deleted and only its data is kept.
    #[error(
        "{user} was deleted here; its data was kept: take it along with `peerage --as {user} user export`, \
         or forget it with `peerage user delete {user} --forget`"
    )]
    Deleted {
        /// Who.
        user: UserId,
    },
    /// Only what was kept of a deleted account is forgotten by its password alone.
    #[error("{user} was not deleted; log in and delete it with `peerage user delete`")]
    NotDeleted {
        /// Who.
        user: UserId,
    },
    /// A limit is reached.
    #[error("too many {what}; the most is {max}")]
    TooMany {
        /// Of what.
        what: String,
        /// The limit.
        max: u64,
    },
    /// A text is too long, or has characters that it must not have.
    #[error("{field} {reason}")]
    BadField {
        /// Which one.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The profile as a whole is too large to travel.
    #[error("the profile would have {bytes} bytes; the most is {max}: shorten the bio")]
    ProfileTooLarge {
        /// Its size, signed.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// Nobody knows the user.
    #[error(
        "nothing is known of {user}; it may be offline, or its node not connected to anybody we reach"
    )]
    Unknown {
        /// Who.
        user: UserId,
    },
    /// More than one user is called that.
    #[error("{handle} is ambiguous: {} users are called that; name one of {users:?}", users.len())]
    Ambiguous {
        /// The handle.
        handle: Handle,
        /// Some of them.
        users: Vec<UserId>,
    },
    /// No session of that number.
    #[error("there is no session {session}; see `peerage user sessions`")]
    NoSuchSession {
        /// Which.
        session: u64,
    },
    /// The recovery code is not the one this user is committed to.
    #[error("that is not the recovery code of {user}")]
    WrongRecovery {
        /// Whose.
        user: UserId,
    },
    /// The user's key was revoked, or has moved to another.
    #[error("the key of {user} is no longer valid{}", successor.map_or_else(String::new, |s| format!("; it moved to {s}")))]
    Revoked {
        /// The old one.
        user: UserId,
        /// The new one, if there is one.
        successor: Option<UserId>,
    },
    /// An archive that cannot be read.
    #[error("the archive cannot be imported: {reason}")]
    BadArchive {
        /// What is wrong with it.
        reason: String,
    },
    /// The user lives on this node already.
    #[error("{user} lives on this node already; `peerage user delete` it first to replace it")]
    AlreadyHere {
        /// Who.
        user: UserId,
    },
    /// A signed record is not accepted.
    #[error("the record is not accepted: {reason}")]
    BadRecord {
        /// What is wrong with it.
        reason: String,
    },
    /// What is stored of a user cannot be opened; the rows are kept.
    #[error(
        "what is stored of {user} is damaged ({what}); it is kept as it is: restore a backup or import an export"
    )]
    Damaged {
        /// Whose.
        user: UserId,
        /// Which part.
        what: String,
    },
    /// The node has too much of this to do at once.
    #[error("too many logins at once; try again shortly")]
    Busy {},
    /// The change could not be saved; nothing has changed.
    #[error("the change was not saved: {reason}")]
    Store {
        /// What the store said.
        reason: String,
    },
    /// The call is refused.
    #[error(transparent)]
    #[serde(untagged)]
    Auth(#[from] AuthError),
    /// The node could not be asked.
    #[error(transparent)]
    #[serde(untagged)]
    Link(#[from] LinkError),
}

impl Failure for UsersError {
    fn is_retryable(&self) -> bool {
        match self {
            Self::Link(link) => link.is_retryable(),
            Self::Throttled { .. } | Self::Busy {} | Self::Store { .. } => true,
            Self::Unknown { .. } => true,
            Self::WrongPassword {} | Self::WrongArchivePassword {} | Self::TooMany { .. } => false,
            Self::Deleted { .. } | Self::NotDeleted { .. } => false,
            Self::BadField { .. } | Self::ProfileTooLarge { .. } | Self::Ambiguous { .. } => false,
            Self::NoSuchSession { .. } | Self::WrongRecovery { .. } | Self::Revoked { .. } => false,
            Self::BadArchive { .. } | Self::AlreadyHere { .. } | Self::BadRecord { .. } => false,
            Self::Damaged { .. } | Self::Auth(_) => false,
        }
    }
}
