//! The DHT as a task, against networks in this process.

use std::{
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use libp2p_identity::Keypair;
use mainline::{Dht, RequestFilter, RequestSpecific, ServerSettings, Testnet};
use peerage_store::Store;
use peerage_types::{Multiaddr, Namespace, UnixMillis};
use peerage_wire::mainline::{key_of, packet, signable};
use pkarr::{PublicKey, SignedPacket};

use super::*;

/// A DHT of this process, entered at any of its nodes.
async fn network(nodes: usize) -> (Testnet, Config) {
    let build = move || Testnet::builder(nodes).build().expect("a network of this machine");
    let network = tokio::task::spawn_blocking(build).await.expect("it does not panic");
    let config = Config::local(network.bootstrap[..2].to_vec());
    (network, config)
}

fn client(config: &Config) -> Client {
    Client::spawn(config, starter(config), None)
}

fn round(id: u64) -> Round {
    let infohash = Infohash::of(b"here");
    let id = RoundId(id);
    Round { id, infohash, lookup: true, announce: None, read: vec![], write: None }
}

/// The next report that is about a request.
async fn answer(client: &mut Client) -> Option<Report> {
    loop {
        match client.report().await {
            Some(Report::Health(_)) => {}
            report => return report,
        }
    }
}

/// Runs one round; gives what was reported before its end, and what was done.
async fn run(client: &mut Client, round: Round) -> (Vec<Report>, Done) {
    client.request(Request::Round(Box::new(round))).expect("there is room");
    let mut reports = Vec::new();
    loop {
        match answer(client).await.expect("it runs") {
            Report::RoundEnded { done, .. } => return (reports, done),
            report => reports.push(report),
        }
    }
}

/// Runs rounds until one does what it should: the thread needs a moment to start again.
async fn run_until_reached(client: &mut Client) {
    loop {
        if run(client, round(1)).await.1.lookup {
            return;
        }
        tokio::task::yield_now().await;
    }
}

fn slot() -> Slot {
    let namespace = Namespace::new("tests").expect("a namespace");
    Slot::of(&namespace, Slot::hour_at(UnixMillis::now()), 0)
}

fn record(slot: &Slot) -> Record {
    let keypair = Keypair::generate_ed25519();
    let key = key_of(&keypair.public().to_peer_id()).expect("an Ed25519 key");
    let addresses: Vec<Multiaddr> = vec!["/ip4/11.0.0.1/tcp/4001".parse().expect("an address")];
    let sign = |bytes: &[u8]| keypair.sign(bytes).expect("it signs").try_into().expect("64 bytes");
    slot.record(&key, &addresses, UnixMillis::now(), sign).expect("it fits")
}

#[tokio::test]
async fn what_one_announces_another_finds() {
    let (_network, config) = network(6).await;
    let (mut a, mut b) = (client(&config), client(&config));
    let (_, done) = run(&mut a, Round { announce: Some(4001), ..round(1) }).await;
    assert_eq!(done, Done { lookup: true, announce: true, write: None });
    let (reports, _) = run(&mut b, round(7)).await;
    let expected = SocketAddr::from(([127, 0, 0, 1], 4001));
    let Some(Report::Addresses { round: RoundId(7), addresses }) = reports.first() else {
        panic!("{reports:?}")
    };
    assert_eq!(addresses, &[expected]);
}

#[tokio::test]
async fn a_dht_that_has_gone_is_noticed_when_something_is_announced() {
    let (network, config) = network(6).await;
    let mut client = client(&config);
    run_until_reached(&mut client).await;
    drop(network);
    // Its threads end by and by.
    for id in 2.. {
        let announcing = Round { announce: Some(4001), ..round(id) };
        client.request(Request::Round(Box::new(announcing))).expect("there is room");
        loop {
            match client.report().await.expect("it runs") {
                Report::RoundEnded { .. } => break,
                Report::Health(health) if !health.is_up => return,
                _ => {}
            }
        }
    }
}

#[tokio::test]
async fn records_of_several_are_merged_into_one_slot() {
    let (_network, config) = network(6).await;
    let (mut writer, mut reader) = (client(&config), client(&config));
    let mut written = Vec::new();
    for _ in 0..3 {
        let record = record(&slot());
        written.push(record.peer());
        let write = Some(Write { hour: 1, choices: vec![(slot(), record)] });
        let (_, done) = run(&mut writer, Round { lookup: false, write, ..round(1) }).await;
        assert_eq!(done.write, Some(1));
    }
    let (reports, _) =
        run(&mut reader, Round { lookup: false, read: vec![slot()], ..round(2) }).await;
    let Some(Report::Records { records, .. }) = reports.first() else { panic!("{reports:?}") };
    let mut read: Vec<_> = records.iter().map(Record::peer).collect();
    written.sort_unstable();
    read.sort_unstable();
    assert_eq!(read, written);
}

#[tokio::test]
async fn several_that_write_at_the_same_time_all_stand_in_the_slot() {
    let (_network, config) = network(6).await;
    let writing = (0..3).map(|_| {
        let mut writer = client(&config);
        async move {
            let write = Some(Write { hour: 1, choices: vec![(slot(), record(&slot()))] });
            run(&mut writer, Round { lookup: false, write, ..round(1) }).await.1.write
        }
    });
    let done = futures::future::join_all(writing).await;
    assert!(done.contains(&Some(1)), "{done:?}");
    let mut reader = client(&config);
    let (reports, _) =
        run(&mut reader, Round { lookup: false, read: vec![slot()], ..round(2) }).await;
    let Some(Report::Records { records, .. }) = reports.first() else { panic!("{reports:?}") };
    assert!(records.len() >= done.iter().flatten().count().min(2), "{records:?} of {done:?}");
}

#[tokio::test]
async fn a_full_slot_is_left_for_the_next_and_the_last_takes_everyone() {
    let (_network, config) = network(6).await;
    let mut writer = client(&config);
    let namespace = Namespace::new("full").expect("a namespace");
    let slots = [0, 5].map(|n| Slot::of(&namespace, Slot::hour_at(UnixMillis::now()), n));
    for _ in 0..5 {
        let choices = slots.iter().map(|slot| (slot.clone(), record(slot))).collect();
        let write = Some(Write { hour: 1, choices });
        let (_, done) = run(&mut writer, Round { lookup: false, write, ..round(1) }).await;
        assert_eq!(done.write, Some(1));
    }
    let mut reader = client(&config);
    let mut counts = Vec::new();
    for slot in slots {
        let read = Round { lookup: false, read: vec![slot], ..round(2) };
        let (reports, _) = run(&mut reader, read).await;
        let Some(Report::Records { records, .. }) = reports.first() else { panic!("{reports:?}") };
        counts.push(records.len());
    }
    assert_eq!(counts, [4, 1]);
}

#[tokio::test]
async fn a_packet_is_resolved_and_is_one_of_pkarr() {
    let (_network, config) = network(6).await;
    let keypair = Keypair::generate_ed25519();
    let key = key_of(&keypair.public().to_peer_id()).expect("an Ed25519 key");
    let address: Multiaddr = "/ip4/11.0.0.1/tcp/4001".parse().expect("an address");
    let value = packet::encode(&key, &[address]).expect("it fits");
    let seq = packet::seq_at(UnixMillis::now());
    let signed = keypair.sign(&signable(seq, &value)).expect("it signs");
    let signature: [u8; 64] = signed.try_into().expect("64 bytes");

    let payload = [&signature[..], &seq.to_be_bytes(), &value].concat();
    let public = PublicKey::try_from(&key).expect("a key");
    let theirs =
        SignedPacket::from_relay_payload(&public, &payload.into()).expect("pkarr takes it");
    assert_eq!(theirs.resource_records("_dnsaddr").count(), 1);

    let (mut a, mut b) = (client(&config), client(&config));
    let item = Box::new(Item { key, seq, value: value.clone(), signature });
    a.request(Request::Publish(item)).expect("there is room");
    let Some(Report::Published { stored: true }) = answer(&mut a).await else {
        panic!("not stored")
    };
    b.request(Request::Resolve { id: 3, key }).expect("there is room");
    let Some(Report::Resolved { id: 3, item }) = answer(&mut b).await else { panic!("no answer") };
    assert_eq!(item, Some((seq, value)));
    b.request(Request::Resolve { id: 4, key: [8; 32] }).expect("there is room");
    let Some(Report::Resolved { id: 4, item: None }) = answer(&mut b).await else {
        panic!("an item")
    };
}

#[tokio::test]
async fn an_item_that_is_signed_by_another_key_is_not_resolved() {
    let (_network, config) = network(6).await;
    let (mut forger, mut reader) = (client(&config), client(&config));
    let item = Item { key: [9; 32], seq: 5, value: b"forged".to_vec(), signature: [1; 64] };
    forger.request(Request::Publish(Box::new(item))).expect("there is room");
    let published = answer(&mut forger).await;
    assert!(matches!(published, Some(Report::Published { .. })), "{published:?}");
    reader.request(Request::Resolve { id: 1, key: [9; 32] }).expect("there is room");
    let resolved = answer(&mut reader).await;
    assert!(matches!(resolved, Some(Report::Resolved { item: None, .. })), "{resolved:?}");
}

#[derive(Debug, Clone)]
struct PanicsWhenAsked;

impl RequestFilter for PanicsWhenAsked {
    fn allow_request(&self, _: &RequestSpecific, _: SocketAddrV4) -> bool {
        panic!("as the test wants it")
    }
}

#[tokio::test]
async fn a_thread_that_panics_is_replaced_and_whoever_waits_is_told() {
    let (_network, config) = network(6).await;
    let (starts, port) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let healthy = starter(&config);
    let (counted, shared) = (Arc::clone(&starts), Arc::clone(&port));
    let start: Start = Arc::new(move |bootstrap| {
        if counted.fetch_add(1, Ordering::SeqCst) > 0 {
            return healthy(bootstrap);
        }
        let filter = Box::new(PanicsWhenAsked);
        let free = UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port();
        shared.store(free.into(), Ordering::SeqCst);
        let settings = ServerSettings { filter, ..ServerSettings::default() };
        let mut builder = Dht::builder();
        builder.bootstrap(bootstrap).bind_address(Ipv4Addr::LOCALHOST).port(free);
        builder.server_mode().server_settings(settings).build()
    });
    let mut client = Client::spawn(&config, start, None);
    run_until_reached(&mut client).await;

    let ping = b"d1:ad2:id20:aaaaaaaaaaaaaaaaaaaae1:q4:ping1:t4:aaaa1:y1:qe";
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let target = format!("127.0.0.1:{}", port.load(Ordering::SeqCst));
    socket.send_to(ping, target).expect("it is sent");
    while starts.load(Ordering::SeqCst) < 2 {
        run(&mut client, round(2)).await;
    }
    run_until_reached(&mut client).await;
}

#[tokio::test]
async fn no_packet_ends_the_thread() {
    let (_network, config) = network(3).await;
    let free = UdpSocket::bind("127.0.0.1:0").expect("a socket").local_addr().expect("bound");
    let config = Config { port: free.port(), ..config };
    let starts = Arc::new(AtomicU32::new(0));
    let (counted, healthy) = (Arc::clone(&starts), starter(&config));
    let start: Start = Arc::new(move |bootstrap| {
        counted.fetch_add(1, Ordering::SeqCst);
        healthy(bootstrap)
    });
    let mut client = Client::spawn(&config, start, None);
    run_until_reached(&mut client).await;

    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    for (number, packet) in bad_packets().iter().enumerate() {
        socket.send_to(packet, free).expect("it is sent");
        if number % 50 == 0 {
            // Room in the socket's buffer: an answer means that all before it were read.
            assert!(run(&mut client, round(3)).await.1.lookup, "after packet {number}");
        }
    }
    assert!(run(&mut client, round(4)).await.1.lookup);
    assert_eq!(starts.load(Ordering::SeqCst), 1, "it was never started again");
}

/// Nested as deep as a packet allows, cut off, of absurd lengths, and valid ones with changes.
fn bad_packets() -> Vec<Vec<u8>> {
    let deep = |head: &[u8], part: &[u8], tail: &[u8]| {
        let levels = (2048 - head.len()) / (part.len() + tail.len());
        [head, &part.repeat(levels), &tail.repeat(levels)].concat()
    };
    let mut packets = vec![
        Vec::new(),
        deep(b"", b"l", b""),
        deep(b"", b"d1:a", b""),
        deep(b"d1:t4:aaaa1:y1:r1:r", b"l", b"e"),
        deep(b"d1:t4:aaaa1:y1:r1:rd2:id20:aaaaaaaaaaaaaaaaaaaa6:values", b"l", b"e"),
        deep(b"d1:t4:aaaa1:y1:e1:e", b"l", b"e"),
        b"99999999999999999999:".to_vec(),
        b"9999999999999:aa".to_vec(),
        b"d1:ele1:t4:aaaa1:y1:ee".to_vec(),
        b"d1:rd2:id20:aaaaaaaaaaaaaaaaaaaae1:t0:1:y1:re".to_vec(),
    ];
    let valid = b"d1:rd2:id20:aaaaaaaaaaaaaaaaaaaa5:nodes26:aaaaaaaaaaaaaaaaaaaaaaaaaa\
        5:token4:aaaa6:valuesl6:aaaaaaee1:t4:\0\0\0\x011:y1:re";
    for number in 0..120 {
        let mut packet = valid.to_vec();
        let at = number % packet.len();
        packet[at] = packet[at].wrapping_add(u8::try_from(number % 251).expect("below 256"));
        packets.push(packet);
        packets.push(valid[..at].to_vec());
    }
    packets
}

#[tokio::test]
async fn nodes_are_remembered_and_lead_in_without_a_bootstrap_list() {
    let (_network, config) = network(6).await;
    let store = Store::in_memory();
    let mut first = Client::spawn(&config, starter(&config), Some(store.marks()));
    run_until_reached(&mut first).await;
    first.stop().await;
    let alone = Config { bootstrap: Vec::new(), ..config };
    let mut second = Client::spawn(&alone, starter(&alone), Some(store.marks()));
    assert!(run(&mut second, round(1)).await.1.lookup);
}

#[tokio::test]
async fn without_any_node_to_enter_at_every_request_is_answered() {
    let config = Config::local(Vec::new());
    let mut client = client(&config);
    assert_eq!(run(&mut client, round(1)).await.1, Done::default());
    client.request(Request::Resolve { id: 1, key: [1; 32] }).expect("there is room");
    loop {
        match client.report().await {
            Some(Report::Resolved { id: 1, item: None }) => break,
            Some(Report::Health(health)) => assert!(!health.is_up),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn it_stops_while_its_reports_are_not_read() {
    let (_network, config) = network(3).await;
    let mut client = client(&config);
    for id in 0..20 {
        _ = client.request(Request::Round(Box::new(round(id))));
    }
    client.stop().await;
    assert!(client.request(Request::Round(Box::new(round(99)))).is_ok(), "dropped, not queued");
}
