//! Those who watch peers come and go.

use peerage_api::{
    Open, Sink,
    peers::{Event, Events, PeersError},
};

/// Watchers at a time. 64 × 256 events of about 200 bytes = 3 MiB at worst.
const MAX_FEEDS: usize = 64;

/// The open feeds.
#[derive(Debug, Default)]
pub(crate) struct Feeds {
    sinks: Vec<Sink<Event>>,
}

impl Feeds {
    pub(crate) fn open(&mut self, open: Open<Events>) {
        self.sinks.retain(|sink| !sink.is_closed());
        if self.sinks.len() < MAX_FEEDS {
            self.sinks.push(open.accept().1);
        } else {
            let reason = format!("{MAX_FEEDS} programs watch the peers already");
            open.refuse(PeersError::Refused { reason });
        }
    }

    /// Tells everybody; those that are gone are dropped.
    pub(crate) fn tell(&mut self, event: &Event) {
        self.sinks.retain(|sink| sink.offer(event.clone()));
    }

    /// Ends all feeds.
    pub(crate) fn close(&mut self) {
        self.sinks.clear();
    }
}
