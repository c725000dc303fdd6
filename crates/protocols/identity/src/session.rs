//! The dialogs: [`initiate`] against [`respond`].

#[cfg(test)]
mod tests;

use std::io;

use bytes::Bytes;
use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use peerage_types::{PeerId, UserId};
use peerage_wire::identity::{
    RecordError,
    frames::{
        Buckets, Frame, FrameError, LENGTH_BYTES, MAX_BATCH_BYTES, MAX_ENTRIES, Page, length,
    },
};
use tokio::task::yield_now;

use crate::{
    Directory, Source,
    bounds::{MAX_PAGE_BUNDLES, MAX_PASSED_ON, MAX_SESSION_BUNDLES, MAX_SESSION_PAGES},
    directory::root,
};

/// How a dialog fails.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    /// The stream broke.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The peer sent something that is no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The peer sent a record that is not valid.
    #[error("a record is not valid: {0}")]
    Record(#[from] RecordError),
    /// The peer broke the order of the protocol.
    #[error("the peer sent something out of turn")]
    OutOfTurn,
    /// The peer sent more than a session may carry.
    #[error("the peer sent more than a session may carry")]
    TooMuch,
}

impl SessionError {
    /// Whether no correct node does such a thing.
    pub(crate) fn is_misbehaviour(&self) -> bool {
        !matches!(self, Self::Io(_))
    }
}

/// What came of a session.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    /// Bundles that taught something.
    pub(crate) learned: usize,
    /// Whom they were about, up to [`MAX_PASSED_ON`].
    pub(crate) users: Vec<UserId>,
    /// Bundles that were sent.
    pub(crate) sent: usize,
    /// Bundles that were received.
    received: usize,
    /// Where the next session goes on; without, everything was compared.
    pub(crate) at: Option<UserId>,
    /// Bytes in both directions.
    pub(crate) bytes: usize,
}

/// Compares with a peer, beginning behind `at`, and exchanges what either lacks.
///
/// | state | sends | awaits |
/// |---|---|---|
/// | asking | `Root` | `Same`: done; `Digests` |
/// | a page | `Page` | `Diff`, `Bundles` to the last |
/// | | `Bundles` to the last | |
/// | at the end | `Done` | |
pub(crate) async fn initiate<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    peer: PeerId,
    directory: Directory,
    at: Option<UserId>,
) -> Result<Report, SessionError> {
    let mut session = Session::new(stream, peer, directory);
    let ours = session.directory.digests();
    session.say(&Frame::Root(root(&ours))).await?;
    let theirs = match session.hear().await? {
        Frame::Same => return session.close().await,
        Frame::Digests(theirs) => theirs,
        _ => return Err(SessionError::OutOfTurn),
    };
    let buckets = Buckets::differing(&ours, &theirs);
    let mut after = at;
    for _ in 0..MAX_SESSION_PAGES {
        after = session.ask(buckets, after).await?;
        if after.is_none() || session.is_long() {
            break;
        }
    }
    session.report.at = after;
    session.say(&Frame::Done).await?;
    session.close().await
}

/// Answers what [`initiate`] asks.
pub(crate) async fn respond<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    peer: PeerId,
    directory: Directory,
) -> Result<Report, SessionError> {
    let mut session = Session::new(stream, peer, directory);
    let Frame::Root(theirs) = session.hear().await? else { return Err(SessionError::OutOfTurn) };
    let ours = session.directory.digests();
    if root(&ours) == theirs {
        session.say(&Frame::Same).await?;
        return session.close().await;
    }
    session.say(&Frame::Digests(ours)).await?;
    for _ in 0..=MAX_SESSION_PAGES {
        match session.hear().await? {
            Frame::Page(page) => session.answer(&page).await?,
            Frame::Done => return session.close().await,
            _ => return Err(SessionError::OutOfTurn),
        }
    }
    Err(SessionError::TooMuch)
}

struct Session<S> {
    stream: S,
    peer: PeerId,
    directory: Directory,
    report: Report,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    fn new(stream: S, peer: PeerId, directory: Directory) -> Self {
        Self { stream, peer, directory, report: Report::default() }
    }

