//! Users of this node: their keys, sessions and profiles, contact books, services and storage.
//!
//! Sits beside the driver, not in it: [`Accounts`] takes commands of the facets of users where they
//! are made and answers them at once, from a task, or from the blocking pool (Argon2id). It knows
//! the network only through [`Outside`].
//!
//! Invariant: what belongs to a user is in clear only in memory and only while a session of that
//! user lives; every call on a user's behalf goes through one check of token *and* user,
//! `Inner::check`, and there is no other way to an open account.

mod accounts;
mod archive;
mod contacts;
mod inner;
mod keys;
mod open;
mod outside;
mod presence;
mod row;
mod services;
mod sessions;
mod storage;
mod throttle;
mod turns;
mod users;

pub use accounts::{Accounts, Config};
pub use outside::Outside;
