use std::collections::BTreeMap;

use peerage_api::users::Event;
use peerage_store::Store;
use peerage_types::{Handle, UnixMillis};
use peerage_wire::identity::{
    Bundle, Profile, Signed, SigningKey, Succession,
    frames::{Digests, Entry},
    recovery_commitment,
};
use tokio::{io::DuplexStream, runtime::Handle as Runtime, task::JoinHandle};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt as _};

use super::*;
use crate::{Limits, directory::Spread};

type Pipe = Compat<DuplexStream>;

fn directory(users: impl IntoIterator<Item = u32>) -> Directory {
    limited(users, 100_000)
}

fn limited(people: impl IntoIterator<Item = u32>, users: usize) -> Directory {
    let limits = Limits { users, ..Limits::default() };
    let directory =
        Directory::new(PeerId::random(), limits, Store::in_memory(), Runtime::current());
    for number in people {
        tell(&directory, number, 1);
    }
    directory
}

fn key(number: u32) -> SigningKey {
    SigningKey::from_bytes(&blake3::derive_key("test key", &number.to_be_bytes()))
}

fn recovery() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn user(number: u32) -> UserId {
    UserId(key(number).verifying_key().to_bytes())
}

fn bundle(number: u32, seq: u64) -> Bundle {
    let profile = Profile {
        user: user(number),
        seq,
        handle: Some(Handle::new(&format!("user{number}")).unwrap()),
        display_name: None,
        bio: BTreeMap::new(),
        avatar: None,
        services: [].into(),
        mailboxes: [].into(),
        recovery: recovery_commitment(recovery().verifying_key().as_bytes()),
        updated: UnixMillis::now(),
    };
    Bundle { profile: Some(Signed::sign(profile, &key(number)).unwrap()), ..Bundle::default() }
}

fn tell(directory: &Directory, number: u32, seq: u64) {
    let from = Source::Peer(directory.node());
    assert!(directory.merge(&bundle(number, seq), from, Spread::Here).changed);
}

fn pipe() -> (Pipe, Pipe) {
    let (ours, theirs) = tokio::io::duplex(16 << 10);
    (ours.compat(), theirs.compat())
}

/// A session between two; what each has to say of it.
async fn meet(ours: &Directory, theirs: &Directory, at: Option<UserId>) -> (Report, Report) {
    let (left, right) = pipe();
    let first = tokio::spawn(initiate(left, theirs.node(), ours.clone(), at));
    let second = respond(right, ours.node(), theirs.clone()).await.unwrap();
    (first.await.unwrap().unwrap(), second)
}

fn same(one: &Directory, two: &Directory) -> bool {
    one.digests() == two.digests()
}

#[tokio::test]
async fn equal_directories_need_one_round_trip_and_few_bytes() {
    let [one, two] = [directory(0..200), directory([])];
    (0..200).for_each(|number| {
        let bundle = one.read().bundle(&user(number)).unwrap();
        two.merge(&bundle, Source::Peer(one.node()), Spread::Here);
    });
    let (ours, theirs) = meet(&one, &two, None).await;
    // Length, kind and root there; length and kind back.
    assert_eq!((ours.bytes, theirs.bytes), (4 + 33 + 5, 4 + 33 + 5));
    assert_eq!((ours.sent, ours.learned, ours.at), (0, 0, None));
}

#[tokio::test]
async fn each_learns_what_only_the_other_knew() {
    let [one, two] = [directory(0..300), directory(250..700)];
    tell(&one, 260, 2);
    tell(&two, 270, 3);
    let (ours, theirs) = meet(&one, &two, None).await;
    assert!(same(&one, &two));
    assert_eq!(one.read().len(), 700);
    assert_eq!(ours.at, None);
    assert!(ours.learned > 400 && theirs.learned > 250, "{ours:?} {theirs:?}");
    for (number, seq) in [(260, 2), (270, 3)] {
        assert_eq!(one.profile(&user(number)).unwrap().seq, seq);
        assert_eq!(two.profile(&user(number)).unwrap().seq, seq);
    }
    tell(&two, 5, 2);
    let (ours, theirs) = meet(&one, &two, None).await;
    assert_eq!((ours.learned, ours.sent, theirs.learned), (1, 0, 0), "only what differs travels");
    assert!(ours.bytes < 10_000, "{}", ours.bytes);
    assert_eq!(ours.users, [user(5)]);
}

