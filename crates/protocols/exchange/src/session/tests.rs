//! Both dialogs over an in-memory pipe. Time stands still while anything can run, so that a timeout
//! of the tests fires exactly when all tasks wait for each other.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use futures::{AsyncReadExt, AsyncWriteExt};
use peerage_api::{
    Feeding, Open,
    exchange::{
        Body, ExchangeError, Expect, Incoming, Message, Outbox, Outgoing, Respond, Subscribe,
    },
};
use peerage_types::{MessageType, PeerId};
use peerage_wire::exchange::{Frame, FrameError, Id};
use tokio::{
    io::DuplexStream,
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

use super::{Misbehaviour, Sending, Serving, initiate, respond};
use crate::{
    bounds::{HANDOVER_TIMEOUT, LINGER_TIMEOUT, MAX_IN_FLIGHT, MAX_WAITING_PER_STREAM},
    links::Turns,
    registry::Registry,
};

type Outcome = JoinHandle<Result<(), Misbehaviour>>;
type Items<T> = mpsc::Receiver<Feeding<T>>;

const PIPE: usize = 16 << 10;

fn kind(name: &str) -> MessageType {
    MessageType::new(name).unwrap()
}

fn pipe() -> (Compat<DuplexStream>, Compat<DuplexStream>) {
    let (a, b) = tokio::io::duplex(PIPE);
    (a.compat(), b.compat())
}

/// A stream that we write messages to.
struct Out {
    outbox: Outbox,
    turns: Turns,
    ended: Outcome,
    peer: PeerId,
}

impl Out {
    fn start(stream: Compat<DuplexStream>, after: Option<&Turns>) -> Self {
        let (outbox, messages) = Outbox::new();
        let (turns, peer) = (Turns::default(), PeerId::random());
        let sending = Sending {
            peer,
            messages,
            after: after.map(|turns| turns.done.clone()),
            succeeded: turns.succeeded.clone(),
            done: turns.done.clone().drop_guard(),
            registry: Arc::default(),
        };
        let ended = tokio::spawn(initiate(stream, sending));
        Self { outbox, turns, ended, peer }
    }

    async fn put(&self, name: &str, body: Bytes, expect: Expect) {
        let body = body.into();
        let message = Outgoing { kind: kind(name), body, expect, room: None };
        self.outbox.send(message).await.unwrap();
    }

    async fn send(&self, name: &str, body: impl Into<Bytes>) {
        self.put(name, body.into(), Expect::Nothing).await;
    }

    async fn send_acked(&self, name: &str) -> oneshot::Receiver<Result<(), ExchangeError>> {
        let (door, acked) = oneshot::channel();
        self.put(name, Bytes::new(), Expect::Ack(door)).await;
        acked
    }

    async fn request(
        &self,
        name: &str,
        deadline: Duration,
    ) -> oneshot::Receiver<Result<Body, ExchangeError>> {
        let (reply, answer) = oneshot::channel();
        self.put(name, Bytes::new(), Expect::Response { deadline, reply }).await;
        answer
    }
}

fn serve(
    stream: Compat<DuplexStream>,
    registry: &Arc<Registry>,
    after: Option<&Turns>,
) -> (Turns, Outcome) {
    let turns = Turns::default();
    let serving = Serving {
        peer: PeerId::random(),
        after: after.map(|turns| turns.done.clone()),
        succeeded: turns.succeeded.clone(),
        done: turns.done.clone().drop_guard(),
        registry: Arc::clone(registry),
    };
    (turns, tokio::spawn(respond(stream, serving)))
}

fn connect(registry: &Arc<Registry>) -> Out {
    let (ours, theirs) = pipe();
    serve(theirs, registry, None);
    Out::start(ours, None)
}

fn listen(registry: &Registry, name: &str, capacity: usize) -> Items<Message> {
    let (open, _, items) = Open::new(Subscribe { kinds: vec![kind(name)] }, capacity);
    registry.subscribe(open);
    items
}

fn answer(registry: &Registry, name: &str, capacity: usize) -> Items<Incoming> {
    let (open, _, items) = Open::new(Respond { kind: kind(name) }, capacity);
    registry.respond(open);
    items
}

async fn item<T>(items: &mut Items<T>) -> T {
    match items.recv().await {
        Some(Feeding::Item(item)) => item,
        _ => panic!("no item"),
    }
}

/// Lets everything run until all of it waits.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn messages_of_all_sizes_arrive_in_the_order_they_were_queued() {
    let registry = Arc::default();
    let out = connect(&registry);
    let mut items = listen(&registry, "n", 1024);
    let body = |n: u32| [n.to_be_bytes().to_vec(), vec![0; (n as usize * 37) % 9000]].concat();
    let sent = tokio::spawn(async move {
        for n in 0..2000 {
            out.send("n", body(n)).await;
        }
        out
    });
    for n in 0..2000 {
        assert_eq!(item(&mut items).await.body.data.0, body(n));
    }
    sent.await.unwrap();
    assert_eq!(registry.counts.stats(0).received, 2000);
}

