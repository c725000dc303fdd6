//! Where results and messages go: values to stdout, everything else to stderr.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

mod progress;
pub(crate) mod qr;
mod table;
mod units;

pub(crate) use progress::{Bar, Bars, short};
pub(crate) use table::Table;
pub(crate) use units::{bytes, entries, micros, millis, percent, rate, seconds, since, took};

use crate::failed::Failed;

/// The two ways of speaking: for people, or JSON for scripts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    /// JSON on stdout.
    pub(crate) json: bool,
    /// No messages on stderr other than errors.
    pub(crate) quiet: bool,
}

impl Output {
    /// The one result of a command: as JSON, or as `people` has it.
    pub(crate) fn result<T: Serialize>(
        self,
        value: &T,
        people: impl FnOnce(&T) -> String,
    ) -> Result<(), Failed> {
        if self.json { self.line(value) } else { self.text(&people(value)) }
    }

    /// One item of a stream; the same as [`Output::result`], flushed at once like everything here.
    pub(crate) fn item<T: Serialize>(
        self,
        value: &T,
        people: impl FnOnce(&T) -> String,
    ) -> Result<(), Failed> {
        self.result(value, people)
    }

    /// A line of JSON on stdout.
    pub(crate) fn line<T: Serialize>(self, value: &T) -> Result<(), Failed> {
        let mut line = serde_json::to_vec(value).map_err(io::Error::from)?;
        line.push(b'\n');
        self.raw(&line)
    }

    /// Text on stdout; a missing line end is added.
    pub(crate) fn text(self, text: &str) -> Result<(), Failed> {
        let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        self.raw(format!("{text}{end}").as_bytes())
    }

    /// Bytes on stdout.
    pub(crate) fn raw(self, bytes: &[u8]) -> Result<(), Failed> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes)?;
        Ok(stdout.flush()?)
    }

    /// A message for people on stderr, unless they asked for quiet.
    pub(crate) fn note(self, text: impl std::fmt::Display) {
        if !self.quiet {
            // Nobody is left to tell when stderr is gone.
            let _ = writeln!(io::stderr(), "{text}");
        }
    }

    /// Reports why a command failed: the reason to stderr, and with `--json` typed to stdout.
    pub(crate) fn failed(self, reason: &crate::failed::Reason) {
        let _ = writeln!(io::stderr(), "error: {}", printable(&reason.message));
        if self.json {
            let _ = self.line(&reason.to_json());
        }
    }
}

/// Whether a person looks at stdout.
pub(crate) fn to_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Text of strangers with control characters escaped, so that it cannot play with the terminal.
pub(crate) fn printable(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        // Also the characters that reorder text, which make one thing look like another.
        if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
            safe.extend(c.escape_default());
        } else {
            safe.push(c);
        }
    }
    safe
}

/// A payload for people: text made safe, or its size and base64.
pub(crate) fn payload(payload: &peerage_api::types::Payload) -> String {
    match payload.as_text() {
        Some(text) => printable(text),
        None => {
            let base64 = data_encoding::BASE64.encode(&payload.0);
            format!("({} bytes) {base64}", payload.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_strangers_cannot_play_with_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\nc\u{202e}é"), "a\\u{1b}[2Jb\\nc\\u{202e}é");
        assert_eq!(payload(&b"\xff\x00"[..].to_vec().into()), "(2 bytes) /wA=");
    }
}
