//! Accounts as whole nodes use them.

mod disk;
mod portable;
mod succession;
mod support;
mod users;
