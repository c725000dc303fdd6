//! The facet `users`: who lives on this node, their sessions and profiles, and who is known.

use peerage_types::{Handle, Password, Payload, RecoveryCode, ServiceName, UserId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Link, Stream, contract::facet};

mod auth;
mod error;
mod shapes;

pub use auth::{Auth, AuthError, MAX_PAGE, Page, Paged, Update};
pub use error::UsersError;
pub use shapes::{
    Attribute, Created, Event, LocalUser, Matching, ProfileChange, Rotated, Session,
    SessionSummary, User,
};

/// Users of this node, and everybody that is known.
///
/// A user needs nothing but a password; its key is made here and is sealed while nobody is logged
/// in. Profiles are signed, spread through the network, and are verified wherever they come from.
#[derive(Debug, Clone)]
pub struct Users {
    link: Link,
}

impl Users {
    pub(crate) fn new(link: Link) -> Self {
        Self { link }
    }

    /// Makes a user and logs it in. Durable when it returns.
    ///
    /// # Errors
    /// [`UsersError::TooMany`], [`UsersError::Busy`], [`UsersError::Store`].
    pub async fn create(
        &self,
        password: Password,
        handle: Option<Handle>,
    ) -> Result<Created, UsersError> {
        self.link.call(Create { password, handle }).await
    }

    /// Opens a session. With `service` it may use nothing but the storage of that service.
    ///
    /// # Errors
    /// [`UsersError::WrongPassword`]; [`UsersError::Throttled`] after several of them;
    /// [`AuthError::NoSuchUser`]; [`UsersError::Busy`]; [`UsersError::Damaged`].
    pub async fn login(
        &self,
        user: UserId,
        password: Password,
        service: Option<ServiceName>,
    ) -> Result<Session, UsersError> {
        self.link.call(Login { user, password, service }).await
    }

    /// Ends the session that asks.
    ///
    /// # Errors
    /// [`UsersError::Auth`].
    pub async fn logout(&self, auth: Auth) -> Result<(), UsersError> {
        self.link.call(Logout { auth }).await
    }

    /// The sessions of a user that are alive.
    ///
    /// # Errors
    /// [`UsersError::Auth`].
    pub async fn sessions(&self, auth: Auth) -> Result<Vec<SessionSummary>, UsersError> {
        self.link.call(Sessions { auth }).await
    }

    /// Ends one session of the user.
    ///
    /// # Errors
    /// [`UsersError::NoSuchSession`], [`UsersError::Auth`].
    pub async fn revoke(&self, auth: Auth, session: u64) -> Result<(), UsersError> {
        self.link.call(Revoke { auth, session }).await
    }

    /// Ends all sessions of the user, the one that asks included unless `keep_current`. Returns
    /// how many.
    ///
    /// # Errors
    /// [`UsersError::Auth`].
    pub async fn revoke_all(&self, auth: Auth, keep_current: bool) -> Result<u64, UsersError> {
        self.link.call(RevokeAll { auth, keep_current }).await
    }

    /// Changes the password; sessions go on. Durable when it returns.
    ///
    /// # Errors
    /// [`UsersError::WrongPassword`] for the old one, [`UsersError::Throttled`],
    /// [`UsersError::Auth`], [`UsersError::Store`].
    pub async fn change_password(
        &self,
        auth: Auth,
        old: Password,
        new: Password,
    ) -> Result<(), UsersError> {
        self.link.call(ChangePassword { auth, old, new }).await
    }

    /// Changes the profile, signs it and spreads it. Durable here when it returns.
    ///
    /// # Errors
    /// [`UsersError::BadField`], [`UsersError::TooMany`], [`UsersError::ProfileTooLarge`],
    /// [`UsersError::Revoked`], [`UsersError::Auth`], [`UsersError::Store`].
    pub async fn update(&self, auth: Auth, change: ProfileChange) -> Result<User, UsersError> {
        self.link.call(UpdateProfile { auth, change }).await
    }

    /// Moves the user to a new key; contacts follow, and the old key is refused from then on.
    /// Contacts, storage and sessions stay.
    ///
    /// # Errors
    /// [`UsersError::WrongRecovery`], [`UsersError::WrongPassword`], [`UsersError::Throttled`],
    /// [`UsersError::Auth`], [`UsersError::Store`].
    pub async fn rotate(
        &self,
        auth: Auth,
        password: Password,
        recovery: RecoveryCode,
    ) -> Result<Rotated, UsersError> {
        self.link.call(Rotate { auth, password, recovery }).await
    }

