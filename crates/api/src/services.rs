//! The facet `services`: applications that act for users of this node.

use peerage_types::{ServiceName, Token, UnixMillis, UserId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Link, Stream, contract::facet};

mod error;

pub use error::ServicesError;

/// Applications that act for users of this node.
///
/// A service proves itself by the token it got when it registered. It learns who is logged in, never
/// a user's token, and reads no storage but its own.
#[derive(Debug, Clone)]
pub struct Services {
    link: Link,
}

impl Services {
    pub(crate) fn new(link: Link) -> Self {
        Self { link }
    }

    /// Registers a service, or with its token changes version and description. Durable when it
    /// returns; stays until it is unregistered.
    ///
    /// # Errors
    /// [`ServicesError::Taken`], [`ServicesError::BadField`], [`ServicesError::TooMany`],
    /// [`ServicesError::Store`].
    pub async fn register(&self, register: Register) -> Result<Registered, ServicesError> {
        self.link.call(register).await
    }

    /// Removes a service from the registry and ends its feeds. What it stored for users stays
    /// theirs.
    ///
    /// # Errors
    /// [`ServicesError::NoSuchService`], [`ServicesError::NotAuthorised`],
    /// [`ServicesError::Store`].
    pub async fn unregister(&self, name: ServiceName, token: Token) -> Result<(), ServicesError> {
        self.link.call(Unregister { name, token: Some(token) }).await
    }

    /// All services.
    ///
    /// # Errors
    /// [`ServicesError::Link`] when the node cannot be asked.
    pub async fn list(&self) -> Result<Vec<Service>, ServicesError> {
        self.link.call(List {}).await
    }

    /// Which users are there for the service: first those that are, then as they come and go.
    ///
    /// # Errors
    /// [`ServicesError::NoSuchService`], [`ServicesError::NotAuthorised`],
    /// [`ServicesError::TooMany`] readers.
    pub async fn watch(
        &self,
        name: ServiceName,
        token: Token,
    ) -> Result<Stream<Event>, ServicesError> {
        self.link.open(Watch { name, token: Some(token) }).await
    }
}

/// Services of one node.
pub const MAX_SERVICES: usize = 256;
/// Longest version in bytes.
pub const MAX_VERSION_BYTES: usize = 64;
/// Longest description in bytes.
pub const MAX_DESCRIPTION_BYTES: usize = 1024;

/// A registered service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Service {
    /// Its name.
    pub name: ServiceName,
    /// Its version, as it likes.
    pub version: String,
    /// What it does, in a sentence.
    pub description: String,
    /// When it was registered.
    pub registered_ms: UnixMillis,
    /// Whether it follows its users now.
    pub watching: bool,
}

/// A service that was just registered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Registered {
    /// Its name.
    pub name: ServiceName,
    /// The proof for all else the service asks; the node keeps only its hash.
    pub token: Token,
}

/// A user is there for a service, or no longer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The user is logged in: its storage for this service can be used.
    Opened {
        /// Who.
        user: UserId,
    },
    /// The last session of the user has ended.
    Closed {
        /// Who.
        user: UserId,
    },
}

/// Registers a service.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Register {
    /// Its name.
    pub name: ServiceName,
    /// Its version, at most [`MAX_VERSION_BYTES`]; as it was if none is given.
    #[serde(default)]
    pub version: Option<String>,
    /// What it does, at most [`MAX_DESCRIPTION_BYTES`]; as it was if none is given.
    #[serde(default)]
    pub description: Option<String>,
    /// For a service that is registered already: its token.
    #[serde(default)]
    pub token: Option<Token>,
}

/// Removes a service.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Unregister {
    /// Its name.
    pub name: ServiceName,
    /// Its token.
    #[serde(default)]
    pub token: Option<Token>,
}

/// Asks for all services.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct List {}

/// Follows the users of a service.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Watch {
    /// Its name.
    pub name: ServiceName,
    /// Its token.
    #[serde(default)]
    pub token: Option<Token>,
}

facet! {
    Services, ServicesError;
    methods {
        Register => "services.register" -> Registered;
        List => "services.list" -> Vec<Service>;
    }
    scoped {
        Unregister => "services.unregister" -> ();
    }
    local {}
    feeds {}
    scoped_feeds {
        Watch[256] => "services.watch" -> Event;
    }
    extra {}
}
