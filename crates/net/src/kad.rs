//! The facet `discovery` over Kademlia: announcing, finding, resolving, and what each query is for.

use std::{
    collections::{BTreeMap, HashMap},
    num::NonZeroUsize,
    time::{Duration, Instant},
};

use bytes::Bytes;
use libp2p::{
    Multiaddr, PeerId, StreamProtocol,
    kad::{
        self, BucketInserts, GetClosestPeersError, GetClosestPeersOk, GetProvidersOk, GetRecordOk,
        InboundRequest, PeerInfo, QueryId, QueryResult, Quorum, Record, RecordKey, StoreInserts,
        store::RecordStore as _,
    },
    multihash::Multihash,
};
use peerage_api::{
    Ask, Open,
    discovery::{
        Announce, Announced, Command, DiscoveryError, Find, Found, GetStatus, MAX_NAMESPACES,
        Resolve, Status, Withdraw,
    },
    peers::Source,
};
use peerage_introductions as introductions;
use peerage_peers as peers;
use peerage_types::{ContentHash, Namespace, Network, Reach, UserId};
use peerage_wire::identity::KAD_PREFIX;
use sha1::{Digest as _, Sha1};

use crate::{
    lan,
    records::{Limits, Records},
    search::Searches,
};

/// Peers per bucket and replicas per record, as in BitTorrent's DHT.
const K: NonZeroUsize = NonZeroUsize::new(8).unwrap();
/// Queries in parallel within one lookup.
const ALPHA: NonZeroUsize = NonZeroUsize::new(3).unwrap();
/// Provider records are put out anew this often, twice before they expire after 30 minutes; each node
/// at an interval of its own, so that those who start together do not publish together for ever.
const PUBLISH_SECONDS: std::ops::RangeInclusive<u64> = 10 * 60..=15 * 60;
/// A lookup may take this long.
const QUERY_TIMEOUT: Duration = Duration::from_secs(30);
/// Lookups at once: each keeps up to 20 peers per path, a few KiB.
const MAX_QUERIES: usize = 256;
/// Addresses of one peer that are kept and passed on: v4 and v6, TCP and QUIC, and two more.
pub(crate) const MAX_KAD_ADDRESSES: usize = 6;

/// The behaviour with its store.
pub(crate) type Behaviour = kad::Behaviour<Records>;

/// What a lookup is for.
enum Purpose {
    Announce(Ask<Announce>),
    /// A search by its number.
    Find(u64),
    /// Addresses of a peer that a search came across.
    Locate {
        peer: PeerId,
        search: u64,
    },
    Resolve(Ask<Resolve>),
    /// Addresses that `protocols/peers` asked for.
    Connect(PeerId),
    /// Who has some content.
    Content(ContentHash),
    /// What is known of a user, and whether something was found.
    User(UserId, bool),
    /// Telling what we have.
    Provide,
}

/// What others asked for or must look at.
pub(crate) enum Learned {
    /// Peers that have some content.
    Content(ContentHash, Vec<PeerId>),
    /// A record of a user, or that the search has ended without one.
    User(UserId, Option<Bytes>),
    /// A peer wants a record of a user stored, which must be verified first.
    Unverified(Record),
}

/// State of the facet.
#[derive(Default)]
pub(crate) struct Discovery {
    /// Believe local addresses of everybody.
    local_only: bool,
    protocol: Option<StreamProtocol>,
    queries: HashMap<QueryId, Purpose>,
    announced: BTreeMap<Namespace, RecordKey>,
    searches: Searches,
    /// Content whose announcement reached nobody.
    unannounced: bool,
}

/// What the facet needs of the rest of the node.
pub(crate) struct Around<'a> {
    pub(crate) kad: Option<&'a mut Behaviour>,
    pub(crate) peers: &'a mut peers::Behaviour,
    pub(crate) introductions: &'a mut introductions::Behaviour,
    pub(crate) local: PeerId,
}

