//! On whose behalf a question is asked, and how that is refused.

use peerage_types::{Token, UserId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// On whose behalf, with the proof: part of every question to the facets of users.
///
/// The node checks on every call that the token is alive and that it belongs to this user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Auth {
    /// The user.
    pub user: UserId,
    /// Of a session of that user. Without one every question is refused.
    #[serde(default)]
    pub token: Option<Token>,
}

impl Auth {
    /// A user and a token of a session.
    #[must_use]
    pub fn new(user: UserId, token: Token) -> Self {
        Self { user, token: Some(token) }
    }
}

/// A call on a user's behalf is refused, whatever the question was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum AuthError {
    /// No token, an unknown one, or that of another user or service.
    #[error("not authorised to act for {user}; log in with `peerage user login {user}`")]
    NotAuthorised {
        /// On whose behalf.
        user: UserId,
    },
    /// The session was unused for too long, or has reached its absolute end.
    #[error("the session of {user} has expired; log in again with `peerage user login {user}`")]
    SessionExpired {
        /// Whose.
        user: UserId,
    },
    /// No such user lives on this node.
    #[error("no user {user} on this node; `peerage user ls` lists them")]
    NoSuchUser {
        /// Who.
        user: UserId,
    },
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Page {
    /// Most items to return, 1 to [`MAX_PAGE`]; more is taken as that.
    #[serde(default = "most")]
    pub limit: u32,
    /// [`Paged::next`] of the page before; nothing for the first.
    #[serde(default)]
    pub after: Option<String>,
}

/// Most items of one page.
pub const MAX_PAGE: u32 = 1000;

fn most() -> u32 {
    MAX_PAGE
}

impl Default for Page {
    fn default() -> Self {
        Self { limit: MAX_PAGE, after: None }
    }
}

impl Page {
    /// The limit, within its range.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit.clamp(1, MAX_PAGE) as usize
    }
}

/// Items of a list, and where it goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Paged<T> {
    /// In the order of the list.
    pub items: Vec<T>,
    /// For [`Page::after`]; nothing when these were the last.
    pub next: Option<String>,
}

/// What happens to one field.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Update<T> {
    /// It stays as it is.
    #[default]
    Ignore,
    /// It becomes this.
    Set(T),
    /// It becomes empty.
    Unset,
}

impl<T> Update<T> {
    /// Changes a field accordingly.
    pub fn apply(self, field: &mut Option<T>) {
        match self {
            Self::Ignore => {}
            Self::Set(value) => *field = Some(value),
            Self::Unset => *field = None,
        }
    }

    /// Whether it changes nothing.
    #[must_use]
    pub fn is_ignore(&self) -> bool {
        matches!(self, Self::Ignore)
    }
}
