//! What dishonest peers do, and that it is found out.

use bytes::BytesMut;
use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use peerage_types::Hlc;
use peerage_wire::kv::{
    Entry, Kind, SignedEntry,
    frames::{
        self, LENGTH_BYTES, MAX_FRAME_BYTES, Part, Row, Shown, State, encode_entries, length,
    },
};
use proptest::prelude::*;
use tokio::task::JoinHandle;

use super::*;
use crate::{KeyHash, Summary};

/// A peer that says what it is told to.
struct Liar {
    stream: Pipe,
    victim: JoinHandle<Result<Outcome, SessionError>>,
    space: SpaceId,
}

impl Liar {
    /// That opens a session.
    fn asks(victim: &Peer) -> Self {
        Self::within(victim, Bounds::default())
    }

    fn within(victim: &Peer, bounds: Bounds) -> Self {
        let (stream, theirs) = pipe();
        let (replica, id) = (victim.replica.clone(), signer(66).author.peer().unwrap());
        let space = replica.default_space();
        let victim = tokio::spawn(respond_within(bounds, theirs, id, replica, || START));
        Self { stream, victim, space }
    }

    /// That is asked; it has heard the question.
    async fn is_asked(victim: &Peer) -> Self {
        let (stream, theirs) = pipe();
        let (replica, id) = (victim.replica.clone(), signer(66).author.peer().unwrap());
        let space = replica.default_space();
        let victim = tokio::spawn(initiate(theirs, id, space, replica, || START));
        let mut liar = Self { stream, victim, space };
        assert!(matches!(liar.hear().await, Some(Frame::Hello { .. })));
        liar
    }

    async fn say(&mut self, frame: &Frame) {
        // The victim may have had enough.
        let _ = self.stream.write_all(&frame.encode()).await;
    }

    async fn hear(&mut self) -> Option<Frame> {
        let mut head = [0; LENGTH_BYTES];
        self.stream.read_exact(&mut head).await.ok()?;
        let mut body = vec![0; length(head).unwrap()];
        self.stream.read_exact(&mut body).await.ok()?;
        Some(Frame::decode(&body.into()).unwrap())
    }

    /// Hears a turn, without its end; nothing if the session is over.
    async fn hear_turn(&mut self) -> Option<Vec<Frame>> {
        let mut turn = Vec::new();
        loop {
            match self.hear().await? {
                Frame::Turn { .. } => return Some(turn),
                Frame::Done(_) => return None,
                frame => turn.push(frame),
            }
        }
    }

    async fn open(&mut self, state: State) -> Vec<Frame> {
        let facts =
            Facts { floor: floor(START).0, grants: [0; 8], cursor: None, state: Some(state) };
        self.say(&Frame::Hello { space: self.space, facts }).await;
        self.hear_turn().await.unwrap()
    }

    async fn say_turn(&mut self, frames: &[Frame]) {
        for frame in frames {
            self.say(frame).await;
        }
        self.say(&Frame::Turn { cut: false }).await;
    }

    async fn end(self) -> Result<Outcome, SessionError> {
        drop(self.stream);
        self.victim.await.unwrap()
    }

    async fn error(self) -> SessionError {
        let error = self.end().await.unwrap_err();
        assert!(error.is_misbehaviour(), "{error:?}");
        error
    }

    async fn lie(self) -> Lie {
        match self.error().await {
            SessionError::Lie { what } => what,
            error => panic!("{error:?}"),
        }
    }
}

fn item(nibbles: u16, n: u8) -> Item {
    let mut hash: KeyHash = [n; 16];
    hash[..2].copy_from_slice(&nibbles.to_be_bytes());
    Item { hash, fingerprint: [n; 32] }
}

fn sum(items: &[Item]) -> Summary {
    let mut sum = Summary::default();
    items.iter().for_each(|item| sum.add(&item.fingerprint));
    sum
}

fn state(of: &Summary) -> State {
    let (count, digest) = (of.count, of.digest());
    State { partial: false, epoch: 5, as_of: START.0, head: 9, count, digest }
}

