//! The binary as scripts and people use it: real processes on loopback.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod cli;
mod config;
mod files;
mod http;
mod kv;
mod lifecycle;
mod relayed;
mod sandbox;
mod talk;
mod users;
