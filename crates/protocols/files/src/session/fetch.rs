//! The fetching side: asks for pieces ahead, verifies and writes them meanwhile.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use peerage_wire::files::{Answer, Refusal, Request, Run, Status};
use tokio::{task::JoinSet, time::timeout};

use super::{SessionError, hear, say};
use crate::{
    download::{Download, Written},
    schedule::Provider,
    traffic::SLICE,
};

/// Pieces that are asked for ahead, at least: one is read, one is prepared and one waits there.
const MIN_AHEAD: usize = 3;
/// And at most: 64 MiB of a path with a long round trip, in the buffers of the network.
const MAX_AHEAD: usize = 64;
/// Pieces of one provider that are verified and written at a time, while the next is read. Two on
/// one file would only wait for each other: the file system writes one at a time.
const MAX_WRITES: usize = 1;
/// How long a provider that has nothing to do waits for something.
const IDLE: Duration = Duration::from_secs(10);
/// How often one looks whether others have owed a piece for too long.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// How fast pieces come. Pure.
#[derive(Debug, Default)]
struct Pace {
    /// Pieces a second, with the time that they waited for the one before to be written: a piece that
    /// lay in the buffers of the network is read in no time, and would let ever more of them lie there.
    rate: f64,
    /// When the last piece was received, unless there has been nothing to ask for since.
    received: Option<Instant>,
}

impl Pace {
    /// A piece that was waited for since `began` is here.
    fn on_received(&mut self, began: Instant, now: Instant) {
        let since = self.received.replace(now).unwrap_or(began);
        let rate = 1.0 / (now - since).as_secs_f64().max(1e-4);
        self.rate = if self.rate == 0.0 { rate } else { 0.8 * self.rate + 0.2 * rate };
    }

    /// Nothing is asked for.
    fn pause(&mut self) {
        self.received = None;
    }

    /// Pieces to ask for ahead on a path with such a round trip: twice what comes meanwhile.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
    fn ahead(&self, round_trip: Duration) -> usize {
        let on_the_way = 2.0 * self.rate * round_trip.as_secs_f64();
        MIN_AHEAD + on_the_way.clamp(0.0, (MAX_AHEAD - MIN_AHEAD) as f64) as usize
    }
}

/// How a fetch ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fetched {
    /// Everything is there.
    All,
    /// Others are at what is missing.
    Idle,
    /// The provider does not have what is missing.
    Useless,
}

/// Fetches from one provider whatever the download gives it to fetch. `round_trip` is that of the
/// path, zero if it is not known.
///
/// Dropping the future frees what was asked for; pieces that are being written are still kept.
pub(crate) async fn fetch<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    opening: Request,
    download: Arc<Download>,
    provider: Provider,
    round_trip: Duration,
) -> Result<Fetched, SessionError> {
    say(&mut stream, &opening).await?;
    match hear(&mut stream).await? {
        Answer::Open { size } if size == download.plan.bytes() => {}
        Answer::Open { .. } => return Err(SessionError::OtherSize),
        Answer::Refused(refusal) => return Err(SessionError::Refused(refusal)),
        _ => return Err(SessionError::OutOfTurn),
    }
    let fetching = Fetching {
        download: Arc::clone(&download),
        provider,
        round_trip,
        owed: VecDeque::new(),
        writes: JoinSet::new(),
        spare: Vec::new(),
        pace: Pace::default(),
        idle_since: None,
    };
    fetching.run(&mut stream).await
}

struct Fetching {
    download: Arc<Download>,
    provider: Provider,
    round_trip: Duration,
    /// Asked for, in this order.
    owed: VecDeque<u32>,
    writes: JoinSet<(Vec<u8>, Written)>,
    /// Buffers to be used again, at most [`MAX_WRITES`] + 1.
    spare: Vec<Vec<u8>>,
    pace: Pace,
    /// Since when there has been nothing to ask for.
    idle_since: Option<Instant>,
}

impl Drop for Fetching {
    fn drop(&mut self) {
        self.writes.detach_all();
        self.download.release(self.provider);
    }
}

impl Fetching {
    async fn run<S: AsyncRead + AsyncWrite + Unpin>(
        mut self,
        stream: &mut S,
    ) -> Result<Fetched, SessionError> {
        loop {
            while let Some(written) = self.writes.try_join_next() {
                self.on_written(written)?;
            }
            self.ask_ahead(stream).await?;
            let Some(piece) = self.owed.pop_front() else {
                while let Some(written) = self.writes.join_next().await {
                    self.on_written(written)?;
                }
                self.pace.pause();
                match self.idle().await {
                    Some(ended) => {
                        stream.close().await?;
                        return Ok(ended);
                    }
                    None => continue,
                }
            };
            self.receive(stream, piece).await?;
        }
    }

