//! A transfer: what the store keeps of it, and what lives with the process.

use std::{
    path::PathBuf,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use bytes::Bytes;
use libp2p_core::Multiaddr;
use libp2p_identity::PeerId;
use peerage_api::files::{self as api, Direction, Event, FilesError, Seconds, Skipped, State};
use peerage_content::{Progress, SourceRecord};
use peerage_dialog::DialogId;
use peerage_types::{TransferId, UnixMillis};
use peerage_wire::files::{Content, Kind, News};
use serde::{Deserialize, Serialize};

use crate::{
    bounds::{FIRST_CONTACT_TIMEOUT, PATIENT_CONTACT_TIMEOUT},
    download::Download,
    providers::Providers,
    rate::Rate,
    search::Search,
    traffic::Traffic,
};

/// First byte of every row. A row of another version is dropped with a warning.
const VERSION: u8 = 1;

/// What the store keeps. Changes of its shape need a new version.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) state: State,
    pub(crate) peer: Option<PeerId>,
    pub(crate) content: Option<Content>,
    pub(crate) name: String,
    pub(crate) side: Side,
    pub(crate) wire_bytes: u64,
    pub(crate) done_bytes: u64,
    pub(crate) seconds: f64,
    pub(crate) limit_bps: Option<u64>,
    pub(crate) paths: Vec<PathBuf>,
    pub(crate) skipped: Vec<Skipped>,
    pub(crate) skipped_count: u64,
    pub(crate) started: UnixMillis,
    pub(crate) finished: Option<UnixMillis>,
    pub(crate) error: Option<FilesError>,
    /// What the other side does not know yet.
    pub(crate) untold: Option<News>,
    /// Whether it waits long for the first contact.
    #[serde(default)]
    pub(crate) patient: bool,
}

/// What is particular to a direction.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Side {
    Send {
        keep_links: bool,
        record: Option<SourceRecord>,
        /// Whether the other side has heard of it.
        offered: bool,
    },
    /// A peer fetches something that is shared. Not stored.
    Serve {
        share: TransferId,
        /// Whether it has asked for more than a manifest.
        main: bool,
    },
    Receive {
        /// Whether the other side pushes it; then it is bound to that peer.
        pushed: bool,
        /// What was published, until it is resolved.
        published: Option<String>,
        providers: Vec<(PeerId, Vec<Multiaddr>)>,
        into: PathBuf,
        rename: Option<String>,
        share: bool,
        /// Whether a byte ever came: from then on it waits for providers for as long as it takes.
        begun: bool,
    },
}

/// What a receiving transfer is at.
#[derive(Debug)]
pub(crate) enum Stage {
    /// Nothing is open.
    Closed,
    /// The path is being resolved by its peer.
    Resolving(DialogId),
    /// A worker opens the place for it.
    Opening,
    /// The manifest is fetched.
    Manifest(Arc<Download>),
    /// The files are fetched.
    Files(Arc<Download>),
    /// A worker puts them to their destination.
    Finishing,
}

/// A transfer in this process.
#[derive(Debug)]
pub(crate) struct Transfer {
    pub(crate) id: TransferId,
    pub(crate) row: Row,
    pub(crate) rate: Rate,
    /// Since when bytes may flow.
    pub(crate) since: Option<Instant>,
    /// Bytes that were there when it was last started.
    pub(crate) resumed_bytes: u64,
    pub(crate) path: Option<api::Path>,
    /// Counts of this process.
    pub(crate) traffic: Arc<Traffic>,
    /// What `traffic` had at the last note in the row.
    pub(crate) noted_wire: u64,
    /// What `traffic` and [`Transfer::done_bytes`] had at the last tick.
    pub(crate) ticked_wire: u64,
    pub(crate) ticked_bytes: u64,
    /// Sending: what the receiver said it had, and what `traffic` had then.
    pub(crate) base_bytes: u64,
    pub(crate) base_content: u64,
    /// Until when somebody must have been found.
    pub(crate) patience: Option<Instant>,
    /// The dialog that offers, or tells.
    pub(crate) talking: Option<DialogId>,
    /// What it tells.
    pub(crate) telling: Option<News>,
    pub(crate) retry_at: Option<Instant>,
    pub(crate) failures: u32,
    /// What came of the last attempt to reach the peer.
    pub(crate) unreached: Option<FilesError>,

    // Sending.
    pub(crate) hashing: Option<Arc<Progress>>,
    pub(crate) serving: Vec<DialogId>,

