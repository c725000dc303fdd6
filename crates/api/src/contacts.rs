//! The facet `contacts`: a user's private book of other users.

use std::collections::BTreeSet;

use peerage_types::{Handle, UnixMillis, UserId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Link, Stream,
    contract::facet,
    users::{Auth, Page, Paged, Update},
};

mod error;

pub use error::ContactsError;

/// The contact book of one user: private to it, sealed while it is logged out.
///
/// Every call also fails with [`ContactsError::Auth`] when the session is not alive.
#[derive(Debug, Clone)]
pub struct Contacts {
    link: Link,
    auth: Auth,
}

impl Contacts {
    pub(crate) fn new(link: Link, auth: Auth) -> Self {
        Self { link, auth }
    }

    fn auth(&self) -> Auth {
        self.auth.clone()
    }

    /// Adds or changes a contact. Durable when it returns.
    ///
    /// # Errors
    /// [`ContactsError::Own`], [`ContactsError::BadField`], [`ContactsError::TooMany`],
    /// [`ContactsError::Store`].
    pub async fn set(
        &self,
        contact: UserId,
        change: ContactChange,
    ) -> Result<Contact, ContactsError> {
        self.link.call(Set { auth: self.auth(), contact, change }).await
    }

    /// One contact.
    ///
    /// # Errors
    /// [`ContactsError::NoSuchContact`].
    pub async fn get(&self, contact: UserId) -> Result<Contact, ContactsError> {
        self.link.call(Get { auth: self.auth(), contact }).await
    }

    /// Contacts that fulfil every part of the query, by id.
    ///
    /// # Errors
    /// [`ContactsError::Auth`].
    pub async fn list(
        &self,
        query: ContactQuery,
        page: Page,
    ) -> Result<Paged<Contact>, ContactsError> {
        self.link.call(List { auth: self.auth(), query, page }).await
    }

    /// Removes a contact with all that was noted of it; a block is lifted with it.
    ///
    /// # Errors
    /// [`ContactsError::NoSuchContact`], [`ContactsError::Store`].
    pub async fn remove(&self, contact: UserId) -> Result<(), ContactsError> {
        self.link.call(Remove { auth: self.auth(), contact }).await
    }

    /// The number that both sides see alike if nobody sits between them.
    ///
    /// # Errors
    /// [`ContactsError::Own`], [`ContactsError::Revoked`].
    pub async fn safety_number(&self, contact: UserId) -> Result<SafetyNumber, ContactsError> {
        self.link.call(GetSafetyNumber { auth: self.auth(), contact }).await
    }

    /// Notes that the safety numbers were compared. With `compared`, digits or the content of the
    /// QR code of the other side, this node compares.
    ///
    /// # Errors
    /// [`ContactsError::SafetyMismatch`], [`ContactsError::Revoked`], [`ContactsError::BadField`],
    /// [`ContactsError::Store`].
    pub async fn verify(
        &self,
        contact: UserId,
        compared: Option<String>,
    ) -> Result<Contact, ContactsError> {
        self.link.call(Verify { auth: self.auth(), contact, compared }).await
    }

    /// From now on this user, by whatever key it has or will have, is in no list and no search of
    /// the one who blocks, and is not told of in feeds. It is shown to who asks for it by id. Nodes
    /// are no users: to refuse what a node offers, block that with [`Peers`](crate::peers::Peers).
    ///
    /// # Errors
    /// [`ContactsError::Own`], [`ContactsError::TooMany`], [`ContactsError::Store`].
    pub async fn block(&self, contact: UserId) -> Result<Contact, ContactsError> {
        self.link.call(Block { auth: self.auth(), contact }).await
    }

    /// Lifts a block.
    ///
    /// # Errors
    /// [`ContactsError::NoSuchContact`], [`ContactsError::Store`].
    pub async fn unblock(&self, contact: UserId) -> Result<Contact, ContactsError> {
        self.link.call(Unblock { auth: self.auth(), contact }).await
    }

    /// Changes of the book, of contacts' profiles, and warnings.
    ///
    /// # Errors
    /// [`ContactsError::TooMany`] readers.
    pub async fn watch(&self) -> Result<Stream<Event>, ContactsError> {
        self.link.open(Watch { auth: self.auth() }).await
    }
}

/// Contacts of one user.
pub const MAX_CONTACTS: usize = 10_000;
/// Tags of one contact.
pub const MAX_TAGS: usize = 32;
/// Longest tag in bytes.
pub const MAX_TAG_BYTES: usize = 64;
/// Longest nick and location in bytes.
pub const MAX_SHORT_BYTES: usize = 256;
/// Longest notes in bytes.
pub const MAX_NOTES_BYTES: usize = 8 * 1024;
/// Trust goes from minus to plus this.
pub const MAX_TRUST: i8 = 100;

