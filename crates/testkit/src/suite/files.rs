//! The facet `files`.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use peerage_api::{
    Failure as _, Feeding, Node,
    files::{
        Direction, Event, FilesError, Get, Kind, MakeShare, Publish, Send, Share, Shared, Side,
        State, Transfer, Wanted,
    },
    types::{PeerId, TransferId},
};
use tempfile::TempDir;

use super::id;
use crate::within;

const MIB: usize = 1 << 20;

/// The facet `files`. Both nodes must see the same file system as the test.
pub async fn files(near: &Node, far: &Node) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    pushes(near, far, &dir).await;
    pushes(far, near, &dir).await;
    pulls(near, far, &dir).await;
    stops(near, far, &dir).await;
    refusals(near, far, &dir).await;
    let stats = near.files().stats().await.unwrap();
    assert!(stats.done >= 4 && stats.active == 0 && stats.asked == 0, "{stats:?}");
    assert!(stats.sent_bytes > MIB as u64 && stats.received_bytes > MIB as u64, "{stats:?}");
    assert_eq!((stats.corrupt_bytes, stats.shares, stats.serving), (0, 0, 0), "{stats:?}");
}

/// Bytes that look random and are the same for the same length.
#[must_use]
pub fn noise(len: usize) -> Vec<u8> {
    let mut state = len as u64 + 1;
    let step = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> = std::iter::repeat_with(step).take(len.div_ceil(8)).flatten().collect();
    bytes.truncate(len);
    bytes
}

/// Writes a file of [`noise`].
pub fn put(path: &Path, len: usize) -> PathBuf {
    fs::create_dir_all(path.parent().expect("a file in a directory")).unwrap();
    fs::write(path, noise(len)).unwrap();
    path.to_owned()
}

/// What is below a directory: its files, and directories as `None`.
#[must_use]
pub fn tree(dir: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(next) = dirs.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let content = path.is_file().then(|| fs::read(&path).unwrap());
            if path.is_dir() {
                dirs.push(path.clone());
            }
            found.insert(path.strip_prefix(dir).expect("it is below").to_owned(), content);
        }
    }
    found
}

/// Waits until the transfer is as it should be.
pub async fn until(
    what: &str,
    node: &Node,
    transfer: TransferId,
    is_it: impl Fn(&Transfer) -> bool,
) -> Transfer {
    let mut events = node.files().events(Some(transfer)).await.unwrap();
    within(what, async {
        loop {
            // Unknown until it is offered.
            match node.files().transfer(transfer).await {
                Ok(now) if is_it(&now) => return now,
                Ok(_) | Err(FilesError::UnknownTransfer { .. }) => {}
                Err(error) => panic!("{what}: {error}"),
            }
            assert!(events.next().await.is_some(), "{what}: the events ended");
        }
    })
    .await
}

/// Waits until the transfer stands so.
pub async fn in_state(node: &Node, transfer: TransferId, state: State) -> Transfer {
    let is_it = |now: &Transfer| {
        let wrong_end = now.state.is_over() && now.state != state && !state.is_over();
        assert!(!wrong_end, "{state} was expected of {now:#?}");
        now.state == state
    };
    until(state.as_str(), node, transfer, is_it).await
}

/// A send of one path without a limit.
#[must_use]
pub fn send(path: &Path, to: PeerId) -> Send {
    Send::new(vec![path.to_owned()], to)
}

/// A get without options.
#[must_use]
pub fn get(wanted: Wanted, into: &Path) -> Get {
    Get::new(wanted, Some(into.to_owned()))
}

/// Shares one path and returns the share and its ticket.
pub async fn share(node: &Node, path: &Path) -> (Share, String) {
    let request = MakeShare { paths: vec![path.to_owned()], share: None, keep_links: false };
    let share = within("a share", node.files().share(request)).await.unwrap();
    let Shared::Content { ticket, .. } = share.what.clone() else { panic!("{share:?}") };
    (share, ticket)
}

/// The end of a transfer, whichever.
///
/// # Errors
/// What ended it, if that is not its completion.
pub async fn end(node: &Node, transfer: TransferId) -> Result<Transfer, FilesError> {
    within("the end of a transfer", node.files().wait(transfer)).await
}

