//! Content moves: offers, requests, verified ranges.
