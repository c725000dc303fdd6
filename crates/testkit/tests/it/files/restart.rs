//! Nodes that stop and start again.

use super::*;

struct Two {
    dir: tempfile::TempDir,
    sender: Option<Running>,
    receiver: Option<Running>,
}

impl Two {
    async fn connected() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let sender = start(settings(&dir.path().join("sender"))).await.unwrap();
        let receiver = start(settings(&dir.path().join("receiver"))).await.unwrap();
        connect(&sender.node, &receiver).await;
        Self { dir, sender: Some(sender), receiver: Some(receiver) }
    }

    fn out(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    fn file(&self) -> PathBuf {
        put(&self.dir.path().join("in/file"), 8 * MIB)
    }

    fn sender(&self) -> &Running {
        self.sender.as_ref().unwrap()
    }

    fn receiver(&self) -> &Running {
        self.receiver.as_ref().unwrap()
    }

    fn slow(&self) -> Send {
        Send { limit_bps: Some(4_000_000), ..send(&self.file(), self.receiver().peer_id) }
    }

    async fn restart_sender(&mut self) {
        self.sender.take().unwrap().stop().await;
        self.sender = Some(start(settings(&self.dir.path().join("sender"))).await.unwrap());
    }

    async fn restart_receiver(&mut self) {
        self.receiver.take().unwrap().stop().await;
        self.receiver = Some(start(settings(&self.dir.path().join("receiver"))).await.unwrap());
    }

    /// Both sides come to the end; nothing was fetched twice but what was on its way.
    async fn completes(&self, transfer: TransferId) -> Transfer {
        let got = end(&self.receiver().node, transfer).await.unwrap();
        assert!(fs::read(&got.paths[0]).unwrap() == noise(8 * MIB));
        assert!(got.resumed_bytes > 0, "it began anew: {got:?}");
        assert!(got.wire_bytes < 12 * MIB as u64, "{} bytes were fetched", got.wire_bytes);
        got
    }
}

#[tokio::test]
async fn who_is_patient_waits_for_a_peer_that_is_away_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| settings(&dir.path().join(name));
    let away = start(at("far")).await.unwrap();
    let peer = away.peer_id;
    away.stop().await;
    let path = put(&dir.path().join("file"), MIB);
    let sender = start(at("near")).await.unwrap();
    let files = sender.node.files();
    let patient = Send { patient: true, ..send(&path, peer) };
    let waits = files.send(patient).await.unwrap().transfer;
    let gives_up = files.send(send(&path, peer)).await.unwrap().transfer;
    let error = end(&sender.node, gives_up).await.unwrap_err();
    assert!(matches!(error, FilesError::Unreachable { .. }), "{error:?}");
    assert_eq!(files.transfer(waits).await.unwrap().state, State::Connecting);
    sender.stop().await;
    let sender = start(at("near")).await.unwrap();
    let back = start(at("far")).await.unwrap();
    connect(&back.node, &sender).await;
    in_state(&back.node, waits, State::Asked).await;
    sender.stop().await;
    back.stop().await;
}

#[tokio::test]
async fn a_push_goes_on_by_itself_after_the_receiver_restarts() {
    let mut two = Two::connected().await;
    let id = push(&two.sender().node, two.slow(), &two.receiver().node, &two.out()).await;
    has(&two.receiver().node, id, 2 * MIB).await;
    two.restart_receiver().await;
    two.completes(id).await;
    end(&two.sender().node, id).await.unwrap();
}

#[tokio::test]
async fn a_push_goes_on_by_itself_after_the_sender_restarts() {
    let mut two = Two::connected().await;
    let id = push(&two.sender().node, two.slow(), &two.receiver().node, &two.out()).await;
    has(&two.receiver().node, id, 2 * MIB).await;
    two.restart_sender().await;
    two.completes(id).await;
    let sent = end(&two.sender().node, id).await.unwrap();
    assert_eq!(sent.done_bytes, 8 * MIB as u64);
}

#[tokio::test]
async fn a_pull_goes_on_by_itself_after_either_restarts() {
    let mut two = Two::connected().await;
    let (_, ticket) = share(&two.sender().node, &two.file()).await;
    let slow = Get { limit_bps: Some(3_000_000), ..get(Wanted::Ticket(ticket), &two.out()) };
    let id = two.receiver().node.files().get(slow).await.unwrap().transfer;
    has(&two.receiver().node, id, 2 * MIB).await;
    two.restart_receiver().await;
    has(&two.receiver().node, id, 4 * MIB).await;
    two.restart_sender().await;
    two.completes(id).await;
}

