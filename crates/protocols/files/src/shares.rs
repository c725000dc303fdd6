//! What others may fetch: shares, published folders, and what was resolved of those.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use libp2p_core::Multiaddr;
use libp2p_identity::PeerId;
use libp2p_swarm::ToSwarm;
use peerage_api::{
    Ask, LinkError,
    files::{
        self as api, FilesError, GetShares, MAX_PATHS, MakeShare, Publish, Share, Shared, Skipped,
        Unshare,
    },
};
use peerage_content::{Prepared, Progress, SourceRecord};
use peerage_store::RowKind;
use peerage_types::{ContentHash, TransferId, UnixMillis};
use peerage_wire::files::{
    MAX_ADDRESSES, Ticket,
    path::{RelPath, check_name},
};
use serde::{Deserialize, Serialize};

use crate::{
    behaviour::Behaviour,
    bounds::{MAX_READERS, MAX_SHARES},
    config::Event,
    transfer::shown_kind,
    work::{self, Work, content_of},
};

const VERSION: u8 = 1;
/// What was resolved of published folders and may be fetched; 256 × about 500 bytes = 128 KiB.
const MAX_GRANTS: usize = 256;
/// How long it may be.
const GRANT_EXPIRY: Duration = Duration::from_secs(24 * 60 * 60);

/// A share as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ShareRow {
    pub(crate) name: String,
    pub(crate) what: What,
    pub(crate) created: UnixMillis,
    #[serde(skip)]
    pub(crate) served: Arc<AtomicU64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum What {
    Content { record: SourceRecord },
    Folder { path: PathBuf, readers: Vec<PeerId> },
}

/// A share and the count of what was served of it.
pub(crate) type Counted = (TransferId, Arc<AtomicU64>);

/// Content of a published folder that a peer has asked about.
#[derive(Debug)]
pub(crate) struct Grant {
    /// The folder it is in.
    pub(crate) share: TransferId,
    pub(crate) record: SourceRecord,
    pub(crate) reader: PeerId,
    pub(crate) until: Instant,
}

impl ShareRow {
    pub(crate) fn encode(&self) -> Option<Bytes> {
        cbor4ii::serde::to_vec(vec![VERSION], self).ok().map(Bytes::from)
    }

    pub(crate) fn decode(row: &[u8]) -> Option<Self> {
        match row.split_first() {
            Some((&VERSION, rest)) => cbor4ii::serde::from_slice(rest).ok(),
            _ => None,
        }
    }

    pub(crate) fn hash(&self) -> Option<ContentHash> {
        match &self.what {
            What::Content { record } => Some(record.root),
            What::Folder { .. } => None,
        }
    }

    /// Where it is, or the first of it.
    pub(crate) fn path(&self) -> Option<PathBuf> {
        match &self.what {
            What::Content { record } => record.items.first().map(|item| item.path.clone()),
            What::Folder { path, .. } => Some(path.clone()),
        }
    }
}

impl Behaviour {
    pub(crate) fn share(&mut self, ask: Ask<MakeShare>) {
        let checked = check_paths(&ask.request.paths).and_then(|()| self.check_shares());
        if let Err(error) = checked {
            return ask.reply(Err(error));
        }
        let progress = Arc::new(Progress::default());
        if let Some(id) = ask.request.share {
            self.hashing_shares.push((id, Arc::clone(&progress)));
        }
        let (cache, permits) = (self.cache.clone(), Arc::clone(&self.hashing));
        let (paths, keep_links) = (ask.request.paths.clone(), ask.request.keep_links);
        self.work.spawn(async move {
            let mut ask = Box::new(ask);
            let _permit = permits.acquire_owned().await;
            let stop = Arc::clone(&progress);
            let hash = move || work::hash(&paths, keep_links, &cache, &progress);
            let mut hashing = tokio::task::spawn_blocking(hash);
            let outcome = tokio::select! {
                outcome = &mut hashing => outcome,
                () = std::future::poll_fn(|cx| ask.poll_cancelled(cx)) => {
                    stop.cancel();
                    hashing.await
                }
            };
            let outcome = outcome.unwrap_or(Err(LinkError::Stopped.into()));
            Work::Shared { ask, outcome }
        });
        self.wake();
    }

