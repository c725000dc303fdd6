//! A replica that several others have something for at once.

use std::{
    cell::Cell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use futures::{StreamExt as _, future::LocalBoxFuture, stream::FuturesUnordered};
use tokio::time::{sleep_until, timeout};

use super::*;
use crate::{
    bounds::PROGRESS_TIMEOUT,
    sessions::{Ended, Sessions},
};

const ENTRIES: u32 = 6_000;

/// An end of a stream whose bytes are counted, and that hangs after some were read.
struct Counted {
    stream: Pipe,
    read: Rc<Cell<u64>>,
    left: usize,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if self.left == 0 {
            return Poll::Pending;
        }
        let most = into.len().min(self.left);
        let read = Pin::new(&mut self.stream).poll_read(cx, &mut into[..most]);
        if let Poll::Ready(Ok(count)) = read {
            self.left -= count;
            self.read.set(self.read.get() + count as u64);
        }
        read
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

type Run = Result<Outcome, SessionError>;

struct Member {
    peer: Peer,
    sessions: Sessions,
}

/// Nodes that meet as their [`Sessions`] say, all with the first one.
struct Meeting {
    members: Vec<Member>,
    running: FuturesUnordered<LocalBoxFuture<'static, (usize, usize, Run, Run)>>,
    /// Bytes that the first one has read.
    read: Rc<Cell<u64>>,
    /// Whoever hangs after it has sent so many bytes to the first one.
    hangs: Option<(usize, usize)>,
}

impl Meeting {
    /// `first`: which of the others the first one asks, instead of being asked by them.
    fn new(peers: Vec<Peer>, first: &[bool], hangs: Option<(usize, usize)>) -> Self {
        let now = tokio::time::Instant::now().into_std();
        let ids: Vec<_> = peers.iter().map(|peer| peer.id).collect();
        let member = |peer: Peer| {
            let mut sessions = Sessions::default();
            sessions.on_joined(peer.replica.default_space(), now);
            Member { peer, sessions }
        };
        let mut members: Vec<_> = peers.into_iter().map(member).collect();
        for (at, asks) in (1..).zip(first) {
            members[0].sessions.on_speaks(ids[at], *asks, now);
            members[at].sessions.on_speaks(ids[0], !asks, now);
        }
        Self { members, running: FuturesUnordered::new(), read: Rc::default(), hangs }
    }

    /// Goes on until the first one has everything and nothing more is under way.
    async fn run(&mut self, entries: u64) {
        loop {
            let now = tokio::time::Instant::now();
            let due = (0..self.members.len()).filter_map(|at| self.open_due(at)).min();
            let stats = self.members[0].peer.replica.stats(Space::Default).await.unwrap();
            if stats.entries == entries && self.running.is_empty() {
                return;
            }
            let due = due.map_or(now + DAY, tokio::time::Instant::from_std);
            tokio::select! {
                Some(ended) = self.running.next() => self.on_ended(ended),
                () = sleep_until(due) => {}
            }
        }
    }

    /// Opens what is due; tells when the next one is.
    fn open_due(&mut self, at: usize) -> Option<std::time::Instant> {
        let now = tokio::time::Instant::now().into_std();
        let Member { peer, sessions } = &mut self.members[at];
        let fills = peer.replica.fills().clone();
        let mut opened = Vec::new();
        while let Some((with, _)) = sessions.next(now, |space| fills.until(space, now)) {
            opened.push(with);
        }
        let due = sessions.deadline();
        for with in opened {
            let other = self.members.iter().position(|it| it.peer.id == with).unwrap();
            self.open(at, other);
        }
        due
    }

    fn open(&self, one: usize, two: usize) {
        let (left, right) = pipe();
        let is_read = |at: usize, other: usize, stream| {
            let read = if at == 0 { self.read.clone() } else { Rc::default() };
            let hangs = self.hangs.filter(|(who, _)| at == 0 && *who == other);
            Counted { stream, read, left: hangs.map_or(usize::MAX, |(_, after)| after) }
        };
        let (left, right) = (is_read(one, two, left), is_read(two, one, right));
        let (first, second) = (&self.members[one].peer, &self.members[two].peer);
        let space = first.replica.default_space();
        let asks = initiate(left, second.id, space, first.replica.clone(), || START);
        let answers = respond(right, first.id, second.replica.clone(), || START);
        self.running.push(Box::pin(async move {
            let hung = || Err(io::Error::from(io::ErrorKind::TimedOut).into());
            let both = async {
                let asks = async { timeout(PROGRESS_TIMEOUT, asks).await };
                let answers = async { timeout(PROGRESS_TIMEOUT, answers).await };
                tokio::join!(asks, answers)
            };
            let (asked, answered) = both.await;
            (one, two, asked.unwrap_or_else(|_| hung()), answered.unwrap_or_else(|_| hung()))
        }));
    }

    /// As the behaviour does.
    fn on_ended(&mut self, (one, two, asked, answered): (usize, usize, Run, Run)) {
        let now = tokio::time::Instant::now().into_std();
        for (at, other, run) in [(one, two, &asked), (two, one, &answered)] {
            let with = self.members[other].peer.id;
            let sessions = &mut self.members[at].sessions;
            if let Ok(Outcome { space, report, equal, .. }) = run {
                let pair = (with, *space);
                if *equal {
                    sessions.on_equal(&pair);
                }
                sessions.on_served(&pair, now);
                if report.entries_in > 0 {
                    sessions.on_learned(&with, *space, now);
                }
            }
        }
        if let Err(SessionError::PutOff { space }) = answered {
            let pair = (self.members[one].peer.id, space);
            self.members[two].sessions.on_put_off(&pair);
        }
        let ended = match &asked {
            Ok(outcome) if outcome.equal => Ended::Equal,
            Ok(_) => Ended::Unfinished,
            Err(error) if error.is_put_off() => Ended::PutOff,
            Err(_) => Ended::Failed,
        };
        let space = self.members[one].peer.replica.default_space();
        let pair = (self.members[two].peer.id, space);
        self.members[one].sessions.on_ended(&pair, ended, 0.5, now);
        self.members[one].sessions.resume(now);
        if !answered.as_ref().is_err_and(SessionError::is_put_off) {
            self.members[two].sessions.resume(now);
        }
    }
}

/// An empty one, and three that have the same.
async fn four() -> Vec<Peer> {
    let (new, source) = (peer(1).await, peer(2).await);
    source.fill("key", 0..ENTRIES).await;
    let mut all = vec![new, source];
    for number in 3..5 {
        let other = peer(number).await;
        meet_quickly(&other, &all[1]).await;
        all.push(other);
    }
    all
}

/// What it takes to send the whole once.
async fn bytes_of_all() -> u64 {
    let (new, source) = (peer(8).await, peer(9).await);
    source.fill("key", 0..ENTRIES).await;
    meet_quickly(&new, &source).await.0.report.received_bytes
}

#[tokio::test(start_paused = true)]
async fn what_three_have_is_sent_once_whoever_asks() {
    let once = bytes_of_all().await;
    for first in [[true; 3], [false; 3], [true, false, true]] {
        let mut meeting = Meeting::new(four().await, &first, None);
        meeting.run(ENTRIES.into()).await;
        let read = meeting.read.get();
        println!("{first:?}: {:.3} times what is needed", read as f64 / once as f64);
        assert!(read * 10 <= once * 11, "{read} bytes instead of {once}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_stalls_keeps_the_others_off_for_its_progress_timeout() {
    let once = bytes_of_all().await;
    for hang_after in [0, 50, once as usize / 4] {
        for first in [[true; 3], [false; 3]] {
            let began = tokio::time::Instant::now();
            let mut meeting = Meeting::new(four().await, &first, Some((1, hang_after)));
            meeting.run(ENTRIES.into()).await;
            let took = began.elapsed();
            println!("hung after {hang_after} bytes: {took:?}");
            assert!(took < PROGRESS_TIMEOUT + Duration::from_secs(10), "{took:?}");
        }
    }
}

#[tokio::test]
async fn a_session_that_brings_little_takes_place_beside_one_that_brings_much() {
    let (one, two) = (peer(1).await, peer(2).await);
    two.fill("key", 0..ENTRIES).await;
    meet(&one, &two).await;
    two.write(vec![put("news", 1)], START).await;
    let filling = one.replica.fills().begin(one.replica.default_space(), std::time::Instant::now());
    assert!(filling.is_some());
    assert!(meet(&one, &two).await.0.equal);
    two.fill("more", 0..2_000).await;
    for (asks, answers) in [(&one, &two), (&two, &one)] {
        let (asked, answered) = run(asks, answers, Bounds::default(), START).await;
        let error = asked.unwrap_err();
        assert!(error.is_put_off() && !error.is_misbehaviour(), "{error}");
        assert!(!answered.unwrap_err().is_misbehaviour());
    }
    drop(filling);
    assert!(meet(&one, &two).await.0.equal);
}