    // Receiving.
    pub(crate) stage: Stage,
    /// What was suspended, and may still be written to by a worker.
    pub(crate) former: Option<Arc<Download>>,
    pub(crate) providers: Providers,
    pub(crate) search: Search,
    /// Whether its peer was asked anew what is at the path, and nothing came since.
    pub(crate) asked_again: bool,
    pub(crate) checkpoint: Checkpoint,
}

/// When what was written was last made durable.
#[derive(Debug, Default)]
pub(crate) struct Checkpoint {
    pub(crate) at: Option<Instant>,
    pub(crate) bytes: u64,
    pub(crate) running: bool,
}

impl Row {
    /// Of a transfer that begins now, of which nothing is known yet.
    pub(crate) fn new(state: State, side: Side) -> Self {
        Self {
            state,
            peer: None,
            content: None,
            name: String::new(),
            side,
            wire_bytes: 0,
            done_bytes: 0,
            seconds: 0.0,
            limit_bps: None,
            paths: Vec::new(),
            skipped: Vec::new(),
            skipped_count: 0,
            started: UnixMillis::now(),
            finished: None,
            error: None,
            untold: None,
            patient: false,
        }
    }

    pub(crate) fn encode(&self) -> Option<Bytes> {
        cbor4ii::serde::to_vec(vec![VERSION], self).ok().map(Bytes::from)
    }

    pub(crate) fn decode(row: &[u8]) -> Option<Self> {
        match row.split_first() {
            Some((&VERSION, rest)) => cbor4ii::serde::from_slice(rest).ok(),
            _ => None,
        }
    }
}

impl Transfer {
    pub(crate) fn new(id: TransferId, row: Row, whole: Arc<Traffic>, now: Instant) -> Self {
        let mut providers = Providers::default();
        if let Side::Receive { providers: known, .. } = &row.side {
            for (peer, addresses) in known {
                providers.add(*peer, addresses.clone());
            }
        }
        Self {
            id,
            rate: Rate::new(now),
            since: None,
            resumed_bytes: row.done_bytes,
            path: None,
            traffic: Arc::new(Traffic::new(row.limit_bps, Some(whole))),
            noted_wire: 0,
            ticked_wire: 0,
            ticked_bytes: row.done_bytes,
            base_bytes: row.done_bytes,
            base_content: 0,
            patience: None,
            talking: None,
            telling: None,
            retry_at: None,
            failures: 0,
            unreached: None,
            hashing: None,
            serving: Vec::new(),
            stage: Stage::Closed,
            former: None,
            providers,
            search: Search::default(),
            asked_again: false,
            checkpoint: Checkpoint::default(),
            row,
        }
    }

    pub(crate) fn direction(&self) -> Direction {
        match self.row.side {
            Side::Send { .. } | Side::Serve { .. } => Direction::Send,
            Side::Receive { .. } => Direction::Receive,
        }
    }

    /// How long the first contact may take.
    pub(crate) fn contact_timeout(&self) -> Duration {
        if self.row.patient { PATIENT_CONTACT_TIMEOUT } else { FIRST_CONTACT_TIMEOUT }
    }

    pub(crate) fn is_pushed(&self) -> bool {
        matches!(self.row.side, Side::Receive { pushed: true, .. })
    }

    pub(crate) fn is_pull(&self) -> bool {
        matches!(self.row.side, Side::Serve { .. })
    }

    /// Sending: a stream begins to take what the other side does not have yet.
    pub(crate) fn take_up(&mut self, have: u64) {
        if self.serving.is_empty() {
            self.base_bytes = have.min(self.total());
            self.base_content = self.traffic.content.load(Relaxed);
            self.resumed_bytes = self.base_bytes;
        }
    }

    /// Whether it should receive.
    pub(crate) fn is_receiving(&self) -> bool {
        let states = [State::Connecting, State::AwaitingDirect, State::Running];
        self.direction() == Direction::Receive && states.contains(&self.row.state)
    }

    /// Whether it only lacks a place to receive to.
    pub(crate) fn is_closed(&self) -> bool {
        self.is_receiving() && self.row.content.is_some() && matches!(self.stage, Stage::Closed)
    }

    /// When a provider that rests is to be tried again.
    pub(crate) fn provider_due(&self) -> Option<Instant> {
        let busy = matches!(self.stage, Stage::Opening | Stage::Finishing);
        self.providers.next_due().filter(|_| self.is_receiving() && !busy)
    }

