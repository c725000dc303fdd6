//! Content moves: offers, requests, verified ranges.
#![allow(dead_code)]

mod rate;
mod schedule;