    fn check_shares(&self) -> Result<(), FilesError> {
        if self.shares.len() >= MAX_SHARES {
            return Err(FilesError::TooMany { what: "shares".into(), max: MAX_SHARES as u64 });
        }
        Ok(())
    }

    pub(crate) fn on_shared(
        &mut self,
        ask: Box<Ask<MakeShare>>,
        outcome: Result<Prepared, FilesError>,
    ) {
        let wanted = ask.request.share;
        if let Some(id) = wanted {
            self.hashing_shares.retain(|(hashing, _)| *hashing != id);
        }
        if ask.is_cancelled() {
            return;
        }
        match outcome {
            Ok(prepared) => {
                let skipped = prepared.skipped.into_iter();
                let skipped = skipped.map(|s| Skipped { path: s.path, reason: s.reason }).collect();
                let count = prepared.skipped_count;
                let told = move |share| Share { skipped, skipped_count: count, ..share };
                self.keep_share(wanted, prepared.record, |share| ask.reply(share.map(told)));
            }
            Err(error) => ask.reply(Err(error)),
        }
    }

    /// Remembers content as shared and answers once that is durable.
    pub(crate) fn keep_share(
        &mut self,
        wanted: Option<TransferId>,
        record: SourceRecord,
        reply: impl FnOnce(Result<Share, FilesError>) + Send + 'static,
    ) {
        let hash = record.root;
        // The same content again: the new place counts, the share stays the same.
        let known = self.shares.iter().find(|(_, share)| share.hash() == Some(hash));
        let id = known.map(|(id, _)| *id).or(wanted).unwrap_or_else(|| TransferId(rand::random()));
        let row = ShareRow {
            name: record.name.clone(),
            what: What::Content { record },
            created: UnixMillis::now(),
            served: Arc::default(),
        };
        self.emit(Event::Provide { hash });
        self.insert_share(id, row, reply);
    }

    fn insert_share(
        &mut self,
        id: TransferId,
        row: ShareRow,
        reply: impl FnOnce(Result<Share, FilesError>) + Send + 'static,
    ) {
        let Some(bytes) = row.encode() else {
            return reply(Err(FilesError::Store { reason: "the path is not text".into() }));
        };
        let pending = self.store.transfers().put(RowKind::Share, id, bytes);
        self.shares.insert(id, row);
        let shown = self.shown_share(id);
        self.work.spawn(async move {
            let saved = pending.await.map_err(|e| FilesError::Store { reason: e.to_string() });
            reply(saved.and_then(|()| shown.ok_or(LinkError::Stopped.into())));
            Work::Nothing
        });
        self.wake();
    }

    pub(crate) fn publish(&mut self, ask: Ask<Publish>) {
        let Publish { path, name, readers } = &ask.request;
        let name = match self.published_name(path, name.as_deref(), readers.len()) {
            Ok(name) => name,
            Err(error) => return ask.reply(Err(error)),
        };
        let row = ShareRow {
            name,
            what: What::Folder { path: path.clone(), readers: readers.clone() },
            created: UnixMillis::now(),
            served: Arc::default(),
        };
        self.insert_share(TransferId(rand::random()), row, |share| ask.reply(share));
    }

