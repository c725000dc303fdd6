//! The serving side: reads and encodes the next piece while one is written.

use std::{collections::VecDeque, sync::Arc};

use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, future};
use peerage_content::{Source, SourceError};
use peerage_wire::files::{RUN_BYTES, Refusal, Run, Status};
use tokio::{
    sync::mpsc,
    task::{JoinHandle, spawn_blocking},
};

use super::SessionError;
use crate::traffic::{SLICE, Traffic};

/// Runs that wait to be served; a peer that asks for more waits. 8 bytes each.
const MAX_RUNS: usize = 128;

/// Pieces that are read, hashed and encoded while one before them is written: 2 MiB.
const MAX_PREPARED: usize = 2;

/// What is served, and who counts it.
#[derive(Debug, Clone)]
pub(crate) struct Serving {
    pub(crate) source: Arc<Source>,
    pub(crate) traffic: Arc<Traffic>,
}

/// Answers runs until the peer closes its side. The error [`SessionError::Refused`] then says that some
/// pieces could not be read, and why.
pub(crate) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    serving: Serving,
) -> Result<(), SessionError> {
    let (mut reader, mut writer) = stream.split();
    let (queue, mut runs) = mpsc::channel(MAX_RUNS);
    let pieces = serving.source.plan().pieces();
    let asked = async {
        let mut bytes = [0; RUN_BYTES];
        loop {
            match reader.read_exact(&mut bytes).await {
                Ok(()) => {}
                Err(end) if end.kind() == std::io::ErrorKind::UnexpectedEof => break,
                Err(broken) => return Err(SessionError::Io(broken)),
            }
            let run = Run::decode(bytes);
            let end = run.first.checked_add(run.count);
            if run.count == 0 || end.is_none_or(|end| end > pieces) {
                return Err(SessionError::OutOfTurn);
            }
            if queue.send(run).await.is_err() {
                break;
            }
        }
        drop(queue);
        Ok(())
    };
    let answered = async {
        let mut line = Line { runs: &mut runs, run: Run { first: 0, count: 0 } };
        let (mut ahead, mut spare) = (VecDeque::new(), Vec::new());
        let mut refused = None;
        loop {
            while ahead.len() < MAX_PREPARED
                && let Some(piece) = line.try_next()
            {
                ahead.push_back(prepare(&serving.source, piece, spare.pop().unwrap_or_default()));
            }
            let Some(ready) = ahead.pop_front() else {
                writer.flush().await?;
                match line.next().await {
                    Some(piece) => line.put_back(piece),
                    None => break,
                }
                continue;
            };
            let prepared = ready.await.map_err(|_| SessionError::Abandoned)?;
            answer(&mut writer, &serving.traffic, &prepared, serving.source.plan()).await?;
            if let Err(error) = &prepared.outcome {
                refused.get_or_insert(refusal(error));
            }
            spare.push(prepared.encoded);
        }
        writer.close().await?;
        refused.map_or(Ok(()), |refusal| Err(SessionError::Refused(refusal)))
    };
    future::try_join(asked, answered).await.map(drop)
}

/// Why a source is not served, as the other side is told.
pub(crate) fn refusal(error: &SourceError) -> Refusal {
    match error {
        SourceError::Changed { .. } => Refusal::Changed,
        SourceError::Missing { .. } | SourceError::Unknown { .. } => Refusal::NotFound,
        _ => Refusal::Unreadable,
    }
}

struct Prepared {
    piece: u32,
    outcome: Result<(), SourceError>,
    encoded: Vec<u8>,
}

fn prepare(source: &Arc<Source>, piece: u32, mut encoded: Vec<u8>) -> JoinHandle<Prepared> {
    let source = Arc::clone(source);
    spawn_blocking(move || {
        let outcome = source.read_piece(piece, &mut encoded);
        Prepared { piece, outcome, encoded }
    })
}

async fn answer<W: AsyncWrite + Unpin>(
    writer: &mut W,
    traffic: &Traffic,
    prepared: &Prepared,
    plan: &peerage_content::Plan,
) -> Result<(), SessionError> {
    let Prepared { piece, outcome, encoded } = prepared;
    if let Err(error) = outcome {
        tracing::warn!(%error, piece, "a shared file cannot be served");
        return Ok(writer.write_all(&[status(error) as u8]).await?);
    }
    writer.write_all(&[Status::Ok as u8]).await?;
    if traffic.is_limited() {
        for slice in encoded.chunks(SLICE) {
            traffic.pay(slice.len()).await;
            writer.write_all(slice).await?;
            writer.flush().await?;
            traffic.on_bytes(slice.len());
        }
    } else {
        writer.write_all(encoded).await?;
        traffic.on_bytes(encoded.len());
    }
    traffic.on_piece(plan.piece_bytes(*piece));
    Ok(())
}

fn status(error: &SourceError) -> Status {
    match error {
        SourceError::Changed { .. } => Status::Changed,
        SourceError::Missing { .. } | SourceError::NoPiece { .. } => Status::Missing,
        _ => Status::Unreadable,
    }
}

/// The pieces that were asked for, in order.
struct Line<'a> {
    runs: &'a mut mpsc::Receiver<Run>,
    run: Run,
}

impl Line<'_> {
    async fn next(&mut self) -> Option<u32> {
        if self.run.count == 0 {
            self.run = self.runs.recv().await?;
        }
        Some(self.take())
    }

    fn try_next(&mut self) -> Option<u32> {
        if self.run.count == 0 {
            self.run = self.runs.try_recv().ok()?;
        }
        Some(self.take())
    }

    /// Has a piece come next that was just taken.
    fn put_back(&mut self, piece: u32) {
        self.run = Run { first: piece, count: self.run.count + 1 };
    }

    fn take(&mut self) -> u32 {
        let piece = self.run.first;
        self.run = Run { first: piece.saturating_add(1), count: self.run.count - 1 };
        piece
    }
}