    /// Whether the two sides know it under its id.
    pub(crate) fn is_shared_with_peer(&self) -> bool {
        match &self.row.side {
            Side::Send { offered, .. } => *offered,
            Side::Serve { .. } => false,
            Side::Receive { pushed, .. } => *pushed,
        }
    }

    pub(crate) fn download(&self) -> Option<&Arc<Download>> {
        match &self.stage {
            Stage::Manifest(download) | Stage::Files(download) => Some(download),
            _ => None,
        }
    }

    pub(crate) fn total(&self) -> u64 {
        self.row.content.as_ref().map_or(0, |content| content.bytes)
    }

    /// Bytes verified here, or taken by the other side.
    pub(crate) fn done_bytes(&self) -> u64 {
        let done = match (&self.stage, self.direction()) {
            (Stage::Files(download), _) => download.done_bytes(),
            (_, Direction::Receive) => self.row.done_bytes,
            (_, Direction::Send) => {
                let served = self.traffic.content.load(Relaxed) - self.base_content;
                self.base_bytes + served
            }
        };
        // A pull is done when the peer wants no more, which may be less.
        let whole = self.row.state == State::Done && !self.is_pull();
        if whole { self.total() } else { done.min(self.total()) }
    }

    pub(crate) fn wire_bytes(&self) -> u64 {
        self.row.wire_bytes + self.traffic.wire.load(Relaxed) - self.noted_wire
    }

    pub(crate) fn seconds(&self, now: Instant) -> f64 {
        let running = self.since.map_or(Duration::ZERO, |since| now.duration_since(since));
        self.row.seconds + running.as_secs_f64()
    }

    /// Brings the row up to date with what lives.
    pub(crate) fn settle(&mut self, now: Instant) {
        self.row.wire_bytes = self.wire_bytes();
        self.noted_wire = self.traffic.wire.load(Relaxed);
        self.row.seconds = self.seconds(now);
        self.since = self.since.map(|_| now);
        self.row.done_bytes = self.done_bytes();
    }

    fn providers_now(&self) -> u32 {
        let count = match self.direction() {
            Direction::Send => self.serving.len().min(1),
            Direction::Receive => self.providers.fetching(),
        };
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// As the facet shows it.
    pub(crate) fn shown(&self, now: Instant) -> api::Transfer {
        let row = &self.row;
        let running = row.state == State::Running;
        api::Transfer {
            transfer: self.id,
            direction: self.direction(),
            state: row.state,
            peer: row.peer,
            name: row.name.clone(),
            hash: row.content.as_ref().map(|content| content.root),
            kind: row.content.as_ref().map_or(api::Kind::File, |content| shown_kind(content.kind)),
            bytes: self.total(),
            files: row.content.as_ref().map_or(0, |content| content.files),
            done_bytes: self.done_bytes(),
            resumed_bytes: self.resumed_bytes.min(self.total()),
            wire_bytes: self.wire_bytes(),
            rate_bps: if running { self.rate.bytes_per_s() } else { 0 },
            eta_s: if running { self.eta_s() } else { None },
            seconds: Seconds(self.seconds(now)),
            path: self.path,
            providers: self.providers_now(),
            paths: self.places(),
            skipped: row.skipped.clone(),
            skipped_count: row.skipped_count,
            started_ms: row.started,
            finished_ms: row.finished,
            error: row.error.clone(),
        }
    }

    /// Where the content is or will be, as far as that is known.
    fn places(&self) -> Vec<PathBuf> {
        let row = &self.row;
        match (&row.side, &row.content) {
            // Of several at once the names are in the list that comes first.
            (Side::Receive { into, .. }, Some(content)) if row.paths.is_empty() => {
                vec![if content.kind == Kind::File { into.join(&row.name) } else { into.clone() }]
            }
            _ => row.paths.clone(),
        }
    }

    pub(crate) fn progress(&self) -> Event {
        Event::Progress {
            transfer: self.id,
            bytes: self.done_bytes(),
            total: self.total(),
            rate_bps: self.rate.bytes_per_s(),
            eta_s: self.eta_s(),
            path: self.path,
            providers: self.providers_now(),
        }
    }

    fn eta_s(&self) -> Option<u64> {
        self.rate.eta_s(self.total().saturating_sub(self.done_bytes()))
    }
}

pub(crate) fn shown_kind(kind: Kind) -> api::Kind {
    match kind {
        Kind::File => api::Kind::File,
        Kind::Tree => api::Kind::Tree,
    }
}

#[cfg(test)]
mod tests;
