//! Content in real directories: what is served is received, whatever happens in between.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod bench;
mod encoding;
mod faults;
mod hostile;
mod prepare;
mod resume;
mod round_trip;
mod support;
