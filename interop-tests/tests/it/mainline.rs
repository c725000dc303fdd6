//! Our bridge and the BitTorrent DHT of others: networks of bittorrent-dht, with a node of libtorrent
//! in them. Everything runs on 127.0.0.1.

use std::{
    future::Future,
    net::SocketAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail, ensure};
use data_encoding::HEXLOWER;
use futures::StreamExt as _;
use libp2p_core::{Multiaddr, multiaddr::Protocol};
use libp2p_identity::{Keypair, PeerId};
use libp2p_swarm::{Swarm, SwarmEvent, dummy};
use libp2p_swarm_test::SwarmExt as _;
use peerage_interop_tests::{Dht, Kind};
use peerage_mainline::{Behaviour, Config, Event, How, Rendezvous};
use peerage_types::{Namespace, UnixMillis};
use peerage_wire::mainline::{
    key_of, packet, signable,
    slot::{Record, Slot, join},
};
use serde_json::json;
use tokio::time::timeout;

/// How long one thing may take, on two cores with others.
const PATIENCE: Duration = Duration::from_secs(40);
const NODES: usize = 6;

/// A network of others, and a node of ours that enters it.
struct Bed {
    js: Dht,
    ours: Swarm<Behaviour>,
    port: u16,
}

impl Bed {
    async fn new() -> Result<Option<Self>> {
        let Some(js) = Dht::spawn(Kind::Js, NODES, &[]).await? else { return Ok(None) };
        Self::around(js).await.map(Some)
    }

    async fn around(js: Dht) -> Result<Self> {
        let (ours, port) = bridge(&js.nodes()[..2]).await?;
        Ok(Self { js, ours, port })
    }

    /// A network of theirs in which ours is not yet. Before libtorrent stores it waits 15 s for each
    /// node near the key that does not answer, and bittorrent-dht hands out clients as nodes.
    async fn theirs() -> Result<Option<(Dht, Dht)>> {
        let Some(js) = Dht::spawn(Kind::Js, NODES, &[]).await? else { return Ok(None) };
        let lt = Dht::spawn(Kind::Py, 1, js.nodes()).await?;
        Ok(lt.map(|lt| (js, lt)))
    }

    fn peer(&self) -> PeerId {
        *self.ours.local_peer_id()
    }

    fn key(&self) -> Result<String> {
        Ok(HEXLOWER.encode(&key_of(&self.peer()).context("an Ed25519 key")?))
    }

    /// Runs our node until it tells what is wanted.
    async fn until<T>(&mut self, wanted: impl FnMut(&Event) -> Option<T>) -> Result<T> {
        until(&mut self.ours, wanted).await
    }

    /// Runs our node until what the others do has ended.
    async fn beside<T>(
        ours: &mut Swarm<Behaviour>,
        theirs: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        tokio::select! {
            done = theirs => done,
            never = until(ours, |_| None::<()>) => bail!("ours gave up first: {never:?}"),
        }
    }
}

/// A node of ours over TCP, whose port is announced.
async fn bridge(bootstrap: &[String]) -> Result<(Swarm<Behaviour>, u16)> {
    let config = Config { quic: false, ..Config::local(bootstrap.to_vec()) };
    let mut swarm = Swarm::new_ephemeral_tokio(|keypair| Behaviour::new(&config, keypair, None));
    let port = listen(&mut swarm).await?;
    swarm.behaviour_mut().on_port(Some(port));
    Ok((swarm, port))
}

async fn listen<B>(swarm: &mut Swarm<B>) -> Result<u16>
where
    B: libp2p_swarm::NetworkBehaviour + Send,
    B::ToSwarm: std::fmt::Debug,
{
    let (_, tcp) = swarm.listen().await;
    let port = tcp.iter().find_map(|part| match part {
        Protocol::Tcp(port) => Some(port),
        _ => None,
    });
    port.context("it listens on TCP")
}

/// Runs a node until it tells what is wanted. Who is connected counts as a member.
async fn until<T>(
    swarm: &mut Swarm<Behaviour>,
    mut wanted: impl FnMut(&Event) -> Option<T>,
) -> Result<T> {
    let running = async {
        loop {
            match swarm.select_next_some().await {
                SwarmEvent::Behaviour(event) => {
                    if let Some(found) = wanted(&event) {
                        return found;
                    }
                }
                SwarmEvent::ConnectionEstablished { peer_id, .. } => {
                    swarm.behaviour_mut().on_identified(peer_id, true, &[]);
                }
                _ => {}
            }
        }
    };
    timeout(PATIENCE, running).await.context("not in time")
}