    /// Asks for as many pieces as the path can hold.
    async fn ask_ahead<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
    ) -> Result<(), SessionError> {
        let mut runs: Vec<Run> = Vec::new();
        while self.owed.len() < self.pace.ahead(self.round_trip) {
            let Some(piece) = self.download.next(self.provider) else { break };
            self.owed.push_back(piece);
            self.idle_since = None;
            match runs.last_mut() {
                Some(run) if run.first + run.count == piece => run.count += 1,
                _ => runs.push(Run { first: piece, count: 1 }),
            }
        }
        if runs.is_empty() {
            return Ok(());
        }
        let bytes: Vec<u8> = runs.into_iter().flat_map(Run::encode).collect();
        stream.write_all(&bytes).await?;
        Ok(stream.flush().await?)
    }

    /// Reads the next piece and hands it to a worker.
    async fn receive<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        piece: u32,
    ) -> Result<(), SessionError> {
        let began = Instant::now();
        let mut status = [0];
        stream.read_exact(&mut status).await?;
        match Status::decode(status[0]) {
            Some(Status::Ok) => {}
            Some(Status::Missing | Status::Changed | Status::Unreadable) => {
                self.download.on_lacking(self.provider, piece);
                return Ok(());
            }
            Some(Status::Stopped) => return Err(SessionError::Refused(Refusal::Paused)),
            None => return Err(SessionError::OutOfTurn),
        }
        let mut encoded = self.spare.pop().unwrap_or_default();
        encoded.resize(self.download.plan.wire_len(piece), 0);
        if self.download.traffic.is_limited() {
            for slice in encoded.chunks_mut(SLICE) {
                self.download.traffic.pay(slice.len()).await;
                stream.read_exact(slice).await?;
                self.download.traffic.on_bytes(slice.len());
            }
        } else {
            stream.read_exact(&mut encoded).await?;
            self.download.traffic.on_bytes(encoded.len());
        }
        self.pace.on_received(began, Instant::now());
        while self.writes.len() >= MAX_WRITES {
            let written = self.writes.join_next().await.ok_or(SessionError::Abandoned)?;
            self.on_written(written)?;
        }
        let (download, provider) = (Arc::clone(&self.download), self.provider);
        self.writes.spawn_blocking(move || {
            let written = download.write(provider, piece, &encoded);
            (encoded, written)
        });
        Ok(())
    }

    fn on_written(
        &mut self,
        written: Result<(Vec<u8>, Written), tokio::task::JoinError>,
    ) -> Result<(), SessionError> {
        let (buffer, written) = written.map_err(|_| SessionError::Abandoned)?;
        self.spare.push(buffer);
        match written {
            Written::Kept => Ok(()),
            Written::Corrupt => Err(SessionError::Corrupt),
            Written::Failed(error) => Err(SessionError::Write(error)),
        }
    }

    /// There is nothing to ask for: waits until there may be, or says how the fetch ended.
    async fn idle(&mut self) -> Option<Fetched> {
        let since = *self.idle_since.get_or_insert_with(Instant::now);
        let news = self.download.news.notified();
        if self.download.is_complete() {
            return Some(Fetched::All);
        }
        if self.download.is_useless(self.provider) {
            return Some(Fetched::Useless);
        }
        if since.elapsed() >= IDLE {
            return Some(Fetched::Idle);
        }
        // Told or not, it is worth asking again.
        let _ = timeout(LOOK_INTERVAL, news).await;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// What is asked for ahead once pieces have come `apart` for a while, each read in `read`.
    fn ahead(apart: Duration, read: Duration, round_trip: Duration) -> usize {
        let (mut pace, mut now) = (Pace::default(), Instant::now());
        for _ in 0..50 {
            now += apart;
            pace.on_received(now - read, now);
        }
        pace.ahead(round_trip)
    }

    #[test]
    fn a_long_path_is_filled() {
        assert_eq!(ahead(10 * MS, 10 * MS, 100 * MS), MIN_AHEAD + 20);
        assert_eq!(ahead(MS, MS, Duration::from_secs(1)), MAX_AHEAD);
    }

    #[test]
    fn pieces_that_lie_in_the_buffers_already_do_not_bring_more_of_them() {
        assert_eq!(ahead(10 * MS, MS / 100, 5 * MS), MIN_AHEAD + 1);
        // A pause is no slowness.
        let (mut pace, now) = (Pace::default(), Instant::now());
        pace.on_received(now, now + MS);
        let before = pace.ahead(100 * MS);
        pace.pause();
        pace.on_received(now + 5000 * MS, now + 5001 * MS);
        assert_eq!(pace.ahead(100 * MS), before);
    }
}
