//! Who a node knows, whom it stays connected to, and whom it refuses.

mod behaviour;
mod config;
mod denied;
mod handler;

pub use behaviour::{Behaviour, Event};
pub use config::{Autodial, Config};
pub use denied::Denied;
pub use handler::{Handler, Keep};