fn items(node: Node, items: &[Item]) -> Frame {
    let items = items.iter().map(convert::wire_item).collect();
    Frame::Items(frames::Items { node: convert::wire_node(node), more: false, items })
}

fn part(sum: &Summary) -> Part {
    convert::part_of(sum)
}

fn answer(node: Node, parts: Vec<(u8, Part)>) -> Frame {
    Frame::Rows(vec![Row { node: convert::wire_node(node), answer: true, parts }])
}

fn row(node: Node, parts: Vec<(u8, Part)>) -> Frame {
    Frame::Rows(vec![Row { node: convert::wire_node(node), answer: false, parts }])
}

/// A victim with many entries.
async fn victim() -> Peer {
    let victim = peer(1).await;
    victim.fill("key", 0..2_000).await;
    victim
}

fn entry(space: SpaceId, name: &str, value: &[u8]) -> SignedEntry {
    let signer = signer(66);
    let entry = Entry {
        space,
        key: key(name),
        hlc: Hlc::new(START, 0),
        author: signer.author,
        kind: Kind::Bytes,
        size: value.len() as u32,
        hash: *blake3::hash(value).as_bytes(),
        expires: None,
    };
    SignedEntry::sign(vec![entry], &signer.key).remove(0)
}

fn entries(signed: &SignedEntry, value: Option<&Bytes>) -> Frame {
    let shown = Shown { entry: signed.entry(), proof: signed.proof(), value };
    Frame::Entries(encode_entries(&[shown]).into())
}

#[tokio::test]
async fn parts_that_do_not_add_up_are_a_lie() {
    let victim = victim().await;
    let view = victim.view().await;
    let row_of_root = view.children(vec![Node::ROOT]).await.unwrap()[0];
    let claimed = state(&sum(&[item(0, 1)]));
    let child = Node { level: 1, prefix: 0 };
    let mut whole = view.summary();
    whole.add(&[9; 32]);
    let mut part_of_child = row_of_root[0];
    part_of_child.add(&[9; 32]);
    let consistent = answer(Node::ROOT, vec![(0, part(&part_of_child))]);

    // A row that is not what the digest stands for.
    let mut liar = Liar::asks(&victim);
    liar.open(claimed).await;
    liar.say_turn(std::slice::from_ref(&consistent)).await;
    assert_eq!(liar.lie().await, Lie::Node);
    // One that differs in nothing.
    let mut liar = Liar::asks(&victim);
    liar.open(claimed).await;
    liar.say_turn(&[answer(Node::ROOT, vec![])]).await;
    assert_eq!(liar.lie().await, Lie::Node);
    // One that says that a part differs which does not.
    let mut liar = Liar::asks(&victim);
    liar.open(state(&whole)).await;
    let parts = vec![(0, part(&part_of_child)), (1, part(&row_of_root[1]))];
    liar.say_turn(&[answer(Node::ROOT, parts)]).await;
    assert_eq!(liar.lie().await, Lie::Node);
    // Items that are not what the digest stands for.
    let mut liar = Liar::asks(&victim);
    liar.open(claimed).await;
    liar.say_turn(&[items(Node::ROOT, &[item(0, 2)])]).await;
    assert_eq!(liar.lie().await, Lie::Node);
    // A part that is opened and is not what was said of it.
    for frame in [
        row(child, vec![(0, part(&part_of_child)), (1, part(&whole))]),
        items(child, &[item(0, 1)]),
    ] {
        let mut liar = Liar::asks(&victim);
        liar.open(state(&whole)).await;
        liar.say_turn(&[consistent.clone(), frame]).await;
        assert_eq!(liar.lie().await, Lie::Node);
    }
    // The responder's own row.
    let mut liar = Liar::is_asked(&victim).await;
    let facts = Facts { floor: 0, grants: [0; 8], cursor: None, state: Some(claimed) };
    liar.say(&Frame::Welcome(facts)).await;
    liar.say_turn(&[row(Node::ROOT, vec![(0, part(&whole))])]).await;
    assert_eq!(liar.lie().await, Lie::Node);
}