    /// Declares a key invalid for ever, with nothing but its recovery code: for when the machine
    /// or the password is lost. Works on any node that knows the user's profile.
    ///
    /// # Errors
    /// [`UsersError::WrongRecovery`], [`UsersError::Unknown`].
    pub async fn revoke_key(&self, user: UserId, recovery: RecoveryCode) -> Result<(), UsersError> {
        self.link.call(RevokeKey { user, recovery }).await
    }

    /// Removes a user from this node. Its keys are forgotten, so that what is left of its data can
    /// never be read, unless `keep` leaves it for [`Users::export`] or [`Users::forget`].
    ///
    /// # Errors
    /// [`UsersError::WrongPassword`], [`UsersError::Throttled`], [`UsersError::Auth`],
    /// [`UsersError::Store`].
    pub async fn delete(
        &self,
        auth: Auth,
        password: Password,
        keep: bool,
    ) -> Result<(), UsersError> {
        self.link.call(Delete { auth, password, keep }).await
    }

    /// Forgets for ever what was kept of a user that was deleted here.
    ///
    /// # Errors
    /// [`UsersError::NotDeleted`], [`UsersError::WrongPassword`], [`UsersError::Throttled`],
    /// [`AuthError::NoSuchUser`], [`UsersError::Store`].
    pub async fn forget(&self, user: UserId, password: Password) -> Result<(), UsersError> {
        self.link.call(Forget { user, password }).await
    }

    /// Everything of a user, sealed with a password of its own: key, profile, contacts, storage.
    ///
    /// # Errors
    /// [`UsersError::WrongPassword`], [`UsersError::Throttled`], [`AuthError::NoSuchUser`],
    /// [`UsersError::TooMany`] when it is larger than an answer may be.
    pub async fn export(
        &self,
        user: UserId,
        password: Password,
        archive_password: Password,
    ) -> Result<Payload, UsersError> {
        self.link.call(Export { user, password, archive_password }).await
    }

    /// Brings an exported user to this node, with a password for this node. All or nothing.
    ///
    /// # Errors
    /// [`UsersError::BadArchive`], [`UsersError::WrongArchivePassword`],
    /// [`UsersError::AlreadyHere`], [`UsersError::Revoked`], [`UsersError::Store`].
    pub async fn import(
        &self,
        archive: Payload,
        archive_password: Password,
        password: Password,
    ) -> Result<LocalUser, UsersError> {
        self.link.call(Import { archive, archive_password, password }).await
    }

    /// The users of this node.
    ///
    /// # Errors
    /// [`UsersError::Link`] when the node cannot be asked.
    pub async fn local(&self) -> Result<Vec<LocalUser>, UsersError> {
        self.link.call(Local {}).await
    }

    /// Everybody that is known, by id. With `viewer` those are left out that it has blocked.
    ///
    /// # Errors
    /// [`UsersError::Auth`] of the viewer.
    pub async fn list(&self, viewer: Option<Auth>, page: Page) -> Result<Paged<User>, UsersError> {
        self.link.call(List { viewer, page }).await
    }

    /// What is known of one user; if nothing is, the network is asked.
    ///
    /// # Errors
    /// [`UsersError::Unknown`].
    pub async fn get(&self, user: UserId) -> Result<User, UsersError> {
        self.link.call(Get { user }).await
    }

    /// Known users that match, best first. With `viewer` those are left out that it has blocked.
    ///
    /// # Errors
    /// [`UsersError::BadField`] for an empty or overlong text; [`UsersError::Auth`] of the viewer.
    pub async fn search(&self, search: Search) -> Result<Paged<User>, UsersError> {
        self.link.call(search).await
    }

    /// Profiles, presence and keys as they change.
    ///
    /// # Errors
    /// [`UsersError::TooMany`] readers.
    pub async fn events(&self) -> Result<Stream<Event>, UsersError> {
        self.link.open(Events {}).await
    }
}

/// Users that one node hosts.
pub const MAX_LOCAL_USERS: usize = 1024;
/// Sessions of one user.
pub const MAX_SESSIONS: usize = 64;
/// Longest text of a search in bytes.
pub const MAX_QUERY_BYTES: usize = 256;

/// Makes a user.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Create {
    /// Protects its key and its data.
    pub password: Password,
    /// What it calls itself.
    #[serde(default)]
    pub handle: Option<Handle>,
}

/// Opens a session.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Login {
    /// Whose.
    pub user: UserId,
    /// Its password.
    pub password: Password,
    /// The only service whose storage the session may use.
    #[serde(default)]
    pub service: Option<ServiceName>,
}

