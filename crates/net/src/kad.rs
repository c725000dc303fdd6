//! Kademlia: its tuning, its keys, and what each query is for.

use std::{collections::HashMap, num::NonZeroUsize, time::Duration};

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
use peerage_api::discovery::{DiscoveryError, MAX_NAMESPACES};
use peerage_peers as peers;
use peerage_types::{ContentHash, Namespace, Network, Reach, UserId};
use peerage_wire::identity::KAD_PREFIX;
use sha1::{Digest as _, Sha1};

use crate::{
    lan,
    records::{Limits, Records},
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

/// What a query is for.
enum Purpose {
    Announce(Namespace),
    /// A search by its number.
    Find(u64),
    /// Addresses of a peer that a search came across.
    Locate {
        peer: PeerId,
        search: u64,
    },
    /// Addresses of a peer, for a lookup by its number.
    Lookup {
        peer: PeerId,
        lookup: u64,
    },
    /// Who has some content.
    Content(ContentHash),
    /// What is known of a user, and whether something was found.
    User(UserId, bool),
    /// Telling what we have.
    Provide,
}

/// What a query found, and what others want stored or must look at.
pub(crate) enum Learned {
    /// The first round of an announcement is over; whether anybody took it.
    Announced(Namespace, bool),
    /// Peers for a search, `last` when there will be no more.
    Providers { search: u64, peers: Vec<PeerId>, last: bool },
    /// Where a peer is that a search came across.
    Located { search: u64, peer: PeerId, addresses: Vec<Multiaddr> },
    /// What a lookup found; nothing if nobody knows the peer.
    Addresses { lookup: u64, addresses: Vec<Multiaddr> },
    /// A peer came into the routing table, or has another address there.
    Routed(PeerId, Vec<Multiaddr>),
    /// Peers that have some content.
    Content(ContentHash, Vec<PeerId>),
    /// A record of a user, or that the search has ended without one.
    User(UserId, Option<Bytes>),
    /// A peer wants a record of a user stored, which must be verified first.
    Unverified(Record),
}

/// The queries that are under way.
#[derive(Default)]
pub(crate) struct Queries {
    /// Believe local addresses of everybody.
    local_only: bool,
    protocol: Option<StreamProtocol>,
    under_way: HashMap<QueryId, Purpose>,
    /// Something was announced while nobody could be told.
    untold: bool,
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

pub(crate) fn infohash(namespace: &Namespace) -> [u8; 20] {
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

impl Queries {
    pub(crate) fn new(protocol: Option<StreamProtocol>, local_only: bool) -> Self {
        Self { protocol, local_only, ..Self::default() }
    }

    /// The protocol id of the DHT, if it is on.
    pub(crate) fn protocol(&self) -> Option<&StreamProtocol> {
        self.protocol.as_ref()
    }

    /// The behaviour, if there is somebody to ask and room to ask.
    fn ready<'a>(
        &self,
        kad: Option<&'a mut Behaviour>,
    ) -> Result<&'a mut Behaviour, DiscoveryError> {
        let kad = kad.ok_or(DiscoveryError::Off)?;
        if self.under_way.len() >= MAX_QUERIES {
            return Err(DiscoveryError::Busy);
        }
        match routing_peers(kad) {
            0 => Err(DiscoveryError::NoNetwork),
            _ => Ok(kad),
        }
    }

    /// Announces a namespace now and from then on; [`Learned::Announced`] tells when. Without anybody
    /// to tell it is kept until somebody is there.
    pub(crate) fn announce(
        &mut self,
        kad: Option<&mut Behaviour>,
        namespace: &Namespace,
    ) -> Result<(), DiscoveryError> {
        let kad = self.ready(kad).inspect_err(|_| self.untold = true)?;
        let query = kad.start_providing(key(namespace)).map_err(|full| {
            tracing::warn!(%full, "own provider record is not stored");
            DiscoveryError::TooManyNamespaces { max: MAX_NAMESPACES }
        })?;
        self.under_way.insert(query, Purpose::Announce(namespace.clone()));
        Ok(())
    }

    /// No longer announces a namespace.
    pub(crate) fn withdraw(kad: Option<&mut Behaviour>, namespace: &Namespace) {
        if let Some(kad) = kad {
            kad.stop_providing(&key(namespace));
        }
    }

    /// Looks for peers that announce a namespace: [`Learned::Providers`].
    pub(crate) fn find(
        &mut self,
        kad: Option<&mut Behaviour>,
        namespace: &Namespace,
        search: u64,
    ) -> Result<(), DiscoveryError> {
        let query = self.ready(kad)?.get_providers(key(namespace));
        self.under_way.insert(query, Purpose::Find(search));
        Ok(())
    }

    /// Looks for a peer that a search came across: [`Learned::Located`]. False without anybody to ask.
    pub(crate) fn locate(
        &mut self,
        kad: Option<&mut Behaviour>,
        peer: PeerId,
        search: u64,
    ) -> bool {
        let Ok(kad) = self.ready(kad) else { return false };
        self.under_way.insert(kad.get_closest_peers(peer), Purpose::Locate { peer, search });
        true
    }

    /// Looks for the addresses of a peer: [`Learned::Addresses`].
    pub(crate) fn look_up(
        &mut self,
        kad: Option<&mut Behaviour>,
        peer: PeerId,
        lookup: u64,
    ) -> Result<(), DiscoveryError> {
        let query = self.ready(kad)?.get_closest_peers(peer);
        self.under_way.insert(query, Purpose::Lookup { peer, lookup });
        Ok(())
    }

    /// Announces that this node has some content, again before that expires.
    pub(crate) fn provide(&mut self, kad: Option<&mut Behaviour>, hash: ContentHash) {
        let Some(kad) = kad else { return };
        // Kept for the time when somebody is there to be told.
        self.untold |= routing_peers(kad) == 0;
        match kad.start_providing(content_key(hash)) {
            Ok(query) if self.under_way.len() < MAX_QUERIES => {
                self.under_way.insert(query, Purpose::Provide);
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
            self.under_way.insert(query, Purpose::Content(hash));
        }
    }

    /// Stores the record of a user of this node where it is looked for.
    pub(crate) fn put_user(&mut self, kad: Option<&mut Behaviour>, key: &[u8], value: &Bytes) {
        let Some(kad) = kad else { return };
        self.untold |= routing_peers(kad) == 0;
        let record = Record::new(RecordKey::new(&key), value.to_vec());
        match kad.put_record(record, Quorum::One) {
            Ok(query) if self.under_way.len() < MAX_QUERIES => {
                self.under_way.insert(query, Purpose::Provide);
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
        self.under_way.insert(query, Purpose::User(user, false));
        true
    }

    /// Whether content that nobody could be told of can be announced now; true once.
    pub(crate) fn can_announce(&mut self, kad: &mut Behaviour) -> bool {
        let can = self.untold && routing_peers(kad) > 0;
        if can {
            self.untold = false;
        }
        can
    }

    /// Takes an event of Kademlia. What others want stored is stored within their quotas.
    pub(crate) fn on_event(
        &mut self,
        kad: Option<&mut Behaviour>,
        peers: &peers::Behaviour,
        event: kad::Event,
    ) -> Option<Learned> {
        match event {
            kad::Event::OutboundQueryProgressed { id, result, step, .. } => {
                self.on_progress(id, result, step.last)
            }
            kad::Event::InboundRequest { request } => self.store(kad?, peers, request),
            kad::Event::RoutingUpdated { peer, addresses, .. } => {
                let addresses: Vec<_> = addresses.iter().cloned().collect();
                if let Some(kad) = kad {
                    // It keeps all that a peer ever tells.
                    let surplus = addresses.len().saturating_sub(MAX_KAD_ADDRESSES);
                    for address in &addresses[..surplus] {
                        kad.remove_address(&peer, address);
                    }
                }
                Some(Learned::Routed(peer, addresses))
            }
            other => {
                tracing::trace!(?other, "kademlia");
                None
            }
        }
    }

    fn on_progress(&mut self, id: QueryId, result: QueryResult, last: bool) -> Option<Learned> {
        let purpose = self.under_way.remove(&id)?;
        match (purpose, result) {
            (Purpose::Announce(namespace), QueryResult::StartProviding(done)) => {
                Some(Learned::Announced(namespace, done.is_ok()))
            }
            (Purpose::Find(search), QueryResult::GetProviders(found)) => {
                if !last {
                    self.under_way.insert(id, Purpose::Find(search));
                }
                Some(Learned::Providers { search, peers: providers_in(found.ok()), last })
            }
            (Purpose::Locate { peer, search }, QueryResult::GetClosestPeers(closest)) => {
                let addresses = addresses_in(closest, &peer);
                Some(Learned::Located { search, peer, addresses })
            }
            (Purpose::Lookup { peer, lookup }, QueryResult::GetClosestPeers(closest)) => {
                Some(Learned::Addresses { lookup, addresses: addresses_in(closest, &peer) })
            }
            (Purpose::Content(hash), QueryResult::GetProviders(found)) => {
                if !last {
                    self.under_way.insert(id, Purpose::Content(hash));
                }
                let peers = providers_in(found.ok());
                (!peers.is_empty()).then_some(Learned::Content(hash, peers))
            }
            (Purpose::User(user, found), result) => self.on_user(id, user, found, result, last),
            (Purpose::Provide, _) => None,
            (_, other) => {
                tracing::error!(?other, "a result of another kind than was asked for");
                None
            }
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
        if !last {
            self.under_way.insert(id, Purpose::User(user, found || record.is_some()));
        }
        match record {
            Some(value) => Some(Learned::User(user, Some(value.into()))),
            None if last && !found => Some(Learned::User(user, None)),
            None => None,
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
    fn store(
        &self,
        kad: &mut Behaviour,
        peers: &peers::Behaviour,
        request: InboundRequest,
    ) -> Option<Learned> {
        let stored = match request {
            InboundRequest::AddProvider { record: Some(mut record) } => {
                // What others dial on our word must be dialable by them.
                let is_useful = self.is_useful(peers, &record.provider);
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

/// Peers in the routing table.
pub(crate) fn routing_peers(kad: &mut Behaviour) -> usize {
    kad.kbuckets().map(|bucket| bucket.num_entries()).sum()
}

fn providers_in(found: Option<GetProvidersOk>) -> Vec<PeerId> {
    match found {
        Some(GetProvidersOk::FoundProviders { providers, .. }) => providers.into_iter().collect(),
        _ => Vec::new(),
    }
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
