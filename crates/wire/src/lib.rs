//! Every byte that Peerage nodes send each other, and nothing else.
//!
//! One module per protocol, each with its protocol id, its frames and a decoder that is fed from the
//! network. Knows the shared nouns of `peerage-types` and neither streams nor runtimes. Invariant:
//! no input makes a decoder panic or allocate more than it was given, and what it accepts encodes
//! back to the same bytes.

pub mod exchange;
pub mod files;
pub mod fuzz;
pub mod identity;
pub mod introductions;
pub mod kv;
pub mod link;
pub mod mainline;