#[tokio::test]
async fn that_a_key_has_moved_is_told_before_the_profile_of_the_next_one() {
    let mut keys = [1, 2];
    keys.sort_by_key(|number| user(*number));
    let [next, former] = keys;
    for is_asked in [false, true] {
        let ([one, two], known) = ([directory([next]), directory([])], bundle(former, 1));
        for directory in [&one, &two] {
            directory.merge(&known, Source::Peer(directory.node()), Spread::Here);
        }
        let moved = Succession::moved(user(former), &key(next), &recovery(), UnixMillis::now());
        let succession = Some(Signed::sign(moved, &recovery()).unwrap());
        let bundle = Bundle { succession, ..known };
        assert!(one.merge(&bundle, Source::Peer(one.node()), Spread::Here).changed);
        two.outbox().learned.clear();
        match is_asked {
            true => meet(&two, &one, None).await,
            false => meet(&one, &two, None).await,
        };
        let learned = Vec::from(std::mem::take(&mut two.outbox().learned));
        let gone = Event::Revoked { user: user(former), successor: Some(user(next)) };
        assert_eq!(learned, [gone, Event::Changed { user: user(next), seq: 1 }]);
    }
}

#[tokio::test]
async fn a_long_comparison_ends_and_goes_on_in_the_next_session() {
    let [full, empty] = [directory(0..5000), directory([])];
    let (first, _) = meet(&empty, &full, None).await;
    let at = first.at.expect("there is more");
    assert!((MAX_SESSION_BUNDLES..MAX_SESSION_BUNDLES + 300).contains(&empty.read().len()));
    let (second, _) = meet(&empty, &full, Some(at)).await;
    assert_eq!(second.at, None);
    assert!(same(&full, &empty));
}

#[tokio::test]
async fn a_full_node_is_told_of_nobody_new_but_of_changes() {
    let [full, other] = [limited(0..50, 50), directory(0..100)];
    tell(&other, 7, 2);
    for _ in 0..2 {
        let (ours, _) = meet(&full, &other, None).await;
        let (_, back) = meet(&other, &full, None).await;
        assert_eq!((ours.at, back.at), (None, None));
    }
    assert_eq!(full.read().len(), 50);
    assert!((0..50).all(|number| full.profile(&user(number)).is_some()), "nobody made room");
    assert_eq!(full.profile(&user(7)).unwrap().seq, 2);
}

/// A peer that says what it is told to, and the node that answers it.
fn hostile(directory: &Directory) -> (Pipe, JoinHandle<Result<Report, SessionError>>) {
    let (ours, theirs) = pipe();
    (ours, tokio::spawn(respond(theirs, PeerId::random(), directory.clone())))
}

async fn say(stream: &mut Pipe, frame: &Frame) {
    // The other side may have had enough.
    let _ = stream.write_all(&frame.encode()).await;
}

fn everything(entries: Vec<Entry>) -> Page {
    let mut buckets = Buckets::default();
    (0..=u8::MAX).for_each(|bucket| buckets.insert(bucket));
    Page { buckets, after: None, through: None, full: false, entries }
}

#[tokio::test]
async fn forged_records_end_a_session_and_teach_nothing() {
    let victim = directory(0..10);
    let mut forged = bundle(50, 1).encode().to_vec();
    *forged.last_mut().unwrap() ^= 1;
    for (name, bytes) in [("forged", forged), ("garbage", vec![7; 40])] {
        let (mut stream, served) = hostile(&victim);
        say(&mut stream, &Frame::Root([0; 32])).await;
        let entry = Entry { user: user(50), seq: 1, profile: [0; 4], rest: [0; 8] };
        say(&mut stream, &Frame::Page(everything(vec![entry]))).await;
        say(&mut stream, &Frame::Bundles { last: true, bundles: vec![bytes.into()] }).await;
        let error = served.await.unwrap().unwrap_err();
        assert!(matches!(error, SessionError::Record(_)), "{name}: {error}");
        assert!(error.is_misbehaviour());
        assert!(victim.profile(&user(50)).is_none());
    }
    assert_eq!(victim.counts().1, 2);
}

