//! Content on disk: planned, hashed, served, received and verified.