/// What a user has noted of another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Contact {
    /// Who.
    pub user: UserId,
    /// What the user calls it.
    pub nick: Option<String>,
    /// From −100, not at all, to 100, entirely.
    pub trust: i8,
    /// Whether they have met.
    pub met: bool,
    /// Where it is.
    pub location: Option<String>,
    /// Anything.
    pub notes: Option<String>,
    /// Labels.
    pub tags: BTreeSet<String>,
    /// The safety numbers were compared, and the key still counts.
    pub verified: bool,
    /// The key was revoked: nothing it signs counts, and it cannot be verified.
    #[serde(default)]
    pub revoked: bool,
    /// It is in no list and no search of the user; see [`Contacts::block`].
    pub blocked: bool,
    /// When it was added.
    pub added_ms: UnixMillis,
    /// When it was last changed.
    pub updated_ms: UnixMillis,
    /// The key under which it was known before; it is no longer verified since.
    pub moved_from: Option<UserId>,
    /// What it calls itself, as last known.
    pub handle: Option<Handle>,
    /// Its name, as last known.
    pub display_name: Option<String>,
    /// Whether some node says that it is logged in there.
    pub online: bool,
    /// Other keys that use its handle: somebody may pretend to be this contact.
    pub lookalikes: Vec<UserId>,
}

/// A change of a contact, field by field.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ContactChange {
    /// What the user calls it.
    pub nick: Update<String>,
    /// From −100 to 100; unset is 0.
    pub trust: Update<i8>,
    /// Whether they have met; unset is no.
    pub met: Update<bool>,
    /// Where it is.
    pub location: Update<String>,
    /// Anything.
    pub notes: Update<String>,
    /// Labels that are added.
    pub tags_add: BTreeSet<String>,
    /// Labels that go.
    pub tags_remove: BTreeSet<String>,
}

/// Which contacts; every part that is given must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ContactQuery {
    /// Somewhere in nick, handle, display name, location, notes or tags; case does not matter.
    pub text: Option<String>,
    /// At least this trust.
    pub trust_min: Option<i8>,
    /// At most this trust.
    pub trust_max: Option<i8>,
    /// Whether they have met.
    pub met: Option<bool>,
    /// Somewhere in the location; case does not matter.
    pub location: Option<String>,
    /// All of these tags.
    pub tags_all: BTreeSet<String>,
    /// At least one of these tags, unless there are none.
    pub tags_any: BTreeSet<String>,
    /// None of these tags.
    pub tags_none: BTreeSet<String>,
    /// Whether it is verified.
    pub verified: Option<bool>,
    /// Whether it is blocked.
    pub blocked: Option<bool>,
}

/// What two users compare to be sure of each other's keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SafetyNumber {
    /// Sixty digits in twelve groups of five, with spaces.
    pub digits: String,
    /// The same as text for a QR code.
    pub qr: String,
}

/// Something that happened in or to the book.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// An entry is new or has changed, or the contact has a newer profile.
    Changed {
        /// Who.
        contact: UserId,
    },
    /// An entry was removed.
    Removed {
        /// Who.
        contact: UserId,
    },
    /// A contact has a new key; its entry moved along and is no longer verified.
    Moved {
        /// The old key.
        from: UserId,
        /// The new one.
        to: UserId,
    },
    /// The contact's key was revoked without a new one.
    Revoked {
        /// Who.
        contact: UserId,
    },
    /// Another key uses the handle of a contact.
    Lookalike {
        /// The contact.
        contact: UserId,
        /// The other one.
        other: UserId,
        /// The handle.
        handle: Handle,
    },
}

/// Adds or changes a contact.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Set {
    /// Whose book.
    #[serde(flatten)]
    pub auth: Auth,
    /// Who.
    pub contact: UserId,
    /// What changes.
    #[serde(default)]
    pub change: ContactChange,
}

/// Asks for one contact.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Get {
    /// Whose book.
    #[serde(flatten)]
    pub auth: Auth,
    /// Who.
    pub contact: UserId,
}

/// Asks for contacts.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct List {
    /// Whose book.
    #[serde(flatten)]
    pub auth: Auth,
    /// Which.
    #[serde(default)]
    pub query: ContactQuery,
    /// Which part of them.
    #[serde(default)]
    pub page: Page,
}

/// Removes a contact.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Remove {
    /// Whose book.
    #[serde(flatten)]
    pub auth: Auth,
    /// Who.
    pub contact: UserId,
}

/// Asks for a safety number.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct GetSafetyNumber {
    /// One side.
    #[serde(flatten)]
    pub auth: Auth,
    /// The other.
    pub contact: UserId,
}

/// Notes that safety numbers were compared.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Verify {
    /// Whose book.
    #[serde(flatten)]
    pub auth: Auth,
    /// Who.
    pub contact: UserId,
    /// Digits or the content of the QR code of the other side; none if a person compared.
    #[serde(default)]
    pub compared: Option<String>,
}

/// Blocks a user.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Block {
    /// Whose book.
    #[serde(flatten)]
    pub auth: Auth,
    /// Who.
    pub contact: UserId,
}

/// Lifts a block.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Unblock {
    /// Whose book.
    #[serde(flatten)]
    pub auth: Auth,
    /// Who.
    pub contact: UserId,
}

/// Subscribes to changes of the book.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Watch {
    /// Whose book.
    #[serde(flatten)]
    pub auth: Auth,
}

facet! {
    Contacts, ContactsError;
    methods {}
    scoped {
        Set => "contacts.set" -> Contact;
        Get => "contacts.get" -> Contact;
        List => "contacts.list" -> Paged<Contact>;
        Remove => "contacts.remove" -> ();
        GetSafetyNumber => "contacts.safety_number" -> SafetyNumber;
        Verify => "contacts.verify" -> Contact;
        Block => "contacts.block" -> Contact;
        Unblock => "contacts.unblock" -> Contact;
    }
    local {}
    feeds {}
    scoped_feeds {
        Watch[256] => "contacts.watch" -> Event;
    }
    extra {}
}
