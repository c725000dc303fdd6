//! The behaviour in real swarms.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod hostile;
mod meeting;
mod support;