async fn pushes(from: &Node, to: &Node, dir: &TempDir) {
    let (sender, receiver) = (id(from).await, id(to).await);
    let place = tempfile::tempdir_in(dir).unwrap();
    let path = put(&place.path().join("in/ä file"), 2 * MIB + 3);
    let mut offers = to.files().events(None).await.unwrap();
    let sent = from.files().send(send(&path, receiver)).await.unwrap();
    assert_eq!((sent.direction, sent.peer), (Direction::Send, Some(receiver)));
    let asked = within("an offer", async {
        loop {
            match offers.next().await {
                Some(Feeding::Item(Event::State { transfer }))
                    if transfer.state == State::Asked =>
                {
                    return transfer;
                }
                Some(_) => {}
                None => panic!("the events ended"),
            }
        }
    })
    .await;
    assert_eq!((asked.transfer, asked.peer), (sent.transfer, Some(sender)));
    assert_eq!((asked.bytes, asked.files, &*asked.name), (2 * MIB as u64 + 3, 1, "ä file"));
    in_state(from, sent.transfer, State::Offered).await;
    let out = place.path().join("out/deep");
    to.files().accept(asked.transfer, Some(out.clone())).await.unwrap();
    let got = end(to, asked.transfer).await.unwrap();
    assert_eq!(got.paths, [out.join("ä file")]);
    assert!(fs::read(&got.paths[0]).unwrap() == noise(2 * MIB + 3));
    assert_eq!((got.done_bytes, got.kind, got.resumed_bytes), (got.bytes, Kind::File, 0));
    assert!(got.wire_bytes > got.bytes && got.finished_ms.is_some());
    let done = end(from, sent.transfer).await.unwrap();
    assert_eq!((done.hash, done.done_bytes), (got.hash, got.bytes));

    let mut feed = to.files().events(Some(asked.transfer)).await.unwrap();
    let first = within("how it stands", feed.item()).await;
    assert!(matches!(first, Some(Event::State { transfer }) if transfer.state == State::Done));
    for node in [from, to] {
        node.files().forget(sent.transfer).await.unwrap();
        let gone = node.files().transfer(sent.transfer).await.unwrap_err();
        assert_eq!(gone, FilesError::UnknownTransfer { transfer: sent.transfer });
    }
    assert!(got.paths[0].exists(), "what is forgotten stays");

    let sent = from.files().send(send(&path, receiver)).await.unwrap().transfer;
    in_state(to, sent, State::Asked).await;
    to.files().reject(sent, "not today".into()).await.unwrap();
    let rejected = end(from, sent).await.unwrap_err();
    assert!(rejected.is_refusal());
    assert_eq!(rejected, FilesError::Rejected { peer: receiver, reason: "not today".into() });
    assert_eq!(to.files().transfer(sent).await.unwrap().state, State::Rejected);
}

async fn pulls(near: &Node, far: &Node, dir: &TempDir) {
    let remote = id(far).await;
    let place = tempfile::tempdir_in(dir).unwrap();
    let top = place.path().join("in/tree");
    put(&top.join("large"), MIB + 1);
    put(&top.join("empty"), 0);
    for n in 0..20 {
        put(&top.join(format!("sub/{}/{n}", n % 3)), 100 * n);
    }
    fs::create_dir(top.join("nothing in it")).unwrap();
    let (shared, ticket) = share(far, &top).await;
    let (here, there) = (place.path().join("here"), place.path().join("there"));
    let got = near.files().get(get(Wanted::Ticket(ticket.clone()), &here)).await.unwrap();
    let got = end(near, got.transfer).await.unwrap();
    assert_eq!((got.kind, got.files, got.paths.clone()), (Kind::Tree, 22, vec![here.join("tree")]));
    assert!(tree(&here.join("tree")) == tree(&top), "the trees differ");
    let shares = far.files().shares().await.unwrap();
    let served = shares.iter().find(|s| s.share == shared.share).unwrap().served_bytes;
    assert!(served >= got.bytes, "{served} of {} bytes are counted", got.bytes);
    let renamed = Get { name: Some("other".into()), ..get(Wanted::Ticket(ticket.clone()), &here) };
    let renamed = near.files().get(renamed).await.unwrap().transfer;
    assert_eq!(end(near, renamed).await.unwrap().paths, [here.join("other")]);

    far.files().unshare(shared.share).await.unwrap();
    let late = near.files().get(get(Wanted::Ticket(ticket), &here)).await.unwrap();
    let gone = end(near, late.transfer).await.unwrap_err();
    assert_eq!(gone, FilesError::NotThere { peer: remote, hash: got.hash.unwrap() });
    let unknown = far.files().unshare(shared.share).await.unwrap_err();
    assert_eq!(unknown, FilesError::UnknownShare { share: shared.share.to_string() });

    let publish = Publish { path: top.clone(), name: Some("docs".into()), readers: vec![] };
    let published = far.files().publish(publish.clone()).await.unwrap();
    let taken = far.files().publish(publish).await.unwrap_err();
    assert!(matches!(taken, FilesError::Path { .. }), "{taken:?}");
    let wanted = |path: &str| Wanted::Published { peer: remote, path: path.into() };
    let one = near.files().get(get(wanted("docs/sub/1"), &there)).await.unwrap().transfer;
    let one = end(near, one).await.unwrap();
    assert_eq!((&*one.name, one.paths), ("1", vec![there.join("1")]));
    assert!(tree(&there.join("1")) == tree(&top.join("sub/1")));
    let none = near.files().get(get(wanted("docs/none"), &there)).await.unwrap().transfer;
    let path = "docs/none".to_owned();
    assert_eq!(end(near, none).await, Err(FilesError::NotPublished { peer: remote, path }));
    far.files().unshare(published.share).await.unwrap();
}

