//! From settings to a running node.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use libp2p::{Multiaddr, PeerId, Swarm, identity::Keypair, pnet::PreSharedKey, swarm};
use peerage_accounts::{self as accounts, Accounts};
use peerage_api::{Link, Local, Node};
use peerage_files as files;
use peerage_identity as users;
use peerage_kv as kv;
use peerage_peers as peers;
use peerage_store::{
    AccountsSnapshot, BookSnapshot, DirLock, KeptAside, LockError, OpenError, Store,
    TransfersSnapshot,
};
use peerage_types::UnixMillis;
use prometheus_client::registry::Registry;
use tempfile::TempDir;
use tokio::{runtime, sync::mpsc, task::JoinHandle};

use crate::{
    desk::{Desk, Network, Signers},
    driver::Driver,
    handlers::Lean,
    identity::{self, KeyError},
    listen::{self, ListenError, Place},
    mainline,
    metrics::Recorded,
    settings::{FilesSettings, KvSettings, Profile, Settings, UsersSettings},
    stack::Stack,
    transport::{self, TransportError},
};

/// Questions that may wait for the driver: 256 × under 1 KiB.
const MAX_COMMANDS: usize = 256;
/// A connection without streams that nobody wants to keep closes after this.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// How a node cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory cannot be made.
    #[error("data directory {path}: {source}")]
    Data {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another node uses the data directory.
    #[error(transparent)]
    Locked(#[from] LockError),
    /// A key file cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The address book cannot be read.
    #[error("the address book cannot be read: {0}")]
    Book(#[from] peerage_store::StoreError),
    /// The key-value store cannot be read.
    #[error("the key-value store cannot be read: {0}")]
    Kv(peerage_store::StoreError),
    /// A transport cannot be made.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// An address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A setting that does not fit.
    #[error("{0}")]
    Setting(String),
}

/// A node that runs.
#[derive(Debug)]
pub struct Running {
    /// The handle.
    pub node: Node,
    /// Who it is.
    pub peer_id: PeerId,
    /// Where it listens, each address ending in its id.
    pub listen: Vec<Multiaddr>,
    /// A store that was damaged, and where it is kept; the node started with an empty one.
    pub kept_aside: Option<KeptAside>,
    driver: JoinHandle<()>,
}

impl Running {
    /// Stops the node and waits until it has stopped.
    ///
    /// # Cancel safety
    /// Dropping the future does not take back the stop.
    pub async fn stop(self) {
        // Stopped already is as good.
        let _ = self.node.stop().await;
        self.stopped().await;
    }

    /// Waits until the node has stopped: connections are closed and the store is on disk.
    ///
    /// The node stops after [`Node::stop`], or when the last handle is dropped; this keeps none.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the node alone.
    pub async fn stopped(self) {
        let Self { node, driver, .. } = self;
        drop(node);
        if let Err(error) = driver.await {
            tracing::error!(%error, "the driver ended early");
        }
    }
}

/// What lies in the data directory.
struct Home {
    lock: Option<DirLock>,
    keys: Keypair,
    network_key: Option<PreSharedKey>,
    store: Store,
    kept_aside: Option<KeptAside>,
    book: BookSnapshot,
    transfers: TransfersSnapshot,
    accounts: AccountsSnapshot,
    /// Of a node that keeps nothing.
    temporary: Option<TempDir>,
    places: Vec<Place>,
}

/// Starts a node and returns once it listens.
///
/// # Errors
/// [`StartError`], each variant with the file or address it is about and what to do.
///
/// # Cancel safety
/// Dropping the future leaves nothing running.
pub async fn start(settings: Settings) -> Result<Running, StartError> {
    // A swarm of all behaviours is large, and in an unoptimised build there are several on the way.
    Box::pin(run(settings)).await
}

async fn run(settings: Settings) -> Result<Running, StartError> {
    let at = settings.clone();
    let opened = tokio::task::spawn_blocking(move || open_home(&at)).await;
    let home = opened.map_err(|e| StartError::Setting(format!("start was interrupted: {e}")))??;
    let Home { lock, keys, network_key, store, kept_aside, .. } = home;
    let Home { book, transfers, accounts, temporary, places, .. } = home;
    let peer_id = keys.public().to_peer_id();
    let (transport, relay_client) = transport::all(&keys, network_key, settings.security)?;
    let mut registry = Registry::default();
    let peers =
        peers::Behaviour::new(peers_config(&settings, peer_id), &store, book, Instant::now());
    let files = files_config(&settings, peer_id, temporary.as_ref());
    let home = files.home.clone();
    let files = files::Behaviour::new(files, store.clone(), transfers)
        .map_err(|source| StartError::Data { path: home, source })?;
    let users = users::Behaviour::new(users_config(&settings, peer_id), store.clone());
    let directory = users.directory();
    let kv = key_value(&settings, &keys, &store).await?;
    let handle = kv.handle();
    let bridge = mainline::behaviour(&settings, &keys, &store);
    let stack =
        Stack::new(&keys, &settings, relay_client, peers, files, users, kv, bridge, &mut registry);
    let stack = stack.map_err(StartError::Setting)?;
    let config = swarm::Config::with_tokio_executor()
        .with_idle_connection_timeout(IDLE_TIMEOUT)
        .with_smart_dial();
    let swarm = Swarm::new(transport, Lean(stack), peer_id, config);
    let (queue, commands) = mpsc::channel(MAX_COMMANDS);
    let outside = Arc::new(Network { node: peer_id, directory: directory.clone() });
    let config = accounts_config(&settings);
    let accounts = Accounts::new(config, store.clone(), accounts, outside);
    let desk = Arc::new(Desk {
        accounts: accounts.clone(),
        kv: handle,
        users: Arc::new(Signers(accounts.clone())),
        directory,
        runtime: runtime::Handle::current(),
    });
    let node = Node::new(Link::Local(Local::new(queue).with_desk(desk)));
    let public_key = keys.public();
    let metrics = Recorded::new(registry);
    let mut driver = Driver::new(
        swarm,
        commands,
        settings,
        public_key,
        network_key.is_some(),
        store,
        accounts.clone(),
        metrics,
        (lock, temporary),
    );
    let listen = driver.listen(places).await?;
    accounts.start();
    let driver = tokio::spawn(driver.run());
    Ok(Running { node, peer_id, listen, kept_aside, driver })
}

/// Everything that touches the disk before the node runs.
fn open_home(settings: &Settings) -> Result<Home, StartError> {
    let network_key =
        settings.network_key.as_deref().map(identity::load_network_key).transpose()?;
    let Some(dir) = &settings.data else {
        let store = Store::in_memory();
        let places = listen::places(settings, network_key.is_some(), &store)?;
        return Ok(Home {
            lock: None,
            keys: Keypair::generate_ed25519(),
            network_key,
            store,
            kept_aside: None,
            book: BookSnapshot::default(),
            transfers: TransfersSnapshot::default(),
            accounts: AccountsSnapshot::default(),
            temporary: Some(temporary()?),
            places,
        });
    };
    create_private_dir(dir)?;
    let lock = DirLock::acquire(dir)?;
    let keys = identity::load_or_create(dir)?;
    let opened = Store::open(dir)?;
    let book = opened.store.book().load_blocking()?;
    let transfers = opened.store.transfers().load_blocking()?;
    let accounts = opened.store.accounts().load_blocking()?;
    let places = listen::places(settings, network_key.is_some(), &opened.store)?;
    Ok(Home {
        lock: Some(lock),
        keys,
        network_key,
        store: opened.store,
        kept_aside: opened.kept_aside,
        book,
        transfers,
        accounts,
        temporary: None,
        places,
    })
}

fn temporary() -> Result<TempDir, StartError> {
    let made = TempDir::with_prefix("peerage-");
    made.map_err(|source| StartError::Data { path: std::env::temp_dir(), source })
}

fn files_config(settings: &Settings, local: PeerId, temporary: Option<&TempDir>) -> files::Config {
    let dir = settings.data.clone().or_else(|| temporary.map(|dir| dir.path().to_owned()));
    let dir = dir.unwrap_or_default();
    let FilesSettings { downloads, accept_from, .. } = settings.files.clone();
    files::Config {
        network: settings.network.clone(),
        local,
        downloads: downloads.unwrap_or_else(|| dir.join("downloads")),
        home: dir.join("content"),
        accept_from: accept_from.into_iter().collect(),
        accept_max_bytes: settings.files.accept_max_bytes,
        send_limit_bps: settings.files.send_limit_bps,
        receive_limit_bps: settings.files.receive_limit_bps,
        allow_relay: settings.files.allow_relay,
    }
}

/// The replica signs with the key of the node.
async fn key_value(
    settings: &Settings,
    keys: &Keypair,
    store: &Store,
) -> Result<kv::Behaviour, StartError> {
    let local = kv::Signer::node(identity::signing_key(keys)?);
    let KvSettings { max_value_bytes, max_space_bytes, max_space_entries } = settings.kv;
    let limits = kv::Limits {
        max_value: max_value_bytes,
        space_entries: max_space_entries,
        space_bytes: max_space_bytes,
        author_entries: max_space_entries / 2,
        author_bytes: max_space_bytes / 2,
    };
    let network = settings.network.clone();
    let now = UnixMillis::now();
    let replica = kv::Replica::open(local.clone(), &network, limits, store.kv(), now).await;
    let replica = replica.map_err(StartError::Kv)?;
    Ok(kv::Behaviour::new(kv::Config { network, local }, replica))
}

fn users_config(settings: &Settings, local: PeerId) -> users::Config {
    users::Config::new(settings.network.clone(), local)
}

fn accounts_config(settings: &Settings) -> accounts::Config {
    let UsersSettings { idle_timeout, session_timeout, argon_memory_kib, argon_passes } =
        settings.users.clone();
    accounts::Config {
        idle_timeout,
        session_timeout,
        argon_memory_kib,
        argon_passes,
        ..accounts::Config::default()
    }
}

fn create_private_dir(dir: &Path) -> Result<(), StartError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|source| StartError::Data { path: dir.to_owned(), source })
}

fn peers_config(settings: &Settings, local: PeerId) -> peers::Config {
    let mut config = peers::Config::new(local);
    config.bootstrap.clone_from(&settings.bootstrap);
    config.protected.clone_from(&settings.protected);
    config.max_peers = settings.max_peers;
    config.low_peers = settings.max_peers - settings.max_peers / 4;
    config.max_connections = settings.max_peers + settings.max_peers / 4;
    config.max_connections_per_ip = settings.max_connections_per_ip;
    config.allow_private = settings.local_only;
    if settings.profile != Profile::Peer {
        // They are there to be found, not to look for company.
        config.autodial.target_peers = 0;
    }
    config
}