    /// One page as the initiator. Returns where the next begins.
    async fn ask(
        &mut self,
        buckets: Buckets,
        after: Option<UserId>,
    ) -> Result<Option<UserId>, SessionError> {
        let page = self.directory.page(buckets, after);
        self.say(&Frame::Page(page.clone())).await?;
        let Frame::Diff { through, wanted } = self.hear().await? else {
            return Err(SessionError::OutOfTurn);
        };
        // It goes forward, and not farther than was asked.
        let is_ahead = through.is_none_or(|through| Some(through) > after);
        let is_within = page.through.is_none_or(|end| through.is_some_and(|it| it <= end));
        if !is_ahead || !is_within || wanted.len() > MAX_PAGE_BUNDLES + 1 {
            return Err(SessionError::OutOfTurn);
        }
        let place = |place: &u16| page.entries.get(usize::from(*place)).map(|entry| entry.user);
        let wanted: Option<Vec<_>> = wanted.iter().map(place).collect();
        let wanted = wanted.ok_or(SessionError::OutOfTurn)?;
        self.receive(MAX_PAGE_BUNDLES + 1).await?;
        self.send(&wanted).await?;
        Ok(through)
    }

    /// One page as the responder.
    async fn answer(&mut self, page: &Page) -> Result<(), SessionError> {
        if self.is_long() {
            return Err(SessionError::TooMuch);
        }
        let diff = self.directory.compare(page);
        let wanted = diff.wanted.len();
        self.say(&Frame::Diff { through: diff.through, wanted: diff.wanted }).await?;
        self.send(&diff.lacking).await?;
        self.receive(wanted).await
    }

    fn is_long(&self) -> bool {
        self.report.sent.max(self.report.received) >= MAX_SESSION_BUNDLES
    }

    /// Keys that have moved come first: a profile that arrives before that would look like somebody
    /// who pretends to be the contact whose new key it is of.
    async fn send(&mut self, users: &[UserId]) -> Result<(), SessionError> {
        let (mut bundles, mut bytes) = (Vec::new(), 0);
        let (moved, others): (Vec<_>, Vec<_>) =
            users.iter().partition(|user| self.directory.fate(user).is_some());
        for user in moved.into_iter().chain(others) {
            // It may have been evicted since.
            let Some(bundle) = self.directory.bundle(&user) else { continue };
            if bytes + 2 + bundle.len() > MAX_BATCH_BYTES {
                let bundles = std::mem::take(&mut bundles);
                self.say(&Frame::Bundles { last: false, bundles }).await?;
                bytes = 0;
            }
            bytes += 2 + bundle.len();
            bundles.push(bundle);
            self.report.sent += 1;
        }
        self.say(&Frame::Bundles { last: true, bundles }).await
    }

    async fn receive(&mut self, most: usize) -> Result<(), SessionError> {
        // So many frames at most, should each hold one bundle, and an empty one.
        let mut left = most;
        for _ in 0..=most {
            let Frame::Bundles { last, bundles } = self.hear().await? else {
                return Err(SessionError::OutOfTurn);
            };
            left = left.checked_sub(bundles.len()).ok_or(SessionError::TooMuch)?;
            for bundle in &bundles {
                self.learn(bundle)?;
                // Each takes as long as its signatures.
                yield_now().await;
            }
            if last {
                return Ok(());
            }
        }
        Err(SessionError::TooMuch)
    }

    fn learn(&mut self, bundle: &[u8]) -> Result<(), SessionError> {
        let (user, outcome) = self.directory.verify(bundle, Source::Peer(self.peer))?;
        self.report.received += 1;
        if outcome.changed {
            self.report.learned += 1;
            if self.report.users.len() < MAX_PASSED_ON {
                self.report.users.push(user);
            }
        }
        Ok(())
    }

    async fn say(&mut self, frame: &Frame) -> Result<(), SessionError> {
        let bytes = frame.encode();
        self.report.bytes += bytes.len();
        self.stream.write_all(&bytes).await?;
        Ok(self.stream.flush().await?)
    }

    async fn hear(&mut self) -> Result<Frame, SessionError> {
        let mut head = [0; LENGTH_BYTES];
        self.stream.read_exact(&mut head).await?;
        let mut body = vec![0; length(head)?];
        self.stream.read_exact(&mut body).await?;
        self.report.bytes += LENGTH_BYTES + body.len();
        Ok(Frame::decode(&Bytes::from(body))?)
    }

    async fn close(mut self) -> Result<Report, SessionError> {
        self.stream.close().await?;
        Ok(self.report)
    }
}

const _: () = assert!(MAX_PAGE_BUNDLES < MAX_ENTRIES);
