//! Accounts as whole nodes use them.

mod support;
