//! Behaviours in real swarms.
