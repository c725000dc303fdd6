//! What the facet `users` tells: users, sessions, events.

use std::collections::{BTreeMap, BTreeSet};

use peerage_types::{
    ContentHash, Handle, PeerId, RecoveryCode, ServiceName, Token, UnixMillis, UserId,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Auth, Update};

/// What is known of a user: its newest valid profile, and where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct User {
    /// Who.
    pub user: UserId,
    /// What it calls itself; others may use the same.
    pub handle: Option<Handle>,
    /// Its name as it is to be shown.
    pub display_name: Option<String>,
    /// What it says about itself, by topic.
    pub bio: BTreeMap<String, String>,
    /// Root of a picture, to be fetched with the facet `files`.
    pub avatar: Option<ContentHash>,
    /// Services it uses.
    pub services: BTreeSet<ServiceName>,
    /// Nodes that hold mail for it.
    #[schemars(with = "Vec<String>")]
    pub mailboxes: BTreeSet<PeerId>,
    /// Rises with each change of the profile; 0 before the first.
    pub seq: u64,
    /// When the profile was signed, by its user's clock.
    pub updated_ms: UnixMillis,
    /// Whether it lives on this node.
    pub local: bool,
    /// Whether some node says that it is logged in there.
    pub online: bool,
    /// Nodes where it is logged in.
    #[schemars(with = "Vec<String>")]
    pub nodes: Vec<PeerId>,
    /// When it was last known to be there: when it last said so, which it repeats every half an
    /// hour, or when its node was lost. Never after now.
    pub last_seen_ms: Option<UnixMillis>,
    /// The key was revoked by its recovery key: nothing it signs counts any more.
    pub revoked: bool,
    /// The key that took its place.
    pub successor: Option<UserId>,
}

/// A user of this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LocalUser {
    /// Who.
    pub user: UserId,
    /// Its handle, if it has one.
    pub handle: Option<Handle>,
    /// Its name.
    pub display_name: Option<String>,
    /// When it was made or imported here.
    pub created_ms: UnixMillis,
    /// Sessions that are alive; with none its keys are sealed.
    pub sessions: u64,
    /// Deleted, with its data kept for export.
    pub deleted: bool,
}

/// A session that was just opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Session {
    /// Whose.
    pub user: UserId,
    /// The proof for calls on the user's behalf; the node keeps only its hash.
    pub token: Token,
    /// Its number, for [`Users::revoke`](super::Users::revoke).
    pub session: u64,
    /// When it ends if it is not used.
    pub idle_expires_ms: UnixMillis,
    /// When it ends even if it is used.
    pub expires_ms: UnixMillis,
}

impl Session {
    /// What calls on the user's behalf carry.
    #[must_use]
    pub fn auth(&self) -> Auth {
        Auth::new(self.user, self.token.clone())
    }
}

/// A new user, logged in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Created {
    /// Its first session.
    #[serde(flatten)]
    pub session: Session,
    /// Moves the user to another key, or revokes this one. Stored nowhere: write it down.
    pub recovery: RecoveryCode,
}

/// The new key of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rotated {
    /// The key that is no longer valid.
    pub previous: UserId,
    /// The new one; sessions go on under it.
    pub user: UserId,
    /// Takes the place of the recovery code that was used. Stored nowhere: write it down.
    pub recovery: RecoveryCode,
}

/// A session as its user sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionSummary {
    /// Its number.
    pub session: u64,
    /// When it was opened.
    pub created_ms: UnixMillis,
    /// When it was last used.
    pub used_ms: UnixMillis,
    /// When it ends if it is not used.
    pub idle_expires_ms: UnixMillis,
    /// When it ends even if it is used.
    pub expires_ms: UnixMillis,
    /// The only service whose storage it may use, if it is limited to one.
    pub service: Option<ServiceName>,
    /// Whether it is the one that asks.
    pub current: bool,
}

/// A change of a profile, field by field.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ProfileChange {
    /// What it calls itself.
    pub handle: Update<Handle>,
    /// Its name as it is to be shown.
    pub display_name: Update<String>,
    /// Entries of the bio that are added or replaced.
    pub bio_set: BTreeMap<String, String>,
    /// Entries of the bio that go.
    pub bio_remove: BTreeSet<String>,
    /// Root of a picture.
    pub avatar: Update<ContentHash>,
    /// Services that are added.
    pub services_add: BTreeSet<ServiceName>,
    /// Services that go.
    pub services_remove: BTreeSet<ServiceName>,
    /// Mailbox nodes that are added.
    #[schemars(with = "Vec<String>")]
    pub mailboxes_add: BTreeSet<PeerId>,
    /// Mailbox nodes that go.
    #[schemars(with = "Vec<String>")]
    pub mailboxes_remove: BTreeSet<PeerId>,
}

/// Where a search looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Attribute {
    /// Everywhere.
    #[default]
    Any,
    /// The id, as text.
    Id,
    /// The handle.
    Handle,
    /// The display name.
    Name,
    /// Topics and texts of the bio.
    Bio,
    /// Names of services.
    Service,
}

/// How a search compares. Case and Unicode form do not matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Matching {
    /// The text is somewhere inside.
    #[default]
    Contains,
    /// The attribute begins with the text.
    Prefix,
    /// The attribute is the text.
    Exact,
}

/// Something that became known of users, on this node or elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A newer profile.
    Changed {
        /// Whose.
        user: UserId,
        /// Its number.
        seq: u64,
    },
    /// The user is logged in on a node.
    Online {
        /// Who.
        user: UserId,
        /// Where.
        #[schemars(with = "String")]
        node: PeerId,
    },
    /// The user is no longer logged in on a node.
    Offline {
        /// Who.
        user: UserId,
        /// Where.
        #[schemars(with = "String")]
        node: PeerId,
    },
    /// A key was revoked, or has moved.
    Revoked {
        /// The old key.
        user: UserId,
        /// The new one, if there is one.
        successor: Option<UserId>,
    },
}
