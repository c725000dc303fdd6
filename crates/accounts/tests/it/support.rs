//! A node without a network: accounts behind a desk, and an outside that remembers.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
};

use peerage_accounts::{Accounts, Config, Outside};
use peerage_api::{
    Command, Desk, Link, Local, Node,
    users::{Auth, Created, User},
};
use peerage_store::Store;
use peerage_types::{Handle, Password, PeerId, UnixMillis, UserId};
use peerage_wire::identity::{Bundle, Profile, Signed};
use tokio::sync::mpsc;

/// A node.
pub(crate) struct Home {
    pub(crate) node: Node,
    pub(crate) accounts: Accounts,
    pub(crate) world: Arc<World>,
    pub(crate) store: Store,
}

/// Argon2id that costs nothing.
pub(crate) fn config() -> Config {
    Config { argon_memory_kib: 64, argon_passes: 1, ..Config::default() }
}

pub(crate) fn password(text: &str) -> Password {
    Password::new(text.into()).unwrap()
}

impl Home {
    /// Without a disk.
    pub(crate) fn new() -> Self {
        Self::with(config(), Store::in_memory())
    }

    /// With a data directory.
    pub(crate) fn open(dir: &Path) -> Self {
        Self::with(config(), Store::open(dir).unwrap().store)
    }

    pub(crate) fn with(config: Config, store: Store) -> Self {
        let world = Arc::new(World::new());
        let snapshot = store.accounts().load_blocking().unwrap();
        let accounts = Accounts::new(config, store.clone(), snapshot, world.clone());
        // Nothing but the facets of users is asked here.
        let (commands, _) = mpsc::channel(1);
        let desk = Arc::new(Front(accounts.clone()));
        let node = Node::new(Link::Local(Local::new(commands).with_desk(desk)));
        Self { node, accounts, world, store }
    }

    /// A user with the password `password`.
    pub(crate) async fn user(&self, handle: &str) -> Created {
        let handle = Some(Handle::new(handle).unwrap());
        self.node.users().create(password("password"), handle).await.unwrap()
    }

    pub(crate) async fn login(&self, user: UserId, text: &str) -> Auth {
        self.node.users().login(user, password(text), None).await.unwrap().auth()
    }

    /// Closes the store, so that its directory can be opened again.
    pub(crate) async fn stop(self) {
        self.accounts.close();
        self.store.close().await.unwrap();
    }
}

#[derive(Debug)]
struct Front(Accounts);

impl Desk for Front {
    fn take(&self, command: Command) {
        match command {
            Command::Users(command) => self.0.on_users(command),
            Command::Contacts(command) => self.0.on_contacts(command),
            Command::Services(command) => self.0.on_services(command),
            Command::Storage(command) => self.0.on_storage(command),
            other => panic!("{other:?} is not for the desk"),
        }
    }
}

/// What is known of users elsewhere, and what was published from here.
#[derive(Debug)]
pub(crate) struct World {
    node: PeerId,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
pub(crate) struct Known {
    /// As they were published, in order.
    pub(crate) published: Vec<Bundle>,
    pub(crate) profiles: HashMap<UserId, Signed<Profile>>,
    pub(crate) fates: HashMap<UserId, Option<UserId>>,
    pub(crate) online: HashSet<UserId>,
    pub(crate) users: HashMap<UserId, User>,
    pub(crate) met_again: Option<UnixMillis>,
    /// Answers of `named`, by handle as it is given.
    pub(crate) named: HashMap<Handle, Vec<UserId>>,
    /// Who does not live here any more.
    pub(crate) released: Vec<UserId>,
    /// How often each user is pinned.
    pub(crate) pins: HashMap<UserId, i64>,
}

impl World {
    fn new() -> Self {
        Self { node: PeerId::random(), known: Mutex::default() }
    }

    pub(crate) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap()
    }

    /// Bundles that were published since the last call.
    pub(crate) fn take_published(&self) -> Vec<Bundle> {
        std::mem::take(&mut self.known().published)
    }
}

impl Known {
    /// Takes what is in a bundle, as `identity` does with a verified one.
    pub(crate) fn hear(&mut self, bundle: &Bundle) {
        if let Some(profile) = &bundle.profile
            && self.profiles.get(&profile.user).is_none_or(|known| known.seq < profile.seq)
        {
            self.profiles.insert(profile.user, profile.clone());
        }
        if let Some(succession) = &bundle.succession {
            self.fates.entry(succession.user).or_insert(succession.successor);
        }
    }
}

impl Outside for World {
    fn node(&self) -> PeerId {
        self.node
    }

    fn publish(&self, bundle: Bundle) {
        let mut known = self.known();
        known.hear(&bundle);
        known.published.push(bundle);
    }

    fn release(&self, user: &UserId) {
        self.known().released.push(*user);
    }

    fn profile(&self, user: &UserId) -> Option<Signed<Profile>> {
        self.known().profiles.get(user).cloned()
    }

    fn fate(&self, user: &UserId) -> Option<Option<UserId>> {
        self.known().fates.get(user).copied()
    }

    fn user(&self, user: &UserId) -> Option<User> {
        self.known().users.get(user).cloned()
    }

    fn met_again(&self) -> Option<UnixMillis> {
        self.known().met_again
    }

    fn is_online(&self, user: &UserId) -> bool {
        self.known().online.contains(user)
    }

    fn named(&self, handle: &Handle) -> Vec<UserId> {
        self.known().named.get(handle).cloned().unwrap_or_default()
    }

    fn pin(&self, user: &UserId) {
        *self.known().pins.entry(*user).or_default() += 1;
    }

    fn unpin(&self, user: &UserId) {
        *self.known().pins.entry(*user).or_default() -= 1;
    }
}