/// The protocol id of a network's DHT.
pub(crate) fn protocol(network: &Network) -> StreamProtocol {
    StreamProtocol::try_from_owned(format!("/peerage/{network}/kad/1"))
        .expect("a protocol id that starts with a slash")
}

/// Makes the behaviour.
pub(crate) fn behaviour(local: PeerId, network: &Network) -> Behaviour {
    let limits = Limits::default();
    let publish_interval = Duration::from_secs(rand::random_range(PUBLISH_SECONDS));
    let mut config = kad::Config::new(protocol(network));
    config
        .set_query_timeout(QUERY_TIMEOUT)
        .set_replication_factor(K)
        .set_kbucket_size(K)
        .set_parallelism(ALPHA)
        .set_provider_record_ttl(Some(limits.provider_ttl))
        .set_provider_publication_interval(Some(publish_interval))
        .set_record_filtering(StoreInserts::FilterBoth)
        .set_kbucket_inserts(BucketInserts::OnConnected);
    Behaviour::with_config(local, Records::new(local, limits), config)
}

fn infohash(namespace: &Namespace) -> [u8; 20] {
    Sha1::digest(namespace.as_str().as_bytes()).into()
}

/// SHA-1 as a multihash: code 0x11, 20 bytes.
fn key(namespace: &Namespace) -> RecordKey {
    let hash = Multihash::<64>::wrap(0x11, &infohash(namespace)).expect("20 bytes fit in 64");
    RecordKey::new(&hash.to_bytes())
}

/// The key of content: its BLAKE3 hash as a multihash, code 0x1e, 32 bytes.
fn content_key(hash: ContentHash) -> RecordKey {
    let hash = Multihash::<64>::wrap(0x1e, hash.as_bytes()).expect("32 bytes fit in 64");
    RecordKey::new(&hash.to_bytes())
}

impl Discovery {
    pub(crate) fn new(protocol: Option<StreamProtocol>, local_only: bool) -> Self {
        Self { protocol, local_only, ..Self::default() }
    }

    /// The protocol id of the DHT, if it is on.
    pub(crate) fn protocol(&self) -> Option<&StreamProtocol> {
        self.protocol.as_ref()
    }

    /// Answers a command of the facet. `mdns` is the number of peers mDNS sees, if it is on.
    pub(crate) fn on_command(&mut self, around: Around<'_>, command: Command, mdns: Option<usize>) {
        match command {
            Command::Announce(ask) => self.announce(around, ask),
            Command::Withdraw(ask) => self.withdraw(around, ask),
            Command::Resolve(ask) => self.resolve(around, ask),
            Command::GetStatus(ask) => self.status(around, ask, mdns),
            Command::Find(open) => self.find(around, open),
        }
    }