/// A libp2p node without a bridge, that only listens.
async fn listener() -> Result<(PeerId, u16)> {
    let mut swarm = Swarm::new_ephemeral_tokio(|_| dummy::Behaviour);
    let port = listen(&mut swarm).await?;
    let peer = *swarm.local_peer_id();
    tokio::spawn(swarm.loop_on_next());
    Ok((peer, port))
}

fn namespace(name: &str) -> Result<Namespace> {
    let run = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
    Ok(Namespace::new(&format!("{name}-{run}"))?)
}

fn found(event: &Event) -> Option<(PeerId, How)> {
    match event {
        Event::Found { peer, how, .. } => Some((*peer, *how)),
        _ => None,
    }
}

fn at_port(port: u16) -> String {
    SocketAddr::from(([127, 0, 0, 1], port)).to_string()
}

fn loopback(port: u16) -> Multiaddr {
    format!("/ip4/127.0.0.1/tcp/{port}").parse().expect("an address")
}

fn record(slot: &Slot, keypair: &Keypair, addresses: &[Multiaddr]) -> Result<Record> {
    let key = key_of(&keypair.public().to_peer_id()).context("an Ed25519 key")?;
    let sign = |bytes: &[u8]| keypair.sign(bytes).expect("it signs").try_into().expect("64 bytes");
    slot.record(&key, addresses, UnixMillis::now(), sign).context("it fits")
}

/// A packet as bittorrent-dht puts it.
fn packet_of(
    keypair: &Keypair,
    addresses: &[Multiaddr],
    at: UnixMillis,
) -> Result<serde_json::Value> {
    let key = key_of(&keypair.public().to_peer_id()).context("an Ed25519 key")?;
    let value = packet::encode(&key, addresses).context("it fits")?;
    let seq = packet::seq_at(at);
    let signature = keypair.sign(&signable(seq, &value))?;
    Ok(item(&key, seq, &value, &signature))
}

fn item(key: &[u8], seq: i64, value: &[u8], signature: &[u8]) -> serde_json::Value {
    let [key, value, signature] = [key, value, signature].map(|bytes| HEXLOWER.encode(bytes));
    json!({"key": key, "seq": seq, "value": value, "signature": signature})
}

#[tokio::test]
async fn bittorrent_dht_finds_what_we_announce() -> Result<()> {
    let Some(mut bed) = Bed::new().await? else { return Ok(()) };
    let here = Rendezvous::librats_1("rats", "1.0");
    let infohash = here.infohash().to_string();
    bed.ours.behaviour_mut().join(here)?;
    bed.until(|event| matches!(event, Event::Announced { .. }).then_some(())).await?;
    bed.js.until_found(&infohash, &at_port(bed.port)).await
}

#[tokio::test]
async fn libtorrent_finds_what_we_announce() -> Result<()> {
    let Some(mut bed) = Bed::new().await? else { return Ok(()) };
    let Some(mut lt) = Dht::spawn(Kind::Py, 1, bed.js.nodes()).await? else { return Ok(()) };
    let here = Rendezvous::librats_2("librats/1.0");
    let infohash = here.infohash().to_string();
    bed.ours.behaviour_mut().announce(here)?;
    bed.until(|event| matches!(event, Event::Announced { .. }).then_some(())).await?;
    lt.until_found(&infohash, &at_port(bed.port)).await
}

#[tokio::test]
async fn we_find_and_prove_what_bittorrent_dht_announces() -> Result<()> {
    let Some(mut bed) = Bed::new().await? else { return Ok(()) };
    let here = Rendezvous::librats_1("rats", "1.0");
    let (peer, port) = listener().await?;
    bed.js.announce(&here.infohash().to_string(), port).await?;
    bed.ours.behaviour_mut().join(here)?;
    ensure!(bed.until(found).await? == (peer, How::Announced));
    Ok(())
}

#[tokio::test]
async fn we_find_and_prove_what_libtorrent_announces() -> Result<()> {
    let Some((js, mut lt)) = Bed::theirs().await? else { return Ok(()) };
    let here = Rendezvous::namespace(namespace("announced")?);
    let (peer, port) = listener().await?;
    lt.announce(&here.infohash().to_string(), port).await?;
    let mut bed = Bed::around(js).await?;
    let find = bed.ours.behaviour_mut().find(here)?;
    let by = bed.until(|event| match event {
        Event::Found { find, peer, how, .. } => Some((*find, *peer, *how)),
        _ => None,
    });
    ensure!(by.await? == (Some(find), peer, How::Announced));
    bed.until(|event| (*event == Event::FindEnded { find, reached: true }).then_some(())).await
}