#[tokio::test]
async fn what_was_announced_must_come() {
    let victim = victim().await;
    let fake = [item(0x1234, 1), item(0x5678, 2)];
    // It has claimed items.
    for frames in [vec![], vec![Frame::Gone(vec![fake[0].hash, fake[1].hash])]] {
        let mut liar = Liar::asks(&victim);
        liar.open(state(&sum(&fake))).await;
        liar.say_turn(&[items(Node::ROOT, &fake)]).await;
        let turn = liar.hear_turn().await.unwrap();
        assert_eq!(turn.last(), Some(&Frame::Want(vec![fake[0].hash, fake[1].hash])));
        assert!(turn.iter().any(|frame| matches!(frame, Frame::Entries(_))));
        liar.say_turn(&frames).await;
        assert_eq!(liar.lie().await, Lie::Promise);
    }
    // One that was away may say that they were deleted.
    let mut liar = Liar::asks(&victim);
    liar.open(State { as_of: 1, ..state(&sum(&fake)) }).await;
    liar.say_turn(&[items(Node::ROOT, &fake)]).await;
    liar.hear_turn().await.unwrap();
    let nothing = Frame::State(state(&Summary::default()));
    let gone = Frame::Gone(vec![fake[0].hash, fake[1].hash]);
    liar.say_turn(&[gone, nothing]).await;
    while liar.hear_turn().await.is_some() {
        liar.say_turn(&[]).await;
    }
    assert!(!liar.end().await.unwrap().equal);
    // It does not answer, or does not open what it says to differ.
    let mut liar = Liar::asks(&victim);
    liar.open(state(&sum(&fake))).await;
    liar.say_turn(&[]).await;
    assert_eq!(liar.lie().await, Lie::Silence);
    let mut whole = victim.view().await.summary();
    let mut first = victim.view().await.children(vec![Node::ROOT]).await.unwrap()[0][0];
    whole.add(&[9; 32]);
    first.add(&[9; 32]);
    let mut liar = Liar::asks(&victim);
    liar.open(state(&whole)).await;
    liar.say_turn(&[answer(Node::ROOT, vec![(0, part(&first))])]).await;
    liar.hear_turn().await.unwrap();
    liar.say_turn(&[]).await;
    assert_eq!(liar.lie().await, Lie::Silence);
}

#[tokio::test]
async fn a_node_whose_items_were_told_must_be_balanced() {
    let victim = peer(1).await;
    victim.fill("key", 0..20).await;
    let ours = victim.view().await.children(vec![Node::ROOT]).await.unwrap()[0];
    let nibble = ours.iter().position(|part| part.count > 0).unwrap() as u8;
    let mut theirs = ours[usize::from(nibble)];
    theirs.add(&[9; 32]);
    let mut whole = victim.view().await.summary();
    whole.add(&[9; 32]);
    let mut liar = Liar::asks(&victim);
    liar.open(state(&whole)).await;
    let child = Node::ROOT.child(nibble).unwrap();
    let parts = vec![(3, part(&theirs))];
    liar.say_turn(&[answer(Node::ROOT, vec![(nibble, part(&theirs))]), row(child, parts)]).await;
    let turn = liar.hear_turn().await.unwrap();
    assert!(matches!(turn[..], [Frame::Items(_)]), "{turn:?}");
    liar.say_turn(&[]).await;
    assert_eq!(liar.lie().await, Lie::Node);
}