    /// The behaviour, if there is somebody to ask and room to ask.
    fn ready<'a>(
        &self,
        kad: Option<&'a mut Behaviour>,
    ) -> Result<&'a mut Behaviour, DiscoveryError> {
        let kad = kad.ok_or(DiscoveryError::Off)?;
        if self.queries.len() >= MAX_QUERIES {
            return Err(DiscoveryError::Busy);
        }
        match routing_peers(kad) {
            0 => Err(DiscoveryError::NoNetwork),
            _ => Ok(kad),
        }
    }

    fn announce(&mut self, around: Around<'_>, ask: Ask<Announce>) {
        let namespace = ask.request.namespace.clone();
        if self.announced.len() >= MAX_NAMESPACES && !self.announced.contains_key(&namespace) {
            return ask.reply(Err(DiscoveryError::TooManyNamespaces { max: MAX_NAMESPACES }));
        }
        let key = key(&namespace);
        let query = match self.ready(around.kad) {
            Ok(kad) => kad.start_providing(key.clone()),
            // Without the DHT the word still spreads from peer to peer.
            Err(DiscoveryError::Off) if around.introductions.peers() > 0 => {
                around.introductions.join(infohash(&namespace));
                self.announced.insert(namespace, key);
                return announced(ask, [Source::Pex]);
            }
            Err(error) => return ask.reply(Err(error)),
        };
        match query {
            Ok(query) => {
                around.introductions.join(infohash(&namespace));
                self.announced.insert(namespace, key);
                self.queries.insert(query, Purpose::Announce(ask));
            }
            Err(full) => {
                tracing::warn!(%full, "own provider record is not stored");
                ask.reply(Err(DiscoveryError::TooManyNamespaces { max: MAX_NAMESPACES }));
            }
        }
    }

    fn withdraw(&mut self, around: Around<'_>, ask: Ask<Withdraw>) {
        let namespace = ask.request.namespace.clone();
        match (self.announced.remove(&namespace), around.kad) {
            (Some(key), kad) => {
                around.introductions.leave(infohash(&namespace));
                if let Some(kad) = kad {
                    kad.stop_providing(&key);
                }
                ask.reply(Ok(()));
            }
            _ => ask.reply(Err(DiscoveryError::NotAnnounced { namespace })),
        }
    }

    /// Asks every source at once. Another source joins in here: [`Searches::asked`], then a question
    /// whose answers go to [`Discovery::on_found`] and end with [`Discovery::on_searched`].
    fn find(&mut self, around: Around<'_>, open: Open<Find>) {
        if !self.searches.has_room() {
            return open.refuse(DiscoveryError::Busy);
        }
        let namespace = open.request.namespace.clone();
        let kad = self.ready(around.kad);
        let has_peers = around.introductions.peers() > 0;
        let kad = match kad {
            Err(error) if !has_peers => return open.refuse(error),
            kad => kad.ok(),
        };
        let search = self.searches.begin(around.local, open.accept().1);
        if let Some(kad) = kad {
            self.searches.asked(search);
            self.queries.insert(kad.get_providers(key(&namespace)), Purpose::Find(search));
        }
        if has_peers {
            self.searches.asked(search);
            around.introductions.find(search, infohash(&namespace));
        }
    }

    /// A source has found a peer for a search.
    pub(crate) fn on_found(&mut self, search: u64, found: Found) {
        if self.searches.is_new(search, found.peer_id) {
            self.searches.report(search, found);
        }
    }

    /// A source has nothing more to tell for a search.
    pub(crate) fn on_searched(&mut self, search: u64) {
        self.searches.answered(search);
    }

    fn resolve(&mut self, around: Around<'_>, ask: Ask<Resolve>) {
        match self.ready(around.kad) {
            Ok(kad) => {
                let query = kad.get_closest_peers(ask.request.peer);
                self.queries.insert(query, Purpose::Resolve(ask));
            }
            Err(error) => reply_from_book(around.peers, ask, error),
        }
    }

    /// Looks for the addresses that `protocols/peers` needs. Returns false if nobody can be asked.
    pub(crate) fn locate_for_connect(&mut self, kad: Option<&mut Behaviour>, peer: PeerId) -> bool {
        let Ok(kad) = self.ready(kad) else { return false };
        self.queries.insert(kad.get_closest_peers(peer), Purpose::Connect(peer));
        true
    }

    /// Announces that this node has some content, again before that expires.
    pub(crate) fn provide(&mut self, kad: Option<&mut Behaviour>, hash: ContentHash) {
        let Some(kad) = kad else { return };
        // Kept for the time when somebody is there to be told.
        self.unannounced |= routing_peers(kad) == 0;
        match kad.start_providing(content_key(hash)) {
            Ok(query) if self.queries.len() < MAX_QUERIES => {
                self.queries.insert(query, Purpose::Provide);
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(%hash, %error, "content is not announced"),
        }
    }

    /// No longer announces some content.
    pub(crate) fn unprovide(&self, kad: Option<&mut Behaviour>, hash: ContentHash) {
        if let Some(kad) = kad {
            kad.stop_providing(&content_key(hash));
        }
    }

    /// Looks for peers that have some content.
    pub(crate) fn find_content(&mut self, kad: Option<&mut Behaviour>, hash: ContentHash) {
        if let Ok(kad) = self.ready(kad) {
            let query = kad.get_providers(content_key(hash));
            self.queries.insert(query, Purpose::Content(hash));
        }
    }

    /// Stores the record of a user of this node where it is looked for.
    pub(crate) fn put_user(&mut self, kad: Option<&mut Behaviour>, key: &[u8], value: &Bytes) {
        let Some(kad) = kad else { return };
        self.unannounced |= routing_peers(kad) == 0;
        let record = Record::new(RecordKey::new(&key), value.to_vec());
        match kad.put_record(record, Quorum::One) {
            Ok(query) if self.queries.len() < MAX_QUERIES => {
                self.queries.insert(query, Purpose::Provide);
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "the record of a user is not put out"),
        }
    }

    /// Looks for the record of a user. Returns false if nobody can be asked.
    pub(crate) fn find_user(
        &mut self,
        kad: Option<&mut Behaviour>,
        user: UserId,
        key: &[u8],
    ) -> bool {
        let Ok(kad) = self.ready(kad) else { return false };
        let query = kad.get_record(RecordKey::new(&key));
        self.queries.insert(query, Purpose::User(user, false));
        true
    }

    /// Whether content that nobody could be told of can be announced now; true once.
    pub(crate) fn can_announce(&mut self, kad: &mut Behaviour) -> bool {
        let can = self.unannounced && routing_peers(kad) > 0;
        if can {
            self.unannounced = false;
        }
        can
    }

    fn status(&self, around: Around<'_>, ask: Ask<GetStatus>, mdns: Option<usize>) {
        let kad = around.kad.map(|kad| {
            (kad.mode() == kad::Mode::Server, routing_peers(kad), kad.store_mut().len())
        });
        let (kad_server, kad_peers, kad_records) = kad.unwrap_or_default();
        ask.reply(Ok(Status {
            kad_protocol: self.protocol.as_ref().map(ToString::to_string).unwrap_or_default(),
            kad_server,
            kad_peers,
            kad_records,
            mdns: mdns.is_some(),
            mdns_peers: mdns.unwrap_or_default(),
            announced: self.announced.keys().cloned().collect(),
        }));
    }

    /// Takes an event of Kademlia; returns what others asked for, if that is what it tells.
    pub(crate) fn on_event(
        &mut self,
        around: Around<'_>,
        event: kad::Event,
        now: Instant,
    ) -> Option<Learned> {
        match event {
            kad::Event::OutboundQueryProgressed { id, result, step, .. } => {
                match self.queries.get(&id) {
                    Some(Purpose::Content(hash)) => {
                        return self.on_content(id, *hash, result, step.last);
                    }
                    Some(Purpose::User(user, found)) => {
                        return self.on_user(id, *user, *found, result, step.last);
                    }
                    _ => self.on_progress(around, id, result, step.last, now),
                }
            }
            kad::Event::InboundRequest { request } => return self.store(around, request),
            kad::Event::RoutingUpdated { peer, addresses, .. } => {
                let addresses: Vec<_> = addresses.iter().cloned().collect();
                if let Some(kad) = around.kad {
                    // It keeps all that a peer ever tells.
                    let surplus = addresses.len().saturating_sub(MAX_KAD_ADDRESSES);
                    for address in &addresses[..surplus] {
                        kad.remove_address(&peer, address);
                    }
                }
                around.peers.on_discovered(peer, addresses, Source::Kad, now);
            }
            other => tracing::trace!(?other, "kademlia"),
        }
        None
    }

    fn on_content(
        &mut self,
        id: QueryId,
        hash: ContentHash,
        result: QueryResult,
        last: bool,
    ) -> Option<Learned> {
        if last {
            self.queries.remove(&id);
        }
        match result {
            QueryResult::GetProviders(Ok(GetProvidersOk::FoundProviders { providers, .. })) => {
                Some(Learned::Content(hash, providers.into_iter().collect()))
            }
            _ => None,
        }
    }

    fn on_user(
        &mut self,
        id: QueryId,
        user: UserId,
        found: bool,
        result: QueryResult,
        last: bool,
    ) -> Option<Learned> {
        let record = match result {
            QueryResult::GetRecord(Ok(GetRecordOk::FoundRecord(found))) => Some(found.record.value),
            _ => None,
        };
        match last {
            true => _ = self.queries.remove(&id),
            false => _ = self.queries.insert(id, Purpose::User(user, found || record.is_some())),
        }
        match record {
            Some(value) => Some(Learned::User(user, Some(value.into()))),
            None if last && !found => Some(Learned::User(user, None)),
            None => None,
        }
    }

    fn on_progress(
        &mut self,
        around: Around<'_>,
        id: QueryId,
        result: QueryResult,
        last: bool,
        now: Instant,
    ) {
        let Some(purpose) = self.queries.remove(&id) else { return };
        match (purpose, result) {
            (Purpose::Announce(ask), QueryResult::StartProviding(done)) => {
                let kad = done.is_ok().then_some(Source::Kad);
                let pex = (around.introductions.peers() > 0).then_some(Source::Pex);
                announced(ask, kad.into_iter().chain(pex));
            }
            (Purpose::Find(search), QueryResult::GetProviders(found)) => {
                self.on_providers(around, search, found.ok());
                match last {
                    true => self.searches.answered(search),
                    false => _ = self.queries.insert(id, Purpose::Find(search)),
                }
            }
            (Purpose::Locate { peer, search }, QueryResult::GetClosestPeers(closest)) => {
                let addresses = addresses_in(closest, &peer);
                self.searches
                    .report(search, Found { peer_id: peer, addresses, source: Source::Kad });
                self.searches.answered(search);
            }
            (Purpose::Resolve(ask), QueryResult::GetClosestPeers(closest)) => {
                resolved(around.peers, ask, closest);
            }
            (Purpose::Connect(peer), QueryResult::GetClosestPeers(closest)) => {
                match addresses_in(closest, &peer) {
                    none if none.is_empty() => around.peers.on_addresses_missing(peer, now),
                    some => around.peers.on_discovered(peer, some, Source::Kad, now),
                }
            }
            (Purpose::Provide, _) => {}
            (_, other) => tracing::error!(?other, "a result of another kind than was asked for"),
        }
    }

    /// Reports new providers, or looks for their addresses first.
    fn on_providers(&mut self, around: Around<'_>, search: u64, found: Option<GetProvidersOk>) {
        let Some(GetProvidersOk::FoundProviders { providers, .. }) = found else { return };
        let Around { mut kad, peers, .. } = around;
        for peer in providers {
            if !self.searches.is_new(search, peer) {
                continue;
            }
            let addresses = peers.addresses_of(&peer);
            match (addresses.is_empty(), kad.as_deref_mut()) {
                (true, Some(kad)) if self.queries.len() < MAX_QUERIES => {
                    self.searches.asked(search);
                    let query = kad.get_closest_peers(peer);
                    self.queries.insert(query, Purpose::Locate { peer, search });
                }
                _ => {
                    let found = Found { peer_id: peer, addresses, source: Source::Kad };
                    self.searches.report(search, found);
                }
            }
        }
    }

    /// Whether an address of a peer is worth keeping: of a peer that is not on the local network only
    /// those that can be reached from everywhere.
    pub(crate) fn is_useful(
        &self,
        peers: &peers::Behaviour,
        peer: &PeerId,
    ) -> impl Fn(&Multiaddr) -> bool + use<> {
        let near = self.local_only || peers.addresses_of(peer).iter().any(lan::is_local);
        move |address| Reach::of(address).is_some_and(|reach| near || reach == Reach::Global)
    }

    /// Stores a record of somebody else, in that peer's own quota; gives back one of a user.
    fn store(&self, around: Around<'_>, request: InboundRequest) -> Option<Learned> {
        let kad = around.kad?;
        let stored = match request {
            InboundRequest::AddProvider { record: Some(mut record) } => {
                // What others dial on our word must be dialable by them.
                let is_useful = self.is_useful(around.peers, &record.provider);
                record.addresses.retain(is_useful);
                kad.store_mut().add_provider(record)
            }
            InboundRequest::PutRecord { source, record: Some(mut record), .. } => {
                // Whoever sends it answers for it: a made-up publisher must not use another's quota.
                record.publisher = Some(source);
                if record.key.as_ref().starts_with(KAD_PREFIX) {
                    return Some(Learned::Unverified(record));
                }
                kad.store_mut().put(record)
            }
            _ => Ok(()),
        };
        if let Err(refused) = stored {
            tracing::debug!(%refused, "record of a peer is not stored");
        }
        None
    }
}