#[tokio::test(start_paused = true)]
async fn an_ack_comes_from_a_listener_and_a_refusal_when_there_is_none() {
    let registry = Arc::default();
    let out = connect(&registry);
    let peer = out.peer;
    let none = out.send_acked("a").await.await.unwrap();
    assert_eq!(none, Err(ExchangeError::NoListener { peer, kind: kind("a") }));
    assert_eq!(registry.counts.stats(0).unheard, 1);

    let mut listeners = [listen(&registry, "a", 1), listen(&registry, "a", 1)];
    assert_eq!(out.send_acked("a").await.await.unwrap(), Ok(()));
    for items in &mut listeners {
        item(items).await;
    }
    drop(listeners);
    assert!(out.send_acked("a").await.await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_request_gets_its_answer_its_refusal_or_no_responder() {
    let registry: Arc<Registry> = Arc::default();
    let out = connect(&registry);
    let peer = out.peer;
    let none = out.request("sum", MINUTE).await.await.unwrap();
    assert_eq!(none, Err(ExchangeError::NoResponder { peer, kind: kind("sum") }));

    let mut requests = answer(&registry, "sum", 8);
    let [one, two] = [out.request("sum", MINUTE).await, out.request("sum", MINUTE).await];
    let [first, second] = [item(&mut requests).await, item(&mut requests).await];
    let now = Instant::now();
    // Answers may come in any order.
    registry.replies().refuse(second.id, "odd".into(), now).unwrap();
    registry.replies().reply(first.id, "42".into(), now).unwrap();
    assert_eq!(one.await.unwrap(), Ok("42".into()));
    assert_eq!(two.await.unwrap(), Err(ExchangeError::Refused { peer, reason: "odd".into() }));

    let request = first.id;
    let again = registry.replies().reply(request, "43".into(), now);
    assert_eq!(again, Err(ExchangeError::TooLate { request }));

    drop(requests);
    let gone = out.request("sum", MINUTE).await.await.unwrap();
    assert!(matches!(gone, Err(ExchangeError::NoResponder { .. })));
}

#[tokio::test(start_paused = true)]
async fn an_answer_after_the_deadline_is_too_late() {
    let registry: Arc<Registry> = Arc::default();
    let out = connect(&registry);
    let mut requests = answer(&registry, "slow", 8);
    let _answer = out.request("slow", Duration::from_millis(5)).await;
    let request = item(&mut requests).await.id;
    let after = Instant::now() + Duration::from_millis(10);
    let late = registry.replies().reply(request, "x".into(), after);
    assert_eq!(late, Err(ExchangeError::TooLate { request }));
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_does_not_read_stops_the_sender_at_a_bounded_number_of_bytes() {
    let registry = Arc::default();
    let out = connect(&registry);
    let mut items = listen(&registry, "bulk", 4);
    const BODY: usize = 64 << 10;
    const MESSAGES: usize = 1000;
    let progress = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let seen = Arc::clone(&progress);
    tokio::spawn(async move {
        for n in 0..MESSAGES {
            let body = Bytes::from(vec![n as u8; BODY]);
            out.send("bulk", body).await;
            seen.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
        std::future::pending::<()>().await;
        drop(out);
    });
    settle().await;
    let queued = progress.load(std::sync::atomic::Ordering::Relaxed) * BODY;
    // The outbox, the listener's four, one on its way to it, and what the pipe and reader hold.
    let bound = Outbox::MAX_BYTES + 5 * BODY + PIPE + 2 * BODY;
    assert!(queued <= bound, "{queued} bytes of at most {bound}");
    assert!(queued >= Outbox::MAX_BYTES, "the queue is used");
    for n in 0..MESSAGES {
        assert_eq!(item(&mut items).await.body.data.0[0], n as u8);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stalled_listener_blocks_neither_answers_nor_the_other_direction() {
    let (here, there) = (Arc::<Registry>::default(), Arc::<Registry>::default());
    let (out, back) = (connect(&there), connect(&here));
    let mut requests = answer(&there, "ask", 8);
    let mut echoes = answer(&here, "ask", 8);
    let _stalled = listen(&there, "bulk", 1);

    let answered = out.request("ask", MINUTE).await;
    let acks = [out.send_acked("bulk").await, out.send_acked("bulk").await];
    let waits = out.request("ask", MINUTE).await;
    let id = item(&mut requests).await.id;
    settle().await;

    // The reader of `there` waits for its listener; its writer and its own stream do not.
    there.replies().reply(id, "still here".into(), Instant::now()).unwrap();
    assert_eq!(answered.await.unwrap(), Ok("still here".into()));
    let [first, second] = acks;
    assert_eq!(first.await.unwrap(), Ok(()));
    let other = back.request("ask", MINUTE).await;
    let id = item(&mut echoes).await.id;
    here.replies().reply(id, "me too".into(), Instant::now()).unwrap();
    assert_eq!(other.await.unwrap(), Ok("me too".into()));
    assert!(timeout(MINUTE, second).await.is_err());
    assert!(timeout(MINUTE, waits).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_learns_that_the_stream_broke() {
    let registry: Arc<Registry> = Arc::default();
    let (ours, theirs) = pipe();
    let (_, serving) = serve(theirs, &registry, None);
    let out = Out::start(ours, None);
    let mut requests = answer(&registry, "ask", 8);
    let waiting = out.request("ask", MINUTE).await;
    let request = item(&mut requests).await.id;
    serving.abort();
    assert!(waiting.await.is_err(), "the door is dropped");
    assert_eq!(out.ended.await.unwrap(), Ok(()));
    assert!(out.outbox.is_closed());
    let late = registry.replies().reply(request, "x".into(), Instant::now());
    assert_eq!(late, Err(ExchangeError::TooLate { request }));
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_requests_is_refused_as_busy_and_ends_with_the_answers() {
    let registry: Arc<Registry> = Arc::default();
    let out = connect(&registry);
    let peer = out.peer;
    let mut requests = answer(&registry, "ask", 2 * MAX_WAITING_PER_STREAM);
    let mut answers = Vec::new();
    for _ in 0..MAX_WAITING_PER_STREAM {
        answers.push(out.request("ask", MINUTE).await);
    }
    for _ in 0..100 {
        let refused = out.request("ask", MINUTE).await.await.unwrap();
        assert_eq!(refused, Err(ExchangeError::Busy { peer }));
    }
    for answer in answers {
        let id = item(&mut requests).await.id;
        registry.replies().reply(id, "ok".into(), Instant::now()).unwrap();
        assert_eq!(answer.await.unwrap(), Ok("ok".into()));
    }
    assert!(requests.try_recv().is_err());
    drop(requests);
    let _requests = answer(&registry, "ask", 1);
    let _waits = out.request("ask", MINUTE).await;
    let full = out.request("ask", MINUTE).await.await.unwrap();
    assert_eq!(full, Err(ExchangeError::Busy { peer }), "the responder's own queue is full");
}

#[tokio::test(start_paused = true)]
async fn requests_whose_deadline_passed_make_room_for_others() {
    let registry: Arc<Registry> = Arc::default();
    let out = connect(&registry);
    let mut requests = answer(&registry, "ask", 2 * MAX_WAITING_PER_STREAM);
    for _ in 0..MAX_WAITING_PER_STREAM {
        // One millisecond of real time, which does not stand still.
        let _given_up = out.request("ask", Duration::from_millis(1)).await;
        item(&mut requests).await;
    }
    let refused_until_expired = async {
        loop {
            let answer = out.request("ask", MINUTE).await;
            settle().await;
            if let Ok(Feeding::Item(request)) = requests.try_recv() {
                registry.replies().reply(request.id, "ok".into(), Instant::now()).unwrap();
                return answer.await.unwrap();
            }
        }
    };
    assert_eq!(refused_until_expired.await, Ok("ok".into()));
}

#[tokio::test(start_paused = true)]
async fn too_many_in_flight_are_refused_here_and_abandoned_ones_make_room() {
    let (ours, _silent) = pipe();
    let out = Out::start(ours, None);
    let peer = out.peer;
    let mut waiting = Vec::new();
    for _ in 0..MAX_IN_FLIGHT {
        waiting.push(out.request("a", MINUTE).await);
    }
    let busy = out.request("a", MINUTE).await.await.unwrap();
    assert_eq!(busy, Err(ExchangeError::Busy { peer }));
    drop(waiting);
    let room = out.request("a", MINUTE).await;
    assert!(timeout(MINUTE, room).await.is_err(), "it is on its way");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_takes_over_comes_after_the_one_before_on_both_sides() {
    let registry = Arc::default();
    let mut items = listen(&registry, "n", 1);
    let ((ours, theirs), (ours2, theirs2)) = (pipe(), pipe());
    let (before, _) = serve(theirs, &registry, None);
    let out = Out::start(ours, None);
    let next = Out::start(ours2, Some(&out.turns));
    let (_, _serving) = serve(theirs2, &registry, Some(&before));
    for n in 0..100u8 {
        out.send("n", vec![n]).await;
    }
    for n in 100..200u8 {
        next.send("n", vec![n]).await;
    }
    out.turns.succeeded.cancel();
    before.succeeded.cancel();
    for n in 0..200u8 {
        assert_eq!(item(&mut items).await.body.data.0[..], [n]);
    }
    assert!(out.outbox.is_closed());
    assert_eq!(out.ended.await.unwrap(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_successor_writes_nothing_until_its_predecessor_has_written_all() {
    let ((ours, mut theirs), (ours2, mut theirs2)) = (pipe(), pipe());
    let out = Out::start(ours, None);
    let next = Out::start(ours2, Some(&out.turns));
    next.send("n", "second").await;
    out.send("n", vec![0; 2 * PIPE]).await;
    out.turns.succeeded.cancel();
    let mut byte = [0];
    assert!(timeout(MINUTE, theirs2.read(&mut byte)).await.is_err());
    theirs.read_to_end(&mut Vec::new()).await.unwrap();
    assert_eq!(theirs2.read(&mut byte).await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_succeeded_stream_that_is_silent_gives_way() {
    let registry = Arc::default();
    let mut items = listen(&registry, "n", 1);
    let (_dead, theirs) = pipe();
    let (before, ended) = serve(theirs, &registry, None);
    let (ours, theirs) = pipe();
    serve(theirs, &registry, Some(&before));
    let out = Out::start(ours, None);
    let start = tokio::time::Instant::now();
    before.succeeded.cancel();
    out.send("n", "x").await;
    assert_eq!(item(&mut items).await.body, "x".into());
    assert_eq!(start.elapsed().as_secs(), HANDOVER_TIMEOUT.as_secs());
    assert_eq!(ended.await.unwrap(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn answers_still_come_on_a_stream_that_has_been_succeeded() {
    let registry: Arc<Registry> = Arc::default();
    let (ours, theirs) = pipe();
    let (turns, serving) = serve(theirs, &registry, None);
    let out = Out::start(ours, None);
    let mut requests = answer(&registry, "ask", 8);
    let waiting = out.request("ask", MINUTE).await;
    out.turns.succeeded.cancel();
    let id = item(&mut requests).await.id;
    turns.done.cancelled().await;
    registry.replies().reply(id, "late but fine".into(), Instant::now()).unwrap();
    assert_eq!(waiting.await.unwrap(), Ok("late but fine".into()));
    assert_eq!(serving.await.unwrap(), Ok(()));
    assert_eq!(out.ended.await.unwrap(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_read_to_its_end_does_not_wait_for_ever_for_an_answer() {
    let registry: Arc<Registry> = Arc::default();
    let (ours, theirs) = pipe();
    let (_, serving) = serve(theirs, &registry, None);
    let out = Out::start(ours, None);
    let mut requests = answer(&registry, "ask", 8);
    let _waiting = out.request("ask", MINUTE).await;
    out.turns.succeeded.cancel();
    let _never_answered = item(&mut requests).await;
    let start = tokio::time::Instant::now();
    assert_eq!(serving.await.unwrap(), Ok(()));
    assert!(start.elapsed() <= MINUTE + LINGER_TIMEOUT + Duration::from_secs(1));
}

async fn write(stream: &mut Compat<DuplexStream>, frame: &Frame) {
    let mut bytes = BytesMut::new();
    frame.encode(&mut bytes);
    stream.write_all(&bytes).await.unwrap();
}

fn ack(id: u64) -> Frame {
    Frame::Ack { id: Id::new(id).unwrap() }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_breaks_the_protocol_ends_its_stream() {
    let registry = Arc::default();
    let (mut raw, theirs) = pipe();
    let (turns, serving) = serve(theirs, &registry, None);
    raw.write_all(&[1, 0x63]).await.unwrap();
    assert_eq!(serving.await.unwrap(), Err(Misbehaviour::Frame(FrameError::Tag(0x63))));
    assert!(turns.done.is_cancelled());
    assert_eq!(raw.read(&mut [0]).await.unwrap(), 0);

    let (mut raw, theirs) = pipe();
    let (_, serving) = serve(theirs, &registry, None);
    write(&mut raw, &ack(1)).await;
    assert_eq!(serving.await.unwrap(), Err(Misbehaviour::Direction));

    let (mut raw, theirs) = pipe();
    let out = Out::start(theirs, None);
    let refused = out.send_acked("a").await;
    let mut sent = [0; 6];
    raw.read_exact(&mut sent).await.unwrap();
    write(&mut raw, &ack(2)).await;
    assert_eq!(out.ended.await.unwrap(), Err(Misbehaviour::Answer { id: 2 }));
    assert!(refused.await.is_err());
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_twice_is_ignored() {
    let (mut raw, theirs) = pipe();
    let out = Out::start(theirs, None);
    let acked = out.send_acked("a").await;
    raw.read_exact(&mut [0; 6]).await.unwrap();
    write(&mut raw, &ack(1)).await;
    write(&mut raw, &ack(1)).await;
    assert_eq!(acked.await.unwrap(), Ok(()));
    drop(raw);
    assert_eq!(out.ended.await.unwrap(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn replies_to_a_peer_that_does_not_read_are_bounded() {
    let registry: Arc<Registry> = Arc::default();
    let (mut raw, theirs) = pipe();
    serve(theirs, &registry, None);
    let mut requests = answer(&registry, "ask", 256);
    for id in 1..=20 {
        let request = Frame::Request {
            id: Id::new(id).unwrap(),
            deadline_ms: 3_600_000,
            kind: kind("ask"),
            encoding: peerage_wire::exchange::Encoding::Bytes,
            body: Bytes::new(),
        };
        write(&mut raw, &request).await;
    }
    let mut taken = 0;
    for _ in 0..20 {
        let id = item(&mut requests).await.id;
        let body = Bytes::from(vec![0; peerage_api::exchange::MAX_BODY_BYTES]);
        let now = Instant::now();
        let replied = registry.replies().reply(id, body.into(), now);
        match replied {
            Ok(()) => taken += 1,
            Err(busy) => {
                assert!(matches!(busy, ExchangeError::Busy { .. }));
                // It is still open, and a refusal always fits.
                registry.replies().refuse(id, "too much".into(), now).unwrap();
            }
        }
    }
    assert_eq!(taken * peerage_api::exchange::MAX_BODY_BYTES, crate::MAX_REPLY_BYTES);
}

#[test]
fn the_limits_of_the_wire_are_those_of_the_contract() {
    use peerage_api::exchange as api;
    use peerage_wire::exchange as wire;
    assert_eq!(wire::MAX_BODY_BYTES, api::MAX_BODY_BYTES);
    assert_eq!(wire::MAX_REASON_BYTES, api::MAX_REASON_BYTES);
    assert_eq!(u64::from(wire::MAX_DEADLINE_MS), api::MAX_DEADLINE_MS);
}