/// What a node has told of its published folders it has forgotten after a restart: it is asked again.
#[tokio::test]
async fn a_pull_from_a_published_folder_goes_on_after_the_publisher_restarts() {
    let mut two = Two::connected().await;
    let path = two.file();
    let publish = peerage_api::files::Publish {
        path: path.parent().unwrap().to_owned(),
        name: Some("docs".into()),
        readers: vec![two.receiver().peer_id],
    };
    two.sender().node.files().publish(publish).await.unwrap();
    let wanted = Wanted::Published { peer: two.sender().peer_id, path: "docs/file".into() };
    let slow = Get { limit_bps: Some(4_000_000), ..get(wanted, &two.out()) };
    let id = two.receiver().node.files().get(slow).await.unwrap().transfer;
    has(&two.receiver().node, id, 2 * MIB).await;
    two.restart_sender().await;
    two.completes(id).await;
}

#[tokio::test]
async fn an_offer_outlives_both_restarts_and_is_accepted_later() {
    let mut two = Two::connected().await;
    let request = send(&two.file(), two.receiver().peer_id);
    let id = two.sender().node.files().send(request).await.unwrap().transfer;
    in_state(&two.receiver().node, id, State::Asked).await;
    in_state(&two.sender().node, id, State::Offered).await;
    two.restart_receiver().await;
    two.restart_sender().await;
    let asked = two.receiver().node.files().transfer(id).await.unwrap();
    assert_eq!((asked.state, asked.bytes), (State::Asked, 8 * MIB as u64));
    assert_eq!(two.sender().node.files().transfer(id).await.unwrap().state, State::Offered);
    two.receiver().node.files().accept(id, Some(two.out())).await.unwrap();
    // Both are at other ports now.
    connect(&two.sender().node, two.receiver()).await;
    end(&two.receiver().node, id).await.unwrap();
    end(&two.sender().node, id).await.unwrap();
}

#[tokio::test]
async fn what_was_said_while_the_other_was_away_is_heard_when_it_is_back() {
    let mut two = Two::connected().await;
    let request = send(&two.file(), two.receiver().peer_id);
    let id = two.sender().node.files().send(request).await.unwrap().transfer;
    in_state(&two.receiver().node, id, State::Asked).await;
    in_state(&two.sender().node, id, State::Offered).await;
    two.sender.take().unwrap().stop().await;
    two.receiver().node.files().reject(id, "too late".into()).await.unwrap();
    two.sender = Some(start(settings(&two.dir.path().join("sender"))).await.unwrap());
    let (peer, reason) = (two.receiver().peer_id, "too late".to_owned());
    let rejected = end(&two.sender().node, id).await;
    assert_eq!(rejected, Err(FilesError::Rejected { peer, reason }));
}

#[tokio::test]
async fn a_paused_transfer_stays_paused_and_goes_on_when_it_is_told_to() {
    let mut two = Two::connected().await;
    let id = push(&two.sender().node, two.slow(), &two.receiver().node, &two.out()).await;
    has(&two.receiver().node, id, 2 * MIB).await;
    two.receiver().node.files().pause(id).await.unwrap();
    in_state(&two.sender().node, id, State::PausedByPeer).await;
    two.restart_receiver().await;
    two.restart_sender().await;
    connect(&two.sender().node, two.receiver()).await;
    let paused = two.receiver().node.files().transfer(id).await.unwrap();
    assert_eq!(paused.state, State::Paused);
    assert_eq!(two.sender().node.files().transfer(id).await.unwrap().state, State::PausedByPeer);
    two.receiver().node.files().resume(id).await.unwrap();
    two.completes(id).await;
    end(&two.sender().node, id).await.unwrap();
}

#[tokio::test]
async fn a_file_that_changed_in_between_is_an_error_that_says_so_on_both_sides() {
    let mut two = Two::connected().await;
    let id = push(&two.sender().node, two.slow(), &two.receiver().node, &two.out()).await;
    has(&two.receiver().node, id, 2 * MIB).await;
    two.sender.take().unwrap().stop().await;
    fs::write(two.dir.path().join("in/file"), noise(8 * MIB - 1)).unwrap();
    two.sender = Some(start(settings(&two.dir.path().join("sender"))).await.unwrap());
    for node in [&two.receiver().node, &two.sender().node] {
        let error = end(node, id).await.unwrap_err();
        assert!(matches!(&error, FilesError::Broken { .. }), "{error:?}");
        assert!(error.to_string().contains("changed"), "{error}");
    }
    assert!(!two.out().join("file").exists());
}
