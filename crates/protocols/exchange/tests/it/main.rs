//! Behaviours in swarms.