#[tokio::test]
async fn two_of_ours_meet_in_a_network_of_theirs() -> Result<()> {
    let Some(mut bed) = Bed::new().await? else { return Ok(()) };
    let name = namespace("meeting")?;
    let (mut other, _) = bridge(&bed.js.nodes()[2..4]).await?;
    let other_peer = *other.local_peer_id();
    let ours = bed.peer();
    bed.ours.behaviour_mut().join(Rendezvous::namespace(name.clone()))?;
    other.behaviour_mut().join(Rendezvous::namespace(name))?;
    let met = |peer| move |event: &Event| found(event).filter(|found| found.0 == peer);
    tokio::select! {
        by_us = until(&mut bed.ours, met(other_peer)) => by_us.map(drop),
        by_it = until(&mut other, met(ours)) => by_it.map(drop),
    }
}

#[tokio::test]
async fn others_get_the_slot_and_the_packet_that_we_put() -> Result<()> {
    let Some(mut bed) = Bed::new().await? else { return Ok(()) };
    let Some(mut lt) = Dht::spawn(Kind::Py, 1, bed.js.nodes()).await? else { return Ok(()) };
    let name = namespace("slots")?;
    let slot = Slot::of(&name, Slot::hour_at(UnixMillis::now()), 0);
    let slot_key = HEXLOWER.encode(&slot.key());
    let (peer, own_key) = (bed.peer(), bed.key()?);
    bed.ours.add_external_address(loopback(4001));
    bed.ours.behaviour_mut().join(Rendezvous::namespace(name))?;
    let Bed { js, ours, .. } = &mut bed;
    for theirs in [js, &mut lt] {
        let item = Bed::beside(ours, theirs.until_got(&slot_key, |_| true)).await?;
        let records = slot.records(&HEXLOWER.decode(item.value.as_bytes())?, UnixMillis::now());
        ensure!(records.len() == 1 && records[0].peer() == peer, "{records:?}");
        ensure!(records[0].addresses() == [loopback(4001)]);

        let item = Bed::beside(ours, theirs.until_got(&own_key, |_| true)).await?;
        let key = key_of(&peer).context("an Ed25519 key")?;
        let addresses = packet::decode(&key, &HEXLOWER.decode(item.value.as_bytes())?);
        ensure!(addresses == [loopback(4001).with(Protocol::P2p(peer))], "{addresses:?}");
    }
    Ok(())
}

#[tokio::test]
async fn we_find_genuine_records_that_others_put_and_no_forged_or_old_ones() -> Result<()> {
    let Some(mut bed) = Bed::new().await? else { return Ok(()) };
    let name = namespace("records")?;
    let now = UnixMillis::now();
    let slot = Slot::of(&name, Slot::hour_at(now), 0);
    let old = Slot::of(&name, Slot::hour_at(now) - 2, 0);
    let keys: Vec<Keypair> = (0..3).map(|_| Keypair::generate_ed25519()).collect();
    let genuine = record(&slot, &keys[0], &[loopback(4001)])?;
    let mut forged = record(&slot, &keys[1], &[loopback(4002)])?.bytes().to_vec();
    *forged.last_mut().context("bytes")? ^= 1;
    let replayed = record(&old, &keys[2], &[loopback(4003)])?;
    let value = join([&forged[..], replayed.bytes(), genuine.bytes()]);
    let signature = slot.sign_item(1, &value);
    ensure!(bed.js.put(item(&slot.key(), 1, &value, &signature)).await? > 0);

    let find = bed.ours.behaviour_mut().find(Rendezvous::namespace(name))?;
    let mut all = Vec::new();
    bed.until(|event| {
        all.extend(found(event));
        matches!(event, Event::FindEnded { find: ended, .. } if *ended == find).then_some(())
    })
    .await?;
    ensure!(all == [(genuine.peer(), How::Record)], "{all:?}");
    Ok(())
}

