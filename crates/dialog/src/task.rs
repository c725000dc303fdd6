//! The task around one dialog: waits for the substream, runs the dialog, watches the time.

use std::{future::pending, io, time::Duration};

use futures::AsyncWriteExt;
use tokio::{
    select,
    sync::oneshot,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    DialogError, Side, Stream,
    config::{CLOSED_GRACE, REFUSAL_TIMEOUT, STATUS_TIMEOUT},
    gate::{ACCEPTED, Answer, BUSY},
    stream::Tally,
};

/// Looks at a stream's byte count so often per progress timeout.
const STALL_LOOKS: u32 = 4;

/// A negotiated substream and the connection's obituary.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) stream: Stream,
    pub(crate) closed: CancellationToken,
}

/// What ends a dialog from outside.
#[derive(Debug)]
pub(crate) struct Limits {
    pub(crate) open_timeout: Duration,
    pub(crate) progress_timeout: Option<Duration>,
    pub(crate) until: Option<CancellationToken>,
}

/// Waits for the substream, then runs the dialog on it.
pub(crate) async fn initiate<T, F, Fut>(
    opened: oneshot::Receiver<Result<Opened, DialogError>>,
    limits: Limits,
    dialog: F,
) -> Result<T, DialogError>
where
    F: FnOnce(Stream) -> Fut,
    Fut: Future<Output = T>,
{
    let Limits { open_timeout, progress_timeout, until } = limits;
    let work = async {
        let opened = match timeout(open_timeout, opened).await {
            Ok(Ok(opened)) => opened?,
            // The other half is dropped unused only together with this task's entry.
            Ok(Err(_)) => return Err(DialogError::Cancelled),
            Err(_) => return Err(DialogError::OpenTimeout),
        };
        run(opened, progress_timeout, dialog).await
    };
    unless_cancelled(until, work).await
}

/// Accepts the substream, then runs the dialog on it.
pub(crate) async fn respond<T, F, Fut>(
    mut substream: libp2p_swarm::Stream,
    plain: bool,
    wrap: impl FnOnce(libp2p_swarm::Stream) -> Opened,
    limits: Limits,
    dialog: F,
) -> Result<T, DialogError>
where
    F: FnOnce(Stream) -> Fut,
    Fut: Future<Output = T>,
{
    let Limits { open_timeout, progress_timeout, until } = limits;
    let work = async {
        if !plain {
            match timeout(open_timeout, say(&mut substream, ACCEPTED)).await {
                Ok(said) => said.map_err(DialogError::before_start)?,
                Err(_) => return Err(DialogError::Stalled),
            }
        }
        run(wrap(substream), progress_timeout, dialog).await
    };
    unless_cancelled(until, work).await
}

/// Tells the remote that there is no room for its dialog.
pub(crate) async fn refuse(mut substream: libp2p_swarm::Stream) {
    // A refusal is not worth an otherwise idle connection.
    substream.ignore_for_keep_alive();
    let said = timeout(REFUSAL_TIMEOUT, async {
        say(&mut substream, BUSY).await?;
        substream.close().await
    });
    if let Ok(Err(error)) = said.await {
        tracing::debug!(%error, "refusal not delivered");
    }
}

async fn say(substream: &mut libp2p_swarm::Stream, status: u8) -> io::Result<()> {
    substream.write_all(&[status]).await?;
    substream.flush().await
}

async fn run<T, F, Fut>(
    Opened { stream, closed }: Opened,
    progress_timeout: Option<Duration>,
    dialog: F,
) -> Result<T, DialogError>
where
    F: FnOnce(Stream) -> Fut,
    Fut: Future<Output = T>,
{
    let tally = stream.tally();
    let outcome = select! {
        biased;
        value = dialog(stream) => Ok(value),
        () = stalled(&tally, progress_timeout) => Err(DialogError::Stalled),
        () = gone(&closed) => Err(DialogError::Closed),
    };
    let busy = tally.is_busy() || (outcome.is_ok() && refused_unseen(&tally, &closed).await);
    if busy { Err(DialogError::Busy { by: Side::Remote }) } else { outcome }
}

/// A dialog that only wrote may have ended before the refusal came.
async fn refused_unseen(tally: &Tally, closed: &CancellationToken) -> bool {
    let Some(mut substream) = tally.take_unanswered() else { return false };
    select! {
        biased;
        answer = substream.answered() => answer == Answer::Busy,
        () = closed.cancelled() => false,
        () = sleep(STATUS_TIMEOUT) => false,
    }
}

async fn unless_cancelled<T>(
    until: Option<CancellationToken>,
    work: impl Future<Output = Result<T, DialogError>>,
) -> Result<T, DialogError> {
    let cancelled = async {
        match until {
            Some(token) => token.cancelled().await,
            None => pending().await,
        }
    };
    select! {
        biased;
        () = cancelled => Err(DialogError::Cancelled),
        outcome = work => outcome,
    }
}

async fn gone(closed: &CancellationToken) {
    closed.cancelled().await;
    sleep(CLOSED_GRACE).await;
}

/// Compares a counter, so that no I/O operation has to read a clock.
async fn stalled(tally: &Tally, timeout: Option<Duration>) {
    let Some(timeout) = timeout else { return pending().await };
    let (mut seen, mut idle) = (tally.bytes(), 0);
    while idle < STALL_LOOKS {
        sleep(timeout / STALL_LOOKS).await;
        let now = tally.bytes();
        idle = if now == seen { idle + 1 } else { 0 };
        seen = now;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(40);

    #[tokio::test(start_paused = true)]
    async fn a_dialog_without_progress_is_stalled_after_its_timeout() {
        let started = Instant::now();
        stalled(&Tally::default(), Some(TIMEOUT)).await;
        assert_eq!(started.elapsed(), TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_single_byte_now_and_then_is_progress() {
        let tally = Tally::default();
        let started = Instant::now();
        let trickle = async {
            for _ in 0..10 {
                sleep(TIMEOUT - Duration::from_secs(1)).await;
                tally.count(1);
            }
            Instant::now()
        };
        let ((), last) = futures::join!(stalled(&tally, Some(TIMEOUT)), trickle);
        let idle = started.elapsed() - (last - started);
        assert!(idle >= TIMEOUT && idle <= TIMEOUT * 5 / 4, "{idle:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn without_timeout_a_dialog_never_stalls() {
        let waited = timeout(TIMEOUT * 1000, stalled(&Tally::default(), None)).await;
        assert!(waited.is_err());
    }
}