    fn published_name(
        &self,
        path: &Path,
        name: Option<&str>,
        readers: usize,
    ) -> Result<String, FilesError> {
        self.check_shares()?;
        let wrong = |reason: String| FilesError::Path { path: path.to_owned(), reason };
        if !path.is_absolute() || !path.is_dir() {
            return Err(wrong("is no directory under an absolute path".into()));
        }
        if readers > MAX_READERS {
            return Err(FilesError::TooMany { what: "readers".into(), max: MAX_READERS as u64 });
        }
        let own = || path.file_name().and_then(|name| name.to_str());
        let name = name.or_else(own).unwrap_or_default();
        if let Err(fault) = check_name(name) {
            return Err(wrong(format!("cannot be published as {name:?}: {fault}")));
        }
        let taken = |share: &ShareRow| share.name == name && share.hash().is_none();
        if self.shares.values().any(taken) {
            return Err(wrong(format!("{name:?} is published already; choose another name")));
        }
        Ok(name.to_owned())
    }

    pub(crate) fn list_shares(&mut self, ask: Ask<GetShares>) {
        let mut all: Vec<_> = self.shares.keys().filter_map(|id| self.shown_share(*id)).collect();
        all.sort_by_key(|share| share.created_ms);
        self.work.spawn_blocking(move || {
            for share in &mut all {
                share.missing = !share.paths.iter().all(|path| path.exists());
            }
            ask.reply(Ok(all));
            Work::Nothing
        });
        self.wake();
    }

    pub(crate) fn unshare(&mut self, ask: Ask<Unshare>) {
        let id = ask.request.share;
        let Some(share) = self.shares.remove(&id) else {
            return ask.reply(Err(FilesError::UnknownShare { share: id.to_string() }));
        };
        if let Some(hash) = share.hash() {
            self.emit(Event::Withdraw { hash });
        }
        self.grants.retain(|grant| grant.share != id);
        self.end_pulls_of(id, Instant::now());
        let pending = self.store.transfers().remove(vec![(RowKind::Share, id)]);
        self.work.spawn(async move {
            let saved = pending.await.map_err(|e| FilesError::Store { reason: e.to_string() });
            ask.reply(saved);
            Work::Nothing
        });
    }

    fn shown_share(&self, id: TransferId) -> Option<Share> {
        let share = self.shares.get(&id)?;
        let (what, paths) = match &share.what {
            What::Content { record } => {
                let content = content_of(record);
                let what = Shared::Content {
                    hash: record.root,
                    kind: shown_kind(content.kind),
                    bytes: record.bytes,
                    files: record.files,
                    ticket: self.ticket(record),
                };
                (what, record.items.iter().map(|item| item.path.clone()).collect())
            }
            What::Folder { path, readers } => {
                (Shared::Folder { readers: readers.clone() }, vec![path.clone()])
            }
        };
        Some(Share {
            share: id,
            name: share.name.clone(),
            what,
            paths,
            served_bytes: share.served.load(Relaxed),
            created_ms: share.created,
            skipped: Vec::new(),
            skipped_count: 0,
            missing: false,
        })
    }

