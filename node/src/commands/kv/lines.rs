//! Lines of JSON, as `kv export` writes and `kv import` reads them. Pure: over any bytes, with the
//! time as an argument.

use std::io::{self, BufRead, Read, Write as _};

use peerage_api::{
    kv::{Entry, MAX_BATCH, Value, Write},
    types::{KvKey, UnixMillis},
};
use serde::Serialize;

mod read;

use read::{Bad, read};

/// Bytes of one batch as JSON, unless a single line has more: 8 MiB, so that it is below what a
/// batch may have, and what the daemon takes in one request.
pub(super) const MAX_BATCH_JSON: usize = 8 << 20;

/// Longest line in bytes: a value of 16 MiB of which every byte is written as `\u0000`, and room.
const MAX_LINE_BYTES: u64 = 128 << 20;

/// A line to be written.
#[derive(Debug, Serialize)]
struct Out<'a> {
    key: &'a KvKey,
    #[serde(flatten)]
    value: &'a Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_ms: Option<UnixMillis>,
}

/// Appends an entry as a line. The type is always there, so that nothing changes on the way.
pub(super) fn write(to: &mut Vec<u8>, entry: &Entry) -> io::Result<()> {
    let Entry { key, value, expires_ms, .. } = entry;
    serde_json::to_writer(&mut *to, &Out { key, value, expires_ms: *expires_ms })?;
    to.write_all(b"\n")
}

/// What is written at once.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Batch {
    pub(super) writes: Vec<Write>,
    /// The number of its last line; all up to it are then done.
    pub(super) last: u64,
    /// Bytes of the source up to its end.
    pub(super) read: u64,
    /// Lines whose time was over.
    pub(super) expired: u64,
}

/// Why there is no next batch.
#[derive(Debug)]
pub(super) enum Stuck {
    /// A line makes no sense.
    Line { number: u64, bad: Bad },
    /// The source cannot be read.
    Source(io::Error),
}

/// Cuts lines into batches.
#[derive(Debug)]
pub(super) struct Batches<R> {
    from: R,
    prefix: String,
    /// Lines to pass over.
    skip: u64,
    /// Lines and bytes read.
    line: u64,
    read: u64,
    /// What did not fit the last batch, with its size.
    left: Option<(Write, usize)>,
    /// The line that is read; kept for its room.
    text: Vec<u8>,
}

impl<R: BufRead> Batches<R> {
    pub(super) fn new(from: R, prefix: String, skip: u64) -> Self {
        Self { from, prefix, skip, line: 0, read: 0, left: None, text: Vec::new() }
    }

    /// The next batch; nothing at the end of the source.
    pub(super) fn next(&mut self, now: UnixMillis) -> Result<Option<Batch>, Stuck> {
        let (mut batch, mut size) = (Batch::default(), 0);
        if let Some((write, bytes)) = self.left.take() {
            batch.writes.push(write);
            (batch.last, batch.read, size) = (self.line, self.read, bytes);
        }
        while batch.writes.len() < MAX_BATCH && self.advance()? {
            match self.write(now)? {
                Some(write) => {
                    let bytes = json_size(&write);
                    if size + bytes > MAX_BATCH_JSON && !batch.writes.is_empty() {
                        self.left = Some((write, bytes));
                        return Ok(Some(batch));
                    }
                    batch.writes.push(write);
                    size += bytes;
                }
                None => batch.expired += u64::from(!self.is_passed_over()),
            }
            (batch.last, batch.read) = (self.line, self.read);
        }
        Ok(Some(batch).filter(|batch| batch.last > 0))
    }

    /// Reads a line; false at the end.
    fn advance(&mut self) -> Result<bool, Stuck> {
        self.text.clear();
        let mut bounded = (&mut self.from).take(MAX_LINE_BYTES);
        let count = bounded.read_until(b'\n', &mut self.text).map_err(Stuck::Source)? as u64;
        self.read += count;
        self.line += u64::from(count > 0);
        if count == MAX_LINE_BYTES {
            let bad = Bad::whole(format_args!("it is longer than {MAX_LINE_BYTES} bytes"));
            return Err(Stuck::Line { number: self.line, bad });
        }
        Ok(count > 0)
    }

    /// Whether the line is one to skip, or blank.
    fn is_passed_over(&self) -> bool {
        self.line <= self.skip || self.text.iter().all(u8::is_ascii_whitespace)
    }

    /// What the line asks for, if it is not passed over.
    fn write(&self, now: UnixMillis) -> Result<Option<Write>, Stuck> {
        if self.is_passed_over() {
            return Ok(None);
        }
        let stuck = |bad| Stuck::Line { number: self.line, bad };
        read(&self.text, &self.prefix, now).map_err(stuck)
    }
}

/// Bytes of a write in a request.
fn json_size(write: &Write) -> usize {
    struct Count(usize);
    impl io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // What cannot be said as JSON is told when it is sent.
    let _ = serde_json::to_writer(&mut count, write);
    count.0
}

#[cfg(test)]
mod tests;
