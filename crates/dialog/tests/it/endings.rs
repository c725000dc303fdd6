//! Dialogs that are ended from outside: connections that close, callers that lose interest.

use std::{future::pending, time::Duration};

use libp2p_identity::{Keypair, PeerId};
use libp2p_swarm::Swarm;
use libp2p_swarm_test::SwarmExt;
use peerage_dialog::{Config, DialogError, Event, Open};
use tokio::{sync::oneshot, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::support::*;

/// A swarm connected to a peer that never negotiates.
async fn to_mute() -> (Swarm<Behaviour>, PeerId, JoinHandle<()>) {
    let key = Keypair::generate_ed25519();
    let (address, task) = mute(&key).await;
    let mut swarm = local(config());
    let peer = key.public().to_peer_id();
    connect(&mut swarm, peer, &address).await;
    (swarm, peer, task)
}

/// Polls until every command has gone to its connection and nothing else happens: the swarm yields
/// no event for a dialog that is being opened.
async fn settle(swarm: &mut Swarm<Behaviour>) {
    for _ in 0..32 {
        tokio::select! {
            biased;
            event = swarm.next_swarm_event() => panic!("{event:?}"),
            () = tokio::task::yield_now() => {}
        }
    }
}

#[tokio::test]
async fn a_dialog_that_ignores_its_stream_ends_with_the_connection() {
    let (mut swarm, peer) = pair(Behaviour::serving(config(), stall), config()).await;
    let (running, is_running) = oneshot::channel();
    let open = Open::new(peer, ECHO).progress_timeout(None);
    swarm.behaviour_mut().dialogs.open(open, async |stream| {
        let _ = running.send(());
        pending::<()>().await;
        drop(stream);
        Ok(Vec::new())
    });
    until(&mut swarm, is_running).await;
    swarm.disconnect_peer_id(peer).unwrap();
    assert!(matches!(finished(&mut swarm).await.error(), DialogError::Closed));
}

#[tokio::test]
async fn a_dialog_that_uses_its_stream_says_itself_what_became_of_it() {
    let (mut swarm, peer) = pair(Behaviour::serving(config(), stall), config()).await;
    let (running, is_running) = oneshot::channel();
    swarm.behaviour_mut().dialogs.open(Open::new(peer, ECHO), async |stream| {
        let _ = running.send(());
        listen(stream).await?;
        Ok(b"lost".to_vec())
    });
    until(&mut swarm, is_running).await;
    swarm.disconnect_peer_id(peer).unwrap();
    let outcome = finished(&mut swarm).await.outcome.unwrap();
    // The connection closes before or after the status byte came.
    assert!(outcome.is_err() || outcome.unwrap() == b"lost");
}

/// The dialog that held the other half is gone.
async fn assert_dropped(held: oneshot::Receiver<()>) {
    let dropped = tokio::time::timeout(Duration::from_secs(10), held).await;
    dropped.expect("it was dropped").unwrap_err();
}

async fn until(swarm: &mut Swarm<Behaviour>, mut done: oneshot::Receiver<()>) {
    loop {
        tokio::select! {
            done = &mut done => return done.unwrap(),
            _ = swarm.next_swarm_event() => {}
        }
    }
}

#[tokio::test]
async fn dialogs_being_opened_end_when_the_remote_breaks_the_connection() {
    let (mut swarm, peer, mute) = to_mute().await;
    for _ in 0..20 {
        swarm.behaviour_mut().ask(peer);
    }
    settle(&mut swarm).await;
    mute.abort();
    for _ in 0..20 {
        let error = finished(&mut swarm).await.error();
        assert!(matches!(error, DialogError::Closed), "{error}");
    }
}

#[tokio::test]
async fn dialogs_being_opened_end_when_this_side_closes_the_connection() {
    let (mut swarm, peer, _mute) = to_mute().await;
    swarm.behaviour_mut().ask(peer);
    settle(&mut swarm).await;
    swarm.behaviour_mut().ask(peer);
    swarm.disconnect_peer_id(peer).unwrap();
    for _ in 0..2 {
        assert!(matches!(finished(&mut swarm).await.error(), DialogError::Closed));
    }
    assert!(!swarm.behaviour().dialogs.is_connected(&peer));
}

#[tokio::test]
async fn a_token_cancels_a_dialog_that_waits_in_line() {
    let (mut swarm, peer, _mute) = to_mute().await;
    let token = CancellationToken::new();
    swarm.behaviour_mut().dialogs.open(Open::new(peer, ECHO).until(token.clone()), ask);
    token.cancel();
    assert!(matches!(finished(&mut swarm).await.error(), DialogError::Cancelled));
    assert_eq!(swarm.behaviour().dialogs.active(), 0);
}

#[tokio::test]
async fn a_token_cancels_a_dialog_that_is_being_opened() {
    let (mut swarm, peer, _mute) = to_mute().await;
    let token = CancellationToken::new();
    swarm.behaviour_mut().dialogs.open(Open::new(peer, ECHO).until(token.clone()), ask);
    settle(&mut swarm).await;
    token.cancel();
    assert!(matches!(finished(&mut swarm).await.error(), DialogError::Cancelled));
}

#[tokio::test]
async fn a_token_cancels_a_running_dialog_and_drops_its_stream() {
    let (mut swarm, peer) = pair(Behaviour::serving(config(), stall), config()).await;
    let token = CancellationToken::new();
    let (running, is_running) = oneshot::channel();
    let (dropped, is_dropped) = oneshot::channel::<()>();
    let open = Open::new(peer, ECHO).until(token.clone());
    swarm.behaviour_mut().dialogs.open(open, async |stream| {
        let _held = (stream, dropped);
        let _ = running.send(());
        pending().await
    });
    until(&mut swarm, is_running).await;
    token.cancel();
    assert!(matches!(finished(&mut swarm).await.error(), DialogError::Cancelled));
    assert_dropped(is_dropped).await;
}

#[tokio::test]
async fn a_cancelled_dialog_reports_nothing() {
    let (mut swarm, peer) = pair(Behaviour::serving(config(), stall), config()).await;
    let (running, is_running) = oneshot::channel();
    let (dropped, is_dropped) = oneshot::channel::<()>();
    let open = Open::new(peer, ECHO).progress_timeout(None);
    let running_one = swarm.behaviour_mut().dialogs.open(open, async |stream| {
        let _held = (stream, dropped);
        let _ = running.send(());
        pending().await
    });
    until(&mut swarm, is_running).await;
    let waiting = swarm.behaviour_mut().ask(peer);
    let failed = swarm.behaviour_mut().ask(PeerId::random());
    for id in [running_one, waiting, failed] {
        swarm.behaviour_mut().dialogs.cancel(id);
    }
    assert_eq!(swarm.behaviour().dialogs.active(), 0);
    assert_dropped(is_dropped).await;
    let last = swarm
        .behaviour_mut()
        .dialogs
        .open(Open::new(peer, ECHO).progress_timeout(Some(Duration::from_millis(50))), ask);
    assert_eq!(finished(&mut swarm).await.id, last);
}

#[tokio::test]
async fn an_inbound_dialog_obeys_its_token() {
    let (mut server, address) =
        listening(&Keypair::generate_ed25519(), Behaviour::new(config())).await;
    let peer = *server.local_peer_id();
    let mut client = local(config());
    tokio::spawn(async move {
        connect(&mut client, peer, &address).await;
        client.behaviour_mut().ask(peer);
        client.loop_on_next().await;
    });
    let token = CancellationToken::new();
    match server.next_behaviour_event().await {
        Event::Inbound(inbound) => {
            let inbound = inbound.until(token.clone());
            server.behaviour_mut().dialogs.serve(inbound, async |_stream| pending().await);
        }
        other => panic!("{other:?}"),
    }
    token.cancel();
    assert!(matches!(finished(&mut server).await.error(), DialogError::Cancelled));
}

#[tokio::test]
async fn dropping_the_dialogs_ends_their_tasks() {
    let (mut swarm, peer) = pair(Behaviour::serving(config(), stall), config()).await;
    let (running, is_running) = oneshot::channel();
    let (dropped, is_dropped) = oneshot::channel::<()>();
    swarm.behaviour_mut().dialogs.open(Open::new(peer, ECHO), async |stream| {
        let _held = (stream, dropped);
        let _ = running.send(());
        pending().await
    });
    until(&mut swarm, is_running).await;
    drop(swarm);
    assert_dropped(is_dropped).await;
}

/// A swarm whose connection has no room for another open.
async fn to_mute_without_room() -> (Swarm<Behaviour>, PeerId, JoinHandle<()>) {
    let key = Keypair::generate_ed25519();
    let (address, task) = mute(&key).await;
    let peer = key.public().to_peer_id();
    let mut swarm = local(Config { max_outbound_per_peer: 2, ..config() });
    connect(&mut swarm, peer, &address).await;
    for _ in 0..2 {
        let id = swarm.behaviour_mut().ask(peer);
        settle(&mut swarm).await;
        swarm.behaviour_mut().dialogs.cancel(id);
    }
    (swarm, peer, task)
}

#[tokio::test]
async fn opens_that_their_callers_gave_up_do_not_pile_up_in_the_swarm() {
    let (mut swarm, peer, _mute) = to_mute_without_room().await;
    let token = CancellationToken::new();
    swarm.behaviour_mut().dialogs.open(Open::new(peer, ECHO).until(token.clone()), ask);
    settle(&mut swarm).await;
    token.cancel();
    let finished = finished(&mut swarm).await;
    assert_eq!(finished.connection, None, "it was sent to a connection");
    assert!(matches!(finished.error(), DialogError::Cancelled));
}

#[tokio::test]
async fn a_dialog_that_waits_in_line_ends_with_the_last_connection() {
    let (mut swarm, peer, mute) = to_mute_without_room().await;
    swarm.behaviour_mut().ask(peer);
    settle(&mut swarm).await;
    mute.abort();
    let error = finished(&mut swarm).await.error();
    assert!(matches!(error, DialogError::Closed), "{error}");
}
