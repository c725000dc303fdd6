//! How a question to the facet `services` fails.

use peerage_types::ServiceName;
use serde::{Deserialize, Serialize};

use crate::{Failure, LinkError};

/// How a question to this facet fails.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum ServicesError {
    /// No such service.
    #[error("no service {name} is registered; see `peerage service ls`")]
    NoSuchService {
        /// Which.
        name: ServiceName,
    },
    /// The name is in use, and the token is not the one it was registered with.
    #[error(
        "{name} is registered already: give the token it was registered with (--token-file FILE), or \
         choose another name"
    )]
    Taken {
        /// Which.
        name: ServiceName,
    },
    /// No token, or not the one of this service.
    #[error(
        "not authorised to act for the service {name}: give the token it was registered with \
         (--token-file FILE)"
    )]
    NotAuthorised {
        /// Which.
        name: ServiceName,
    },
    /// A text is too long or has characters that it must not have.
    #[error("{field} {reason}")]
    BadField {
        /// Which one.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A limit is reached.
    #[error("too many {what}; the most is {max}")]
    TooMany {
        /// Of what.
        what: String,
        /// The limit.
        max: u64,
    },
    /// The change could not be saved; nothing has changed.
    #[error("the change was not saved: {reason}")]
    Store {
        /// What the store said.
        reason: String,
    },
    /// The node could not be asked.
    #[error(transparent)]
    #[serde(untagged)]
    Link(#[from] LinkError),
}

impl Failure for ServicesError {
    fn is_retryable(&self) -> bool {
        match self {
            Self::Link(link) => link.is_retryable(),
            Self::Store { .. } => true,
            Self::NoSuchService { .. } | Self::Taken { .. } | Self::NotAuthorised { .. } => false,
            Self::BadField { .. } | Self::TooMany { .. } => false,
        }
    }
}
