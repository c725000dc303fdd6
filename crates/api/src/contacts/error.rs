//! How a question to the facet `contacts` fails.

use peerage_types::UserId;
use serde::{Deserialize, Serialize};

use crate::{Failure, LinkError, users::AuthError};

/// How a question to this facet fails.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum ContactsError {
    /// Not in the book.
    #[error("{contact} is not in the contact book; `peerage contact ls` lists who is")]
    NoSuchContact {
        /// Who.
        contact: UserId,
    },
    /// Somebody's own book has no entry for that somebody.
    #[error("that is the user itself")]
    Own {},
    /// A text is too long or has characters that it must not have, or a number is out of range.
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
    /// The number compared is another.
    #[error(
        "the safety number of {contact} is another: do not trust this contact until you have \
         compared again, over a channel that nobody can change"
    )]
    SafetyMismatch {
        /// Who.
        contact: UserId,
    },
    /// The contact's key is no longer valid: there is nothing to compare.
    #[error(
        "the key of {contact} is no longer valid and proves nothing any more; {}",
        successor.map_or_else(
            || "get its new key from the contact itself, then `peerage contact rm` this one".to_owned(),
            |next| format!("compare with the one that took its place: `peerage contact verify {next}`"),
        )
    )]
    Revoked {
        /// The old key.
        contact: UserId,
        /// The one that took its place, if there is one.
        successor: Option<UserId>,
    },
    /// A sealed row cannot be opened; it is kept.
    #[error("the contact book of {user} is damaged ({what}); the rows are kept as they are")]
    Damaged {
        /// Whose.
        user: UserId,
        /// Which part.
        what: String,
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

impl Failure for ContactsError {
    fn is_retryable(&self) -> bool {
        match self {
            Self::Link(link) => link.is_retryable(),
            Self::Store { .. } => true,
            Self::NoSuchContact { .. } | Self::Own {} | Self::BadField { .. } => false,
            Self::TooMany { .. } | Self::SafetyMismatch { .. } | Self::Damaged { .. } => false,
            Self::Revoked { .. } | Self::Auth(_) => false,
        }
    }
}