#[tokio::test]
async fn frames_out_of_turn_end_the_session() {
    let victim = victim().await;
    let nothing = state(&sum(&[item(0, 1)]));
    let facts = Facts { floor: 0, grants: [0; 8], cursor: None, state: Some(nothing) };
    for first in
        [Frame::Turn { cut: false }, Frame::Done(nothing), Frame::Show, Frame::Welcome(facts)]
    {
        let mut liar = Liar::asks(&victim);
        liar.say(&first).await;
        assert!(matches!(liar.error().await, SessionError::OutOfTurn), "{first:?}");
        let mut liar = Liar::is_asked(&victim).await;
        if !matches!(first, Frame::Show | Frame::Welcome(_)) {
            liar.say(&first).await;
            assert!(matches!(liar.error().await, SessionError::OutOfTurn), "{first:?}");
        }
    }
    let value = Bytes::from_static(b"value");
    for wrong in [
        vec![Frame::Hello { space: victim.replica.default_space(), facts }],
        vec![Frame::Welcome(facts)],
        vec![Frame::Same { epoch: 1, as_of: 1, head: 1 }],
        vec![Frame::Show],
        vec![Frame::State(nothing), Frame::State(nothing)],
        vec![Frame::Want(vec![[1; 16]])],
        vec![Frame::Fetch(vec![([1; 16], [2; 32])])],
        vec![Frame::Value { last: true, bytes: value.clone() }],
        vec![answer(Node { level: 2, prefix: 1 }, vec![])],
        vec![row(Node { level: 2, prefix: 1 }, vec![])],
        vec![row(Node::ROOT, vec![])],
        vec![items(Node { level: 2, prefix: 1 }, &[])],
    ] {
        let mut liar = Liar::asks(&victim);
        liar.open(nothing).await;
        let mut frames = wrong.clone();
        if matches!(wrong[0], Frame::Fetch(_)) {
            frames.push(items(Node::ROOT, &[item(0, 1)]));
        }
        liar.say_turn(&frames).await;
        let error = liar.error().await;
        assert!(matches!(error, SessionError::OutOfTurn), "{wrong:?}: {error:?}");
    }
    let mut liar = Liar::asks(&victim);
    liar.open(nothing).await;
    liar.say_turn(&[Frame::Through(5), Frame::Through(4)]).await;
    assert_eq!(liar.lie().await, Lie::Feed);
}

#[tokio::test]
async fn forged_entries_are_not_stored_and_end_the_session() {
    let victim = peer(1).await;
    let value = Bytes::from_static(b"value");
    let signed = entry(victim.replica.default_space(), "forged", &value);
    let good = entries(&signed, Some(&value));
    let Frame::Entries(body) = &good else { unreachable!() };
    for at in 0..body.len() {
        let mut bytes = BytesMut::from(&body[..]);
        bytes[at] ^= 1;
        let mut liar = Liar::asks(&victim);
        liar.open(state(&sum(&[item(0, 1)]))).await;
        liar.say_turn(&[Frame::Entries(bytes.freeze())]).await;
        let error = liar.error().await;
        assert!(
            matches!(error, SessionError::Entry(_) | SessionError::Frame(_)),
            "{at}: {error:?}"
        );
        assert_eq!(victim.items().await.len(), 0);
    }
    let mut liar = Liar::asks(&victim);
    liar.open(state(&sum(&[item(0, 1)]))).await;
    liar.say_turn(&[good]).await;
    liar.hear_turn().await;
    drop(liar.end().await);
    assert_eq!(victim.items().await.len(), 1);
}

#[tokio::test]
async fn large_values_are_as_long_and_what_they_were_said_to_be() {
    let value = Bytes::from(vec![7; 100_000]);
    let piece = |len: usize, last| Frame::Value { last, bytes: vec![7; len].into() };
    let mut wrong = vec![7; 40_000];
    wrong[5] = 8;
    let wrong = Frame::Value { last: true, bytes: wrong.into() };
    for (frames, is_lie) in [
        (vec![], true),
        (vec![piece(60_000, false)], true),
        (vec![piece(60_000, true)], true),
        (vec![piece(60_000, false), piece(40_001, true)], true),
        (vec![piece(60_000, false), piece(40_000, false), piece(1, true)], true),
        (vec![piece(60_000, false), wrong], false),
    ] {
        let victim = peer(1).await;
        let signed = entry(victim.replica.default_space(), "large", &value);
        let mut liar = Liar::asks(&victim);
        liar.open(state(&sum(&[item(0, 1)]))).await;
        liar.say_turn(&[entries(&signed, None)]).await;
        let turn = liar.hear_turn().await.unwrap();
        assert!(
            matches!(turn.last(), Some(Frame::Fetch(asks)) if asks[0].1 == *signed.fingerprint())
        );
        liar.say_turn(&frames).await;
        match liar.error().await {
            SessionError::Lie { what: Lie::Value } => assert!(is_lie),
            SessionError::Entry(_) => assert!(!is_lie),
            error => panic!("{error:?}"),
        }
        assert_eq!(victim.items().await.len(), 0);
    }
    // One that nobody has signed is not even asked for.
    let victim = peer(1).await;
    let signed = entry(SpaceId([1; 32]), "large", &value);
    let mut liar = Liar::asks(&victim);
    liar.open(state(&sum(&[item(0, 1)]))).await;
    liar.say_turn(&[entries(&signed, None)]).await;
    assert!(matches!(liar.error().await, SessionError::Entry(_)));
}