fn routing_peers(kad: &mut Behaviour) -> usize {
    kad.kbuckets().map(|bucket| bucket.num_entries()).sum()
}

fn announced(ask: Ask<Announce>, sources: impl IntoIterator<Item = Source>) {
    let namespace = ask.request.namespace.clone();
    let sources: Vec<_> = sources.into_iter().collect();
    if sources.is_empty() {
        return ask.reply(Err(DiscoveryError::TimedOut));
    }
    let infohash = data_encoding::HEXLOWER.encode(&infohash(&namespace));
    ask.reply(Ok(Announced { namespace, infohash, sources }));
}

type Closest = Result<GetClosestPeersOk, GetClosestPeersError>;

fn addresses_in(closest: Closest, peer: &PeerId) -> Vec<Multiaddr> {
    let peers: Vec<PeerInfo> = match closest {
        Ok(GetClosestPeersOk { peers, .. }) | Err(GetClosestPeersError::Timeout { peers, .. }) => {
            peers
        }
    };
    peers
        .into_iter()
        .find(|found| found.peer_id == *peer)
        .map(|found| found.addrs)
        .unwrap_or_default()
}

fn resolved(peers: &peers::Behaviour, ask: Ask<Resolve>, closest: Closest) {
    let peer = ask.request.peer;
    match addresses_in(closest, &peer) {
        none if none.is_empty() => reply_from_book(peers, ask, DiscoveryError::NotFound { peer }),
        addresses => ask.reply(Ok(Found { peer_id: peer, addresses, source: Source::Kad })),
    }
}

