//! What a dialog comes to.

use std::{io, time::Duration};

use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p_identity::{Keypair, PeerId};
use libp2p_swarm::Swarm;
use libp2p_swarm_test::SwarmExt;
use peerage_dialog::{Config, DialogError, Dialogs, Event, Inbound, Open, Side};
use tokio::sync::oneshot;

use crate::support::*;

#[tokio::test]
async fn a_dialog_returns_its_outcome() {
    let (mut swarm, peer) = pair(Behaviour::serving(config(), echo), config()).await;
    let id = swarm.behaviour_mut().ask(peer);
    assert_eq!(swarm.behaviour().dialogs.active(), 1);
    let finished = finished(&mut swarm).await;
    assert_eq!(finished.id, id);
    assert_eq!(finished.connection, swarm.behaviour().dialogs.best(&peer).map(|p| p.connection));
    assert_eq!(finished.value(), b"hello");
    assert_eq!(swarm.behaviour().dialogs.active(), 0);
}

#[tokio::test]
async fn both_halves_of_a_split_stream_work_in_two_tasks() {
    let (mut swarm, peer) = pair(Behaviour::serving(config(), echo), config()).await;
    swarm.behaviour_mut().dialogs.open(Open::new(peer, ECHO), async |stream| {
        let (mut reader, mut writer) = stream.split();
        let reading = tokio::spawn(async move {
            let mut answer = Vec::new();
            reader.read_to_end(&mut answer).await.map(|_| answer)
        });
        // More than one receive window, so that the writer has to wait.
        writer.write_all(&vec![7; 1 << 20]).await?;
        writer.close().await?;
        reading.await.unwrap()
    });
    assert_eq!(finished(&mut swarm).await.value(), vec![7; 1 << 20]);
}

#[tokio::test]
async fn a_plain_dialog_has_no_status_byte() {
    let plain = || Config { plain: vec![ECHO], ..config() };
    let (mut swarm, peer) = pair(Behaviour::serving(plain(), echo), config()).await;
    let dialogs = &mut swarm.behaviour_mut().dialogs;
    dialogs.open(Open::new(peer, ECHO).plain(), ask);
    assert_eq!(finished(&mut swarm).await.value(), b"hello");
}

#[tokio::test]
async fn without_connection_it_is_not_connected() {
    let mut swarm = local(config());
    swarm.behaviour_mut().ask(PeerId::random());
    assert!(matches!(finished(&mut swarm).await.error(), DialogError::NotConnected));
}