    fn ticket(&self, record: &SourceRecord) -> String {
        let external = self.external.iter().cloned();
        let mut addresses: Vec<Multiaddr> = Vec::new();
        let mut listen: Vec<_> = self.listen.iter().cloned().collect();
        // What others reach best comes first; loopback is of use only on this machine.
        listen.sort_by_key(reach);
        for address in external.chain(listen) {
            if addresses.len() < MAX_ADDRESSES && !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        Ticket { content: content_of(record), peers: vec![(self.config.local, addresses)] }.encode()
    }

    /// Content that `peer` may fetch, and the share it belongs to.
    pub(crate) fn shared_with(
        &mut self,
        peer: &PeerId,
        root: ContentHash,
        now: Instant,
    ) -> Option<(SourceRecord, Counted)> {
        let of = |(id, share): (&TransferId, &ShareRow)| match &share.what {
            What::Content { record } if record.root == root => {
                Some((record.clone(), (*id, Arc::clone(&share.served))))
            }
            _ => None,
        };
        if let Some(found) = self.shares.iter().find_map(of) {
            return Some(found);
        }
        self.grants.retain(|grant| grant.until > now);
        let granted = |grant: &&Grant| grant.record.root == root && grant.reader == *peer;
        let grant = self.grants.iter().find(granted)?;
        let folder = self.shares.get(&grant.share)?;
        Some((grant.record.clone(), (grant.share, Arc::clone(&folder.served))))
    }

    /// The folder that `NAME/PATH` is in and its place on this machine, if the peer may read it.
    pub(crate) fn published(
        &self,
        peer: &PeerId,
        path: &str,
    ) -> Option<(TransferId, PathBuf, PathBuf)> {
        let (name, rest) = path.trim_end_matches('/').split_once('/').unwrap_or((path, ""));
        let name = name.trim_end_matches('/');
        let (id, folder) = self.shares.iter().find_map(|(id, share)| match &share.what {
            What::Folder { path, readers }
                if share.name == name && (readers.is_empty() || readers.contains(peer)) =>
            {
                Some((*id, path.clone()))
            }
            _ => None,
        })?;
        if rest.is_empty() {
            return Some((id, folder.clone(), folder));
        }
        let rest = RelPath::parse(rest).ok()?;
        Some((id, folder.clone(), folder.join(rest.as_str())))
    }

    pub(crate) fn grant(
        &mut self,
        share: TransferId,
        reader: PeerId,
        record: SourceRecord,
        now: Instant,
    ) {
        self.grants.retain(|grant| grant.record.root != record.root || grant.reader != reader);
        if self.grants.len() >= MAX_GRANTS {
            self.grants.pop_front();
        }
        self.grants.push_back(Grant { share, record, reader, until: now + GRANT_EXPIRY });
    }

    /// Ends the streams that are served of what `is_it` names.
    pub(crate) fn cut_off(&mut self, is_it: impl Fn(&Option<TransferId>) -> bool) {
        let ending = self.inbound.iter().filter(|(_, (_, of))| is_it(of));
        let ending: Vec<_> = ending.map(|(token, (dialog, _))| (*token, *dialog)).collect();
        for (token, dialog) in ending {
            self.inbound.remove(&token);
            self.jobs.remove(&dialog);
            self.dialogs.cancel(dialog);
        }
    }

    pub(crate) fn tell_hashing(&mut self) {
        let of = |(id, progress): &(TransferId, Arc<Progress>)| api::Event::Hashing {
            transfer: *id,
            bytes: progress.hashed_bytes(),
            total: progress.found_bytes(),
        };
        let told: Vec<_> = self.hashing_shares.iter().map(|share| (share.0, of(share))).collect();
        for (id, event) in told {
            self.tell(id, &event);
        }
    }

    /// Announces everything again that is shared.
    pub fn announce_all(&mut self) {
        let all: Vec<_> = self.provided().collect();
        for hash in all {
            self.outbox.push_back(ToSwarm::GenerateEvent(Event::Provide { hash }));
        }
        self.wake();
    }
}

/// Public before private before loopback.
fn reach(address: &Multiaddr) -> u8 {
    use libp2p_core::multiaddr::Protocol;
    match address.iter().next() {
        Some(Protocol::Ip4(ip)) if ip.is_loopback() => 3,
        Some(Protocol::Ip6(ip)) if ip.is_loopback() => 3,
        Some(Protocol::Ip6(ip)) if ip.is_unicast_link_local() => 4,
        Some(Protocol::Ip4(ip)) if ip.is_private() => 1,
        Some(Protocol::Ip6(ip)) if ip.is_unique_local() => 1,
        _ => 0,
    }
}

pub(crate) fn check_paths(paths: &[PathBuf]) -> Result<(), FilesError> {
    if paths.is_empty() || paths.len() > MAX_PATHS {
        let what = if paths.is_empty() { "paths too few" } else { "paths" };
        return Err(FilesError::TooMany { what: what.into(), max: MAX_PATHS as u64 });
    }
    match paths.iter().find(|path| !path.is_absolute()) {
        None => Ok(()),
        Some(path) => Err(FilesError::Path {
            path: path.clone(),
            reason: "is not absolute; the node does not know your working directory".into(),
        }),
    }
}
