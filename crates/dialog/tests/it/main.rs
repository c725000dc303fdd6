//! Dialogs between real swarms.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too, may panic")]

mod endings;
mod limits;
mod outcomes;
mod paths;
mod support;