#[tokio::test]
async fn a_protocol_that_the_peer_does_not_speak_is_unsupported() {
    let (mut swarm, peer) = pair(Behaviour::serving(config(), echo), config()).await;
    swarm.behaviour_mut().dialogs.open(Open::new(peer, OTHER), ask);
    match finished(&mut swarm).await.error() {
        DialogError::Unsupported(protocol) => assert_eq!(protocol, OTHER),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_peer_that_never_negotiates_times_out() {
    let key = Keypair::generate_ed25519();
    let (address, _mute) = mute(&key).await;
    let peer = key.public().to_peer_id();
    let mut swarm = local(Config { open_timeout: Duration::from_millis(100), ..config() });
    connect(&mut swarm, peer, &address).await;
    swarm.behaviour_mut().ask(peer);
    assert!(matches!(finished(&mut swarm).await.error(), DialogError::OpenTimeout));
    assert_eq!(swarm.behaviour().dialogs.active(), 0);
}

#[tokio::test]
async fn a_peer_that_accepts_and_says_nothing_stalls() {
    let (mut swarm, peer) = pair(Behaviour::serving(config(), stall), config()).await;
    let open = Open::new(peer, ECHO).progress_timeout(Some(Duration::from_millis(100)));
    swarm.behaviour_mut().dialogs.open(open, ask);
    assert!(matches!(finished(&mut swarm).await.error(), DialogError::Stalled));
}

#[tokio::test]
async fn a_reader_learns_that_the_remote_is_busy() {
    let (mut swarm, peer) = pair(Behaviour::serving(config(), refuse), config()).await;
    swarm.behaviour_mut().dialogs.open(Open::new(peer, ECHO), listen);
    assert_busy_remote(&mut swarm).await;
}

/// The refusal comes when the dialog has ended.
#[tokio::test]
async fn a_dialog_that_writes_little_and_never_reads_learns_that_the_remote_is_busy() {
    let (mut server, address) =
        listening(&Keypair::generate_ed25519(), Behaviour::new(config())).await;
    let peer = *server.local_peer_id();
    let (ended, has_ended) = oneshot::channel();
    let asking = tokio::spawn(async move {
        let mut client = local(config());
        connect(&mut client, peer, &address).await;
        client.behaviour_mut().dialogs.open(Open::new(peer, ECHO), async |mut stream| {
            stream.write_all(b"hello").await?;
            stream.close().await?;
            drop(stream);
            ended.send(()).unwrap();
            Ok(Vec::new())
        });
        assert_busy_remote(&mut client).await;
    });
    let inbound = inbound(&mut server).await;
    has_ended.await.unwrap();
    server.behaviour_mut().dialogs.refuse(inbound);
    tokio::spawn(server.loop_on_next());
    asking.await.unwrap();
}

#[tokio::test]
async fn a_dialog_that_writes_without_end_learns_that_the_remote_is_busy() {
    let (mut swarm, peer) = pair(Behaviour::serving(config(), refuse), config()).await;
    swarm.behaviour_mut().dialogs.open(Open::new(peer, ECHO), async |mut stream| {
        loop {
            stream.write_all(&[0; 4096]).await?;
        }
    });
    assert_busy_remote(&mut swarm).await;
}

async fn assert_busy_remote(swarm: &mut Swarm<Behaviour>) {
    let error = finished(swarm).await.error();
    assert!(matches!(error, DialogError::Busy { by: Side::Remote }), "{error}");
    assert!(error.is_retryable());
}

#[tokio::test]
async fn a_dialog_that_never_reads_is_not_taken_for_refused() {
    let (mut swarm, peer) = pair(Behaviour::serving(config(), echo), config()).await;
    swarm.behaviour_mut().dialogs.open(Open::new(peer, ECHO), async |mut stream| {
        stream.write_all(b"hello").await?;
        stream.close().await?;
        Ok(b"sent".to_vec())
    });
    assert_eq!(finished(&mut swarm).await.value(), b"sent");
}

#[tokio::test]
async fn an_inbound_dialog_that_nobody_serves_is_reset() {
    let forget: Serve = |_, inbound| drop(inbound);
    let (mut swarm, peer) = pair(Behaviour::serving(config(), forget), config()).await;
    swarm.behaviour_mut().dialogs.open(Open::new(peer, ECHO), listen);
    let error = finished(&mut swarm).await.outcome.unwrap().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn an_inbound_dialog_says_who_and_what() {
    let (mut server, address) = {
        let served = Config { protocols: vec![OTHER, ECHO], ..config() };
        listening(&Keypair::generate_ed25519(), Behaviour::new(served)).await
    };
    let peer = *server.local_peer_id();
    let mut client = local(config());
    let from = *client.local_peer_id();
    let asking = tokio::spawn(async move {
        connect(&mut client, peer, &address).await;
        client.behaviour_mut().ask(peer);
        finished(&mut client).await.value()
    });
    let inbound = inbound(&mut server).await;
    assert_eq!((inbound.peer, &inbound.protocol, inbound.relayed), (from, &ECHO, false));
    let id = server.behaviour_mut().dialogs.serve(inbound, async |mut stream| {
        stream.write_all(stream.peer().to_string().as_bytes()).await?;
        stream.close().await?;
        Ok(b"served".to_vec())
    });
    let served = finished(&mut server).await;
    assert_eq!(served.id, id);
    assert_eq!(served.value(), b"served");
    tokio::spawn(server.loop_on_next());
    assert_eq!(asking.await.unwrap(), from.to_string().into_bytes());
}

async fn inbound(swarm: &mut Swarm<Behaviour>) -> Inbound {
    loop {
        if let Event::Inbound(inbound) = swarm.next_behaviour_event().await {
            return inbound;
        }
    }
}

#[tokio::test]
async fn a_panic_stays_in_its_dialog() {
    let (mut swarm, peer) = pair(Behaviour::serving(config(), echo), config()).await;
    let dialogs: &mut Dialogs<Outcome> = &mut swarm.behaviour_mut().dialogs;
    dialogs.open(Open::new(peer, ECHO), async |_| panic!("on purpose"));
    assert!(matches!(finished(&mut swarm).await.error(), DialogError::Panicked));
    swarm.behaviour_mut().ask(peer);
    assert_eq!(finished(&mut swarm).await.value(), b"hello");
}
