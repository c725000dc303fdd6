//! Metrics: recorded from events, shown as OpenMetrics text.

use std::sync::atomic::Ordering::Relaxed;

use libp2p::metrics::{Metrics, Recorder};
use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

/// The registry and what is set when it is read.
pub(crate) struct Recorded {
    registry: Registry,
    libp2p: Metrics,
    shown: Shown,
}

macro_rules! figures {
    ($($name:ident: $metric:ident $help:literal,)*) => {
        /// Figures that are read, not counted here. One field a metric: a gauge `peerage_<name>`, or
        /// a counter `peerage_<name>_total` for what only rises.
        #[derive(Debug, Default)]
        pub(crate) struct Figures { $(pub(crate) $name: u64,)* }

        #[derive(Default)]
        struct Shown { $($name: $metric,)* }

        impl Shown {
            fn register(&self, registry: &mut Registry) {
                $(registry.register(stringify!($name), $help, self.$name.clone());)*
            }

            fn set(&self, figures: &Figures) {
                $(self.$name.show(figures.$name);)*
            }
        }
    };
}

/// A metric that shows a figure somebody else keeps.
trait Show {
    fn show(&self, figure: u64);
}

impl Show for Gauge {
    fn show(&self, figure: u64) {
        self.set(i64::try_from(figure).unwrap_or(i64::MAX));
    }
}

impl Show for Counter {
    fn show(&self, figure: u64) {
        self.inner().store(figure, Relaxed);
    }
}

figures! {
    peers: Gauge "Connected peers",
    connections: Gauge "Established connections",
    uptime_seconds: Gauge "Seconds since the start",
    resident_bytes: Gauge "Resident memory of the process",
    book_unsaved: Gauge "1 while the address book has changes that were not handed to the store",
    mainline_nodes: Gauge "Nodes of the BitTorrent DHT in the routing table",
    mainline_restarts: Counter "Times the BitTorrent DHT was started again because it had failed",
    pex_peers: Gauge "Connected peers that introduce others",
    exchange_sent: Counter "Exchange messages and requests written",
    exchange_received: Counter "Exchange messages and requests that arrived",
    exchange_sent_bytes: Counter "Bytes of exchange bodies written",
    exchange_received_bytes: Counter "Bytes of exchange bodies that arrived",
    exchange_unheard: Counter "Exchange messages that nobody listened for",
    pubsub_published: Counter "Messages published by this node",
    pubsub_accepted: Counter "Pub/sub messages accepted",
    pubsub_rejected: Counter "Pub/sub messages rejected",
    pubsub_ignored: Counter "Pub/sub messages ignored",
    pubsub_missed: Counter "Pub/sub messages missed by slow readers",
    files_active: Gauge "Transfers of files that are not over",
    files_serving: Gauge "Streams that serve files to peers",
    files_shares: Gauge "Things that are shared",
    files_done: Counter "Transfers of files that completed",
    files_failed: Counter "Transfers of files that failed",
    files_sent_bytes: Counter "Bytes of files and proofs sent",
    files_received_bytes: Counter "Bytes of files and proofs received",
    files_corrupt_bytes: Counter "Received bytes of files that did not verify",
    users_known: Gauge "Users of whom something is known",
    users_known_bytes: Gauge "Signed bytes that are known of users",
    users_local: Gauge "Users of this node among them",
    users_accepted: Counter "Records of users that told something new",
    users_rejected: Counter "Records of users that were invalid or refused",
    kv_sessions: Gauge "Sessions about entries of the key-value store that run",
    kv_completed: Counter "Sessions about entries that ended well",
    kv_failed: Counter "Sessions about entries that broke off",
    kv_entries_in: Counter "Entries that came from others and were new",
    kv_entries_out: Counter "Entries that were sent in sessions",
    kv_sent_bytes: Counter "Bytes sent in sessions about entries",
    kv_received_bytes: Counter "Bytes received in sessions about entries",
    store_commits: Counter "Commits of the store",
    store_operations: Counter "Operations of the store",
    store_failures: Counter "Operations of the store that failed",
    store_bytes: Gauge "Bytes of the store's file",
    store_queue: Gauge "Operations that wait for the store",
}

impl Recorded {
    /// `registry` as the behaviours have registered themselves in it.
    pub(crate) fn new(mut registry: Registry) -> Self {
        let libp2p = Metrics::new(&mut registry);
        let shown = Shown::default();
        shown.register(registry.sub_registry_with_prefix("peerage"));
        Self { registry, libp2p, shown }
    }

    /// Counts an event.
    pub(crate) fn record<E>(&self, event: &E)
    where
        Metrics: Recorder<E>,
    {
        self.libp2p.record(event);
    }

    /// All metrics as OpenMetrics text, the figures as given.
    pub(crate) fn text(&self, figures: &Figures) -> String {
        self.shown.set(figures);
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a string does not fail");
        text
    }
}

/// Resident memory in bytes; 0 where the system does not tell.
pub(crate) fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or_default() * rustix::param::page_size() as u64
}
