//! The suite against handles in this process and against remote ones, and whole nodes together.

mod handles;
mod nodes;