/// The address book's answer, or `error` if it has none.
fn reply_from_book(peers: &peers::Behaviour, ask: Ask<Resolve>, error: DiscoveryError) {
    let peer = ask.request.peer;
    let addresses = peers.addresses_of(&peer);
    let source = peers.sources(&peer).first().copied().unwrap_or(Source::Manual);
    match addresses.is_empty() {
        true => ask.reply(Err(error)),
        false => ask.reply(Ok(Found { peer_id: peer, addresses, source })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_has_the_infohash_that_bittorrent_expects() {
        let hex = |name| data_encoding::HEXLOWER.encode(&infohash(&Namespace::new(name).unwrap()));
        assert_eq!(hex("librats/1.0"), "930ae231c686ebedbbf10d22a620b640d5b49705");
        assert_eq!(hex("rats_peer_discovery_v1.0"), "e468163e069b85b3a5acbcba1e72c0efdbcdbd76");
    }

    #[test]
    fn the_key_of_a_namespace_is_the_sha1_multihash_of_its_name() {
        let key = key(&Namespace::new("librats/1.0").unwrap()).to_vec();
        assert_eq!(key[..2], [0x11, 20]);
        assert_eq!(
            data_encoding::HEXLOWER.encode(&key[2..]),
            "930ae231c686ebedbbf10d22a620b640d5b49705"
        );
    }
}