#[tokio::test]
async fn frames_out_of_turn_or_beyond_the_bounds_end_a_session() {
    let victim = directory(0..10);
    let bundles = |count: u32| Frame::Bundles {
        last: true,
        bundles: (100..100 + count).map(|number| bundle(number, 1).encode()).collect(),
    };
    let root = Frame::Root([0; 32]);
    for (frames, misbehaviour) in [
        (vec![Frame::Done], true),
        (vec![Frame::Same], true),
        (vec![root.clone(), root.clone()], true),
        (vec![root.clone(), bundles(1)], true),
        // More than it asked for.
        (vec![root.clone(), Frame::Page(everything(vec![])), bundles(1)], true),
        (vec![root.clone(), Frame::Page(everything(vec![])), Frame::Done], true),
        // A connection that is lost is nobody's fault.
        (vec![root.clone(), Frame::Page(everything(vec![]))], false),
    ] {
        let (mut stream, served) = hostile(&victim);
        for frame in &frames {
            say(&mut stream, frame).await;
        }
        if !misbehaviour {
            drop(stream);
            assert!(!served.await.unwrap().unwrap_err().is_misbehaviour());
            continue;
        }
        assert!(served.await.unwrap().unwrap_err().is_misbehaviour(), "{frames:?}");
    }
    let (mut stream, served) = hostile(&victim);
    stream.write_all(&[0xff; 4]).await.unwrap();
    assert!(matches!(served.await.unwrap(), Err(SessionError::Frame(_))));
    assert_eq!(victim.read().len(), 10);
}

#[tokio::test]
async fn one_who_asks_for_pages_for_ever_is_stopped() {
    let victim = directory(0..10);
    let (mut stream, served) = hostile(&victim);
    let asking = tokio::spawn(async move {
        say(&mut stream, &Frame::Root([0; 32])).await;
        let done = Frame::Bundles { last: true, bundles: vec![] };
        for _ in 0..=MAX_SESSION_PAGES {
            say(&mut stream, &Frame::Page(everything(vec![]))).await;
            say(&mut stream, &done).await;
            // What it answers has to go somewhere.
            let mut sink = vec![0; 4096];
            let _ = stream.read(&mut sink).await;
        }
        futures::io::copy(&mut stream, &mut futures::io::sink()).await
    });
    assert!(matches!(served.await.unwrap(), Err(SessionError::TooMuch)));
    _ = asking.await.unwrap();
}

/// An initiator, and the responder that it believes to talk with.
async fn answered(with: impl Fn(Page) -> Vec<Frame>) -> Result<Report, SessionError> {
    let victim = directory(0..10);
    let (ours, theirs) = pipe();
    let task = tokio::spawn(initiate(ours, PeerId::random(), victim, None));
    let mut liar = Session::new(theirs, PeerId::random(), directory([]));
    let Frame::Root(_) = liar.hear().await.unwrap() else { panic!("no root") };
    let digests: Box<Digests> = Box::new([[9; 16]; 256]);
    liar.say(&Frame::Digests(digests)).await.unwrap();
    let Frame::Page(page) = liar.hear().await.unwrap() else { panic!("no page") };
    for frame in with(page) {
        liar.say(&frame).await.unwrap();
    }
    let outcome = task.await.unwrap();
    drop(liar);
    outcome
}

#[tokio::test]
async fn an_answer_that_does_not_fit_the_question_ends_a_session() {
    let diff = |through, wanted| vec![Frame::Diff { through, wanted }];
    for error in [
        answered(|_| vec![Frame::Done]).await,
        answered(|_| diff(None, vec![10])).await,
        answered(|_| diff(None, (0..1000).collect())).await,
    ] {
        assert!(matches!(error, Err(SessionError::OutOfTurn)), "{error:?}");
    }
    let many = answered(|_| {
        let bundles = (100..400).map(|number| bundle(number, 1).encode());
        let bundles: Vec<_> = bundles.collect();
        let frame = |part: &[Bytes]| Frame::Bundles { last: false, bundles: part.to_vec() };
        diff(None, vec![]).into_iter().chain(bundles.chunks(100).map(frame)).collect()
    });
    assert!(matches!(many.await, Err(SessionError::TooMuch)));
    let empty = answered(|_| {
        let empty = Frame::Bundles { last: false, bundles: vec![] };
        diff(None, vec![]).into_iter().chain(std::iter::repeat_n(empty, 300)).collect()
    });
    assert!(matches!(empty.await, Err(SessionError::TooMuch)));
}
