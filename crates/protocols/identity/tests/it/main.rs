//! Behaviours in foreign swarms.
