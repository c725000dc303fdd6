//! A replicated key-value store: signed entries, spaces, change feeds and range reconciliation.