/// Ends the session that asks.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Logout {
    /// Which.
    #[serde(flatten)]
    pub auth: Auth,
}

/// Asks for the sessions of a user.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Sessions {
    /// Whose.
    #[serde(flatten)]
    pub auth: Auth,
}

/// Ends a session.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Revoke {
    /// On whose behalf.
    #[serde(flatten)]
    pub auth: Auth,
    /// Which, by its number.
    pub session: u64,
}

/// Ends all sessions of a user.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct RevokeAll {
    /// Whose.
    #[serde(flatten)]
    pub auth: Auth,
    /// Except for the one that asks.
    #[serde(default)]
    pub keep_current: bool,
}

/// Changes a password.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ChangePassword {
    /// Whose.
    #[serde(flatten)]
    pub auth: Auth,
    /// As it is.
    pub old: Password,
    /// As it will be.
    pub new: Password,
}

/// Changes a profile.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct UpdateProfile {
    /// Whose.
    #[serde(flatten)]
    pub auth: Auth,
    /// What changes.
    pub change: ProfileChange,
}

/// Moves a user to a new key.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Rotate {
    /// Whom.
    #[serde(flatten)]
    pub auth: Auth,
    /// The user's password.
    pub password: Password,
    /// The code that [`Created`] or [`Rotated`] told.
    pub recovery: RecoveryCode,
}

/// Declares a key invalid.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct RevokeKey {
    /// Whose.
    pub user: UserId,
    /// The code that [`Created`] or [`Rotated`] told.
    pub recovery: RecoveryCode,
}

/// Removes a user from this node.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Delete {
    /// Whom.
    #[serde(flatten)]
    pub auth: Auth,
    /// The user's password.
    pub password: Password,
    /// Leave the data, so that it can be exported.
    #[serde(default)]
    pub keep: bool,
}

/// Forgets what was kept of a deleted user.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Forget {
    /// Of whom: nobody is logged in who could ask.
    pub user: UserId,
    /// The user's password, as it was.
    pub password: Password,
}

/// Asks for everything of a user, sealed.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Export {
    /// Whose.
    pub user: UserId,
    /// The user's password: a session is not enough.
    pub password: Password,
    /// Seals the archive.
    pub archive_password: Password,
}

/// Brings an exported user to this node.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Import {
    /// What [`Export`] returned.
    pub archive: Payload,
    /// Opens the archive.
    pub archive_password: Password,
    /// The user's password on this node.
    pub password: Password,
}

/// Asks for the users of this node.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Local {}

/// Asks for everybody that is known.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct List {
    /// Whose blocked users are left out.
    #[serde(default)]
    pub viewer: Option<Auth>,
    /// Which part.
    #[serde(default)]
    pub page: Page,
}

/// Asks for one user.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Get {
    /// Whom.
    pub user: UserId,
}

/// Searches known users.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Search {
    /// What is looked for, 1 to [`MAX_QUERY_BYTES`].
    pub text: String,
    /// Where.
    #[serde(default)]
    pub attribute: Attribute,
    /// How.
    #[serde(default)]
    pub matching: Matching,
    /// Whose blocked users are left out.
    #[serde(default)]
    pub viewer: Option<Auth>,
    /// Which part.
    #[serde(default)]
    pub page: Page,
}

/// Subscribes to what becomes known of users.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Events {}

facet! {
    Users, UsersError;
    methods {
        Create => "users.create" -> Created;
        Login => "users.login" -> Session;
        RevokeKey => "users.revoke_key" -> ();
        Forget => "users.forget" -> ();
        Export => "users.export" -> Payload;
        Import => "users.import" -> LocalUser;
        Local => "users.local" -> Vec<LocalUser>;
        List => "users.list" -> Paged<User>;
        Get => "users.get" -> User;
        Search => "users.search" -> Paged<User>;
    }
    scoped {
        Logout => "users.logout" -> ();
        Sessions => "users.sessions" -> Vec<SessionSummary>;
        Revoke => "users.revoke" -> ();
        RevokeAll => "users.revoke_all" -> u64;
        ChangePassword => "users.change_password" -> ();
        UpdateProfile => "users.update" -> User;
        Rotate => "users.rotate" -> Rotated;
        Delete => "users.delete" -> ();
    }
    local {}
    feeds {
        Events[256] => "users.events" -> Event;
    }
    scoped_feeds {}
    extra {}
}
