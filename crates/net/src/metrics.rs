//! Metrics: recorded from events, shown as OpenMetrics text.

use libp2p::metrics::{Metrics, Recorder};
use prometheus_client::{encoding::text::encode, metrics::gauge::Gauge, registry::Registry};

/// The registry and what is set when it is read.
pub(crate) struct Recorded {
    registry: Registry,
    libp2p: Metrics,
    gauges: Gauges,
}

macro_rules! gauges {
    ($($name:ident: $help:literal,)*) => {
        /// Figures that are read, not counted, one field a metric `peerage_<name>`.
        #[derive(Debug, Default)]
        pub(crate) struct Figures { $(pub(crate) $name: u64,)* }

        #[derive(Default)]
        struct Gauges { $($name: Gauge,)* }

        impl Gauges {
            fn register(&self, registry: &mut Registry) {
                $(registry.register(stringify!($name), $help, self.$name.clone());)*
            }

            fn set(&self, figures: &Figures) {
                $(self.$name.set(i64::try_from(figures.$name).unwrap_or(i64::MAX));)*
            }
        }
    };
}

gauges! {
    peers: "Connected peers",
    connections: "Established connections",
    uptime_seconds: "Seconds since the start",
    resident_bytes: "Resident memory of the process",
    exchange_sent: "Exchange messages and requests written",
    exchange_received: "Exchange messages and requests that arrived",
    exchange_sent_bytes: "Bytes of exchange bodies written",
    exchange_received_bytes: "Bytes of exchange bodies that arrived",
    exchange_unheard: "Exchange messages that nobody listened for",
    pubsub_published: "Messages published by this node",
    pubsub_accepted: "Pub/sub messages accepted",
    pubsub_rejected: "Pub/sub messages rejected",
    pubsub_ignored: "Pub/sub messages ignored",
    pubsub_missed: "Pub/sub messages missed by slow readers",
    store_commits: "Commits of the store",
    store_operations: "Operations of the store",
    store_bytes: "Bytes of the store's file",
    store_queue: "Operations that wait for the store",
}

impl Recorded {
    /// `registry` as the behaviours have registered themselves in it.
    pub(crate) fn new(mut registry: Registry) -> Self {
        let libp2p = Metrics::new(&mut registry);
        let gauges = Gauges::default();
        gauges.register(registry.sub_registry_with_prefix("peerage"));
        Self { registry, libp2p, gauges }
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
        self.gauges.set(figures);
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