async fn stops(near: &Node, far: &Node, dir: &TempDir) {
    let remote = id(far).await;
    let place = tempfile::tempdir_in(dir).unwrap();
    let path = put(&place.path().join("file"), 3 * MIB);
    let out = place.path().join("out");
    let slow = |limit| Send { limit_bps: Some(limit), ..send(&path, remote) };
    let sent = near.files().send(slow(4_000_000)).await.unwrap().transfer;
    in_state(far, sent, State::Asked).await;
    far.files().accept(sent, Some(out.clone())).await.unwrap();
    for (one, other) in [(near, far), (far, near)] {
        in_state(one, sent, State::Running).await;
        in_state(other, sent, State::Running).await;
        assert_eq!(one.files().pause(sent).await.unwrap().state, State::Paused);
        in_state(other, sent, State::PausedByPeer).await;
        let again = one.files().pause(sent).await.unwrap_err();
        assert!(matches!(again, FilesError::WrongState { state: State::Paused, .. }), "{again:?}");
        one.files().resume(sent).await.unwrap();
    }
    end(far, sent).await.unwrap();
    end(near, sent).await.unwrap();
    assert!(fs::read(out.join("file")).unwrap() == noise(3 * MIB));

    for (one, other) in [(near, far), (far, near)] {
        let sent = near.files().send(slow(100_000)).await.unwrap().transfer;
        in_state(far, sent, State::Asked).await;
        far.files().accept(sent, Some(out.clone())).await.unwrap();
        in_state(one, sent, State::Running).await;
        one.files().cancel(sent).await.unwrap();
        assert_eq!(end(other, sent).await, Err(FilesError::Cancelled { by: Side::Them }));
        assert_eq!(end(one, sent).await, Err(FilesError::Cancelled { by: Side::Us }));
        one.files().forget(sent).await.unwrap();
    }
    let mine = near.files().send(send(&path, remote)).await.unwrap().transfer;
    in_state(far, mine, State::Asked).await;
    near.files().cancel(mine).await.unwrap();
    in_state(far, mine, State::Cancelled).await;
    let late = far.files().accept(mine, None).await.unwrap_err();
    assert!(matches!(late, FilesError::WrongState { state: State::Cancelled, .. }), "{late:?}");
}

async fn refusals(near: &Node, far: &Node, dir: &TempDir) {
    let (local, remote) = (id(near).await, id(far).await);
    let here = near.files();
    let path = put(&dir.path().join("a file"), 10);
    let nobody = TransferId([9; 8]);
    let unknown = FilesError::UnknownTransfer { transfer: nobody };
    assert_eq!(here.transfer(nobody).await, Err(unknown.clone()));
    assert_eq!(here.accept(nobody, None).await, Err(unknown.clone()));
    assert_eq!(here.reject(nobody, String::new()).await, Err(unknown.clone()));
    assert_eq!(here.pause(nobody).await, Err(unknown.clone()));
    assert_eq!(here.resume(nobody).await, Err(unknown.clone()));
    assert_eq!(here.cancel(nobody).await, Err(unknown.clone()));
    assert_eq!(here.forget(nobody).await, Err(unknown));
    let none = Send { paths: vec![], ..send(&path, remote) };
    assert!(matches!(here.send(none).await, Err(FilesError::TooMany { .. })));
    let relative = here.send(send(Path::new("a file"), remote)).await.unwrap_err();
    assert!(matches!(relative, FilesError::Path { .. }), "{relative:?}");
    let missing = here.send(send(&dir.path().join("none"), remote)).await.unwrap();
    let missing = end(near, missing.transfer).await.unwrap_err();
    assert!(matches!(&missing, FilesError::Path { path, .. } if path.ends_with("none")));
    let own = here.send(send(&path, local)).await.unwrap_err();
    assert!(matches!(own, FilesError::Unreachable { peer, .. } if peer == local), "{own:?}");
    let bad = here.get(get(Wanted::Ticket("peeragefile1qqq".into()), dir.path())).await;
    assert!(matches!(bad, Err(FilesError::BadTicket { .. })), "{bad:?}");
    let taken = TransferId([8; 8]);
    let first = Send { transfer: Some(taken), ..send(&path, remote) };
    assert_eq!(here.send(first.clone()).await.unwrap().transfer, taken);
    let second = here.send(first).await.unwrap_err();
    assert!(matches!(second, FilesError::WrongState { .. }), "{second:?}");
    here.cancel(taken).await.unwrap();
    here.forget(taken).await.unwrap();
}
