//! Accounts as whole nodes use them.

mod contacts;
mod disk;
mod portable;
mod services;
mod storage;
mod succession;
mod support;
mod users;
