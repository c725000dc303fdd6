//! The desk: commands of the facets of users and of the key-value store, answered beside the driver.

use std::{collections::HashSet, sync::Arc};

use libp2p::PeerId;
use peerage_accounts::{Accounts, Outside};
use peerage_api::{
    Ask, Command,
    users::{self, Auth, AuthError, List, Search},
};
use peerage_identity::Directory;
use peerage_kv::{self as kv, Kv, Signer};
use peerage_types::{Author, Handle, UnixMillis, UserId};
use peerage_wire::identity::{Bundle, Profile, Signed};
use tokio::runtime;

/// Who answers what.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) accounts: Accounts,
    pub(crate) kv: Kv,
    /// As the key-value store sees them.
    pub(crate) users: Arc<dyn kv::Users>,
    pub(crate) directory: Directory,
    pub(crate) runtime: runtime::Handle,
}

impl peerage_api::Desk for Desk {
    fn take(&self, command: Command) {
        match command {
            Command::Users(command) => self.on_users(command),
            Command::Contacts(command) => self.accounts.on_contacts(command),
            Command::Services(command) => self.accounts.on_services(command),
            Command::Storage(command) => self.accounts.on_storage(command),
            Command::Kv(command) => self.kv.on_command(command, &self.users),
            other => tracing::error!(?other, "the desk was given a command of the driver"),
        }
    }
}

impl Desk {
    fn on_users(&self, command: users::Command) {
        match command {
            users::Command::List(ask) => self.on_list(ask),
            users::Command::Search(ask) => self.on_search(ask),
            users::Command::Get(ask) => self.directory.on_get(ask),
            users::Command::Events(open) => self.directory.on_events(open),
            other => self.accounts.on_users(other),
        }
    }

    fn on_list(&self, ask: Ask<List>) {
        let (directory, blocked) = (self.directory.clone(), self.blocked(&ask.request.viewer));
        self.runtime.spawn(async move {
            let page = ask.request.page.clone();
            ask.reply(match blocked {
                Ok(blocked) => directory.list(page, blocked).await,
                Err(error) => Err(error.into()),
            });
        });
    }

    fn on_search(&self, ask: Ask<Search>) {
        let (directory, blocked) = (self.directory.clone(), self.blocked(&ask.request.viewer));
        self.runtime.spawn(async move {
            let search = ask.request.clone();
            ask.reply(match blocked {
                Ok(blocked) => directory.search(search, blocked).await,
                Err(error) => Err(error.into()),
            });
        });
    }

    /// Whom the viewer, if there is one, does not want to see.
    fn blocked(&self, viewer: &Option<Auth>) -> Result<HashSet<UserId>, AuthError> {
        viewer.as_ref().map_or_else(|| Ok(HashSet::new()), |auth| self.accounts.blocked(auth))
    }
}

/// Users of this node as the key-value store sees them.
#[derive(Debug)]
pub(crate) struct Signers(pub(crate) Accounts);

impl kv::Users for Signers {
    fn signer(&self, auth: &Auth) -> Result<Signer, AuthError> {
        Ok(Signer { author: Author::User(auth.user), key: Arc::new(self.0.signing_key(auth)?) })
    }
}

/// The network as accounts see it.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) node: PeerId,
    pub(crate) directory: Directory,
}

impl Outside for Network {
    fn node(&self) -> PeerId {
        self.node
    }

    fn publish(&self, bundle: Bundle) {
        if let Some(error) = self.directory.publish(&bundle).error {
            tracing::warn!(user = ?bundle.user(), %error, "what a user has signed is not taken");
        }
    }

    fn release(&self, user: &UserId) {
        self.directory.release(user);
    }

    fn profile(&self, user: &UserId) -> Option<Signed<Profile>> {
        self.directory.profile(user)
    }

    fn fate(&self, user: &UserId) -> Option<Option<UserId>> {
        self.directory.fate(user)
    }

    fn user(&self, user: &UserId) -> Option<users::User> {
        self.directory.get(user)
    }

    fn met_again(&self) -> Option<UnixMillis> {
        self.directory.met_again()
    }

    fn is_online(&self, user: &UserId) -> bool {
        self.directory.is_online(user)
    }

    fn named(&self, handle: &Handle) -> Vec<UserId> {
        self.directory.named(handle)
    }

    fn pin(&self, user: &UserId) {
        self.directory.pin(user);
    }

    fn unpin(&self, user: &UserId) {
        self.directory.unpin(user);
    }
}
