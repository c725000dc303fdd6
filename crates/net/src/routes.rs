//! The routing table of Kademlia over restarts: peers that were in it are asked first.

use libp2p::{Multiaddr, PeerId};
use peerage_store::Store;
use peerage_types::{Network, Reach};

use crate::kad::{Behaviour, MAX_KAD_ADDRESSES};

/// Peers that are saved: 512 × (1 + 64 + 1 + 6 × 129) bytes = 420 KiB at worst, 50 KiB of typical
/// ones; a table of a million nodes has 140.
const MAX_PEERS: usize = 512;
/// Longest address that is saved, in bytes.
const MAX_ADDRESS_BYTES: usize = 128;
/// First byte of the mark: what follows is (length u8, peer id, count u8, (length u8, address)*)*.
const VERSION: u8 = 1;

/// Peers and their addresses, without the id at the end.
pub(crate) type Routes = Vec<(PeerId, Vec<Multiaddr>)>;

/// The mark in the store.
fn mark(network: &Network) -> String {
    format!("kad.routes/{network}")
}

/// Who is in the routing table, in the order of the ids; of very many those that were seen last.
pub(crate) fn of(kad: &mut Behaviour) -> Routes {
    let mut aged = Vec::new();
    for bucket in kad.kbuckets() {
        // Within a bucket the least recently seen is first.
        let len = bucket.num_entries();
        aged.extend(bucket.iter().enumerate().map(|(place, entry)| {
            let addresses = entry.node.value.iter().map(bare).take(MAX_KAD_ADDRESSES);
            (len - place, *entry.node.key.preimage(), addresses.collect::<Vec<_>>())
        }));
    }
    aged.sort_by_key(|(age, ..)| *age);
    let newest = aged.into_iter().take(MAX_PEERS);
    let mut routes: Routes = newest.map(|(_, peer, addresses)| (peer, addresses)).collect();
    routes.sort_unstable_by_key(|(peer, _)| *peer);
    routes
}

fn bare(address: &Multiaddr) -> Multiaddr {
    let mut bare = address.clone();
    if let Some(libp2p::multiaddr::Protocol::P2p(_)) = bare.iter().last() {
        bare.pop();
    }
    bare
}

/// Puts those who were saved into the routing table, from where they are asked who is near.
pub(crate) fn restore(kad: &mut Behaviour, local: PeerId, routes: &Routes) {
    let others = routes.iter().filter(|(peer, _)| *peer != local);
    for (peer, addresses) in others {
        for address in addresses {
            kad.add_address(peer, address.clone());
        }
    }
}

/// What a former run has saved; nothing if it cannot be read: it will be found again.
pub(crate) async fn load(store: &Store, network: &Network) -> Routes {
    match store.marks().get(&mark(network)).await {
        Ok(saved) => saved.map(|bytes| decode(&bytes)).unwrap_or_default(),
        Err(error) => {
            tracing::warn!(%error, "the routing table is not read");
            Vec::new()
        }
    }
}

/// Saves them. Nobody waits for it: losing it costs a longer start.
pub(crate) fn save(store: &Store, network: &Network, routes: &Routes) {
    let pending = store.marks().put(&mark(network), encode(routes).into());
    if let Some(error) = pending.refused() {
        tracing::debug!(%error, "the routing table is not saved");
    }
}

fn encode(routes: &Routes) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    for (peer, addresses) in routes {
        let fit = addresses.iter().filter(|a| (1..=MAX_ADDRESS_BYTES).contains(&a.len()));
        let fit: Vec<_> = fit.take(MAX_KAD_ADDRESSES).collect();
        push(&mut bytes, &peer.to_bytes());
        bytes.push(u8::try_from(fit.len()).expect("no more than MAX_KAD_ADDRESSES"));
        fit.into_iter().for_each(|address| push(&mut bytes, address.as_ref()));
    }
    bytes
}

fn push(bytes: &mut Vec<u8>, part: &[u8]) {
    bytes.push(u8::try_from(part.len()).expect("ids and addresses have up to 128 bytes"));
    bytes.extend(part);
}

/// All that can be read, up to the first thing that cannot.
fn decode(bytes: &[u8]) -> Routes {
    let Some((&VERSION, mut rest)) = bytes.split_first() else { return Vec::new() };
    std::iter::from_fn(|| route(&mut rest)).take(MAX_PEERS).collect()
}

fn route(rest: &mut &[u8]) -> Option<(PeerId, Vec<Multiaddr>)> {
    let peer = PeerId::from_bytes(part(rest)?).ok()?;
    let (&count, after) = rest.split_first()?;
    *rest = after;
    let address = |_| Multiaddr::try_from(part(rest)?.to_vec()).ok();
    let addresses: Option<Vec<_>> = (0..count).map(address).collect();
    let usable = addresses?.into_iter().filter(|address| Reach::of(address).is_some());
    Some((peer, usable.take(MAX_KAD_ADDRESSES).collect()))
}

fn part<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, after) = rest.split_first()?;
    let (part, after) = after.split_at_checked(usize::from(*len))?;
    *rest = after;
    Some(part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kad;

    fn routes(count: usize) -> Routes {
        let address = |n: usize| format!("/ip4/11.0.0.1/tcp/{n}").parse().unwrap();
        (1..=count).map(|n| (PeerId::random(), vec![address(n), address(n + 1)])).collect()
    }

    #[tokio::test]
    async fn the_routing_table_survives_a_restart() {
        let (store, network, local) = (Store::in_memory(), Network::default(), PeerId::random());
        let mut kad = kad::behaviour(local, &network);
        restore(&mut kad, local, &routes(30));
        let before = of(&mut kad);
        assert!(before.len() >= 8, "buckets of random peers hold {}", before.len());
        save(&store, &network, &before);
        store.flush().await.unwrap();
        let mut again = kad::behaviour(local, &network);
        restore(&mut again, local, &load(&store, &network).await);
        let mut after = of(&mut again);
        let mut before = before;
        before.sort();
        after.sort();
        assert_eq!(after, before);
        let elsewhere = Network::new("elsewhere").unwrap();
        assert!(load(&store, &elsewhere).await.is_empty(), "another network's peers are others");
    }

    #[test]
    fn what_is_saved_is_bounded_and_what_is_damaged_is_left() {
        let many = routes(2000);
        assert_eq!(decode(&encode(&many)), many[..MAX_PEERS]);
        let good = encode(&routes(3));
        for len in 0..good.len() {
            assert!(decode(&good[..len]).len() < 3, "{len} bytes");
        }
        assert!(decode(&[9, 9, 9]).is_empty(), "of a later version");
        let nowhere: Routes = vec![(PeerId::random(), vec!["/ip4/0.0.0.0/tcp/1".parse().unwrap()])];
        assert!(decode(&encode(&nowhere))[0].1.is_empty());
    }
}