#[tokio::test]
async fn floods_end_at_a_bound() {
    let victim = victim().await;
    let nothing = state(&sum(&[item(0, 1)]));
    let rows =
        Frame::Rows(vec![
            Row { node: convert::wire_node(Node::ROOT), answer: true, parts: vec![] };
            10_000
        ]);
    let hashes = Frame::Want(vec![[1; 16]; frames::MAX_HASHES]);
    let gone = Frame::Gone(vec![[1; 16]; frames::MAX_HASHES]);
    let fetch = Frame::Fetch(vec![([1; 16], [1; 32]); frames::MAX_FETCHED]);
    let list: Vec<_> = (0..1_000_u16).map(|n| item(n, 1)).collect();
    for (what, frame) in [
        ("rows", rows),
        ("items", hashes),
        ("items", gone),
        ("items", items(Node::ROOT, &list)),
        ("questions for values", fetch),
    ] {
        let mut liar = Liar::asks(&victim);
        liar.open(nothing).await;
        while !liar.victim.is_finished() {
            liar.say(&frame).await;
            tokio::task::yield_now().await;
        }
        let error = liar.error().await;
        assert!(matches!(error, SessionError::TooMuch(of) if of == what), "{what}: {error:?}");
    }
    let bounds = Bounds { received: 100_000, ..Bounds::default() };
    let mut liar = Liar::within(&victim, bounds);
    liar.open(nothing).await;
    let large = entry(liar.space, "large", &[7; 50_000]);
    let value = Bytes::from(vec![7; 50_000]);
    for _ in 0..3 {
        liar.say(&entries(&large, Some(&value))).await;
    }
    assert!(matches!(liar.error().await, SessionError::TooMuch("bytes")));
}

#[tokio::test]
async fn a_peer_that_only_takes_turns_is_done_soon() {
    let victim = victim().await;
    let mut liar = Liar::asks(&victim);
    liar.open(state(&Summary::default())).await;
    let mut turns = 0_u8;
    loop {
        liar.say_turn(&[Frame::State(state(&Summary::default()))]).await;
        turns += 1;
        if liar.hear_turn().await.is_none() {
            break;
        }
    }
    assert!(turns < 10, "{turns}");
    assert!(!liar.end().await.unwrap().equal);
}

#[tokio::test]
async fn frames_that_are_too_long_are_refused_before_they_are_read() {
    let victim = peer(1).await;
    for len in [0, MAX_FRAME_BYTES as u32 + 1, u32::MAX] {
        let mut liar = Liar::asks(&victim);
        liar.stream.write_all(&len.to_be_bytes()).await.unwrap();
        assert!(matches!(liar.error().await, SessionError::Frame(FrameError::Length { .. })));
    }
}

fn garbage() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop::collection::vec(prop::collection::vec(any::<u8>(), 1..200), 0..20)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn no_garbage_breaks_more_than_the_session(garbage in garbage(), kinds in prop::collection::vec(1u8..18, 20), is_greeted: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let victim = peer(1).await;
            victim.fill("key", 0..40).await;
            let mut liar = Liar::asks(&victim);
            if is_greeted {
                liar.open(state(&sum(&[item(0, 1)]))).await;
            }
            for (mut frame, kind) in garbage.into_iter().zip(kinds) {
                frame[0] = kind;
                let bytes = [&(frame.len() as u32).to_be_bytes()[..], &frame].concat();
                let _ = liar.stream.write_all(&bytes).await;
            }
            let _ = liar.end().await;
            victim.assert_sound().await;
            assert_eq!(victim.items().await.len(), 40);
        });
    }
}
