//! How a question to the facet `storage` fails.

use peerage_types::{ServiceName, UserId};
use serde::{Deserialize, Serialize};

use crate::{Failure, LinkError, users::AuthError};

/// How a question to this facet fails.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum StorageError {
    /// Nothing under the key.
    #[error("{service} has stored nothing under {key:?}")]
    NotFound {
        /// Whose storage.
        service: ServiceName,
        /// The key.
        key: String,
    },
    /// The entry is not at the revision that was expected.
    #[error("{key:?} is at revision {found}, not {expected}; read it again")]
    Conflict {
        /// The key.
        key: String,
        /// What was expected; 0 stands for no entry.
        expected: u64,
        /// What is there; 0 stands for no entry.
        found: u64,
    },
    /// The user is logged out, so that its storage is sealed.
    #[error("{user} is not logged in, so its storage is sealed")]
    Sealed {
        /// Who.
        user: UserId,
    },
    /// A key or a value is too long, or a number is out of range.
    #[error("{field} {reason}")]
    BadField {
        /// Which one.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// More would be stored than a service may have for one user.
    #[error("{service} may store {max} {what} for a user; delete something first")]
    Quota {
        /// Whose storage.
        service: ServiceName,
        /// Of what, such as `bytes`.
        what: String,
        /// The limit.
        max: u64,
    },
    /// A limit is reached.
    #[error("too many {what}; the most is {max}")]
    TooMany {
        /// Of what.
        what: String,
        /// The limit.
        max: u64,
    },
    /// Sealed rows cannot be opened; they are kept.
    #[error("what {service} stored for {user} is damaged; the rows are kept as they are")]
    Damaged {
        /// Whose.
        user: UserId,
        /// By whom.
        service: ServiceName,
    },
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

impl Failure for StorageError {
    fn is_retryable(&self) -> bool {
        match self {
            Self::Link(link) => link.is_retryable(),
            Self::Store { .. } | Self::Sealed { .. } => true,
            Self::NotFound { .. } | Self::Conflict { .. } | Self::BadField { .. } => false,
            Self::Quota { .. } | Self::TooMany { .. } | Self::Damaged { .. } => false,
            Self::Auth(_) => false,
        }
    }
}