#[tokio::test]
async fn the_record_of_another_stays_in_the_slot_beside_ours() -> Result<()> {
    let Some(mut bed) = Bed::new().await? else { return Ok(()) };
    let name = namespace("merged")?;
    let slot = Slot::of(&name, Slot::hour_at(UnixMillis::now()), 0);
    let theirs = record(&slot, &Keypair::generate_ed25519(), &[loopback(4001)])?;
    let value = join([theirs.bytes()]);
    let signature = slot.sign_item(7, &value);
    bed.js.put(item(&slot.key(), 7, &value, &signature)).await?;
    bed.ours.add_external_address(loopback(4002));
    bed.ours.behaviour_mut().join(Rendezvous::namespace(name))?;
    let (key, ours) = (HEXLOWER.encode(&slot.key()), bed.peer());
    let Bed { js, ours: swarm, .. } = &mut bed;
    let item = Bed::beside(swarm, js.until_got(&key, |item| item.seq > 7)).await?;
    let records = slot.records(&HEXLOWER.decode(item.value.as_bytes())?, UnixMillis::now());
    let mut peers: Vec<PeerId> = records.iter().map(Record::peer).collect();
    let mut expected = vec![ours, theirs.peer()];
    peers.sort_unstable();
    expected.sort_unstable();
    ensure!(peers == expected, "{peers:?}");
    Ok(())
}

#[tokio::test]
async fn we_resolve_packets_that_others_put_and_no_old_ones() -> Result<()> {
    let Some(mut bed) = Bed::new().await? else { return Ok(()) };
    let now = UnixMillis::now();
    let (fresh, stale) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
    bed.js.put(packet_of(&fresh, &[loopback(4001)], now)?).await?;
    let yesterday = UnixMillis(now.0 - 2 * 24 * 3_600_000);
    bed.js.put(packet_of(&stale, &[loopback(4001)], yesterday)?).await?;
    let peer = fresh.public().to_peer_id();
    let expected = vec![loopback(4001).with(Protocol::P2p(peer))];
    for (peer, expected) in [(peer, expected), (stale.public().to_peer_id(), Vec::new())] {
        bed.ours.behaviour_mut().resolve(peer)?;
        let resolved = bed.until(|event| match event {
            Event::Resolved { peer: of, addresses, .. } if *of == peer => Some(addresses.clone()),
            _ => None,
        });
        ensure!(resolved.await? == expected, "of {peer}");
    }
    Ok(())
}

#[tokio::test]
async fn we_resolve_a_packet_that_libtorrent_renewed() -> Result<()> {
    let Some((mut js, mut lt)) = Bed::theirs().await? else { return Ok(()) };
    let seed = [42; 32];
    let keypair = Keypair::ed25519_from_bytes(seed)?;
    let peer = keypair.public().to_peer_id();
    let key = key_of(&peer).context("an Ed25519 key")?;
    js.put(packet_of(&keypair, &[loopback(4001)], UnixMillis::now())?).await?;
    let value = packet::encode(&key, &[loopback(4002)]).context("it fits")?;
    let [seed, key, value] = [&seed[..], &key, &value].map(|bytes| HEXLOWER.encode(bytes));
    ensure!(lt.put(json!({"seed": seed, "key": key, "value": value})).await? > 0);
    let mut bed = Bed::around(js).await?;
    let renewed = loopback(4002).with(Protocol::P2p(peer));
    // libtorrent stores at some nodes only, and those of bittorrent-dht that have an older item name
    // no others: it is found once our table knows them all.
    for _ in 0..20 {
        bed.ours.behaviour_mut().resolve(peer)?;
        let resolved = bed.until(|event| match event {
            Event::Resolved { addresses, .. } => Some(addresses.clone()),
            _ => None,
        });
        if resolved.await? == [renewed.clone()] {
            return Ok(());
        }
    }
    bail!("the renewed packet is never found")
}

#[tokio::test]
async fn a_real_peer_is_found_among_announced_ports_where_nobody_is() -> Result<()> {
    let Some(mut bed) = Bed::new().await? else { return Ok(()) };
    let here = Rendezvous::namespace(namespace("flooded")?);
    let infohash = here.infohash().to_string();
    let (peer, port) = listener().await?;
    for closed in 1..8 {
        bed.js.announce(&infohash, closed).await?;
    }
    bed.js.announce(&infohash, bed.port).await?;
    bed.js.announce(&infohash, port).await?;
    bed.ours.behaviour_mut().join(here)?;
    ensure!(bed.until(found).await?.0 == peer);
    Ok(())
}
