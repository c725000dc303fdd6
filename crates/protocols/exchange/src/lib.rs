//! Typed messages between connected nodes: tell, ask, and be told and asked.
//!
//! A behaviour that answers the facet [`peerage_api::exchange`]. The node that sends opens one
//! long-lived stream to a peer and keeps it; only acks and answers come back on it, so the side that
//! reads them never waits for an application and back-pressure goes one way. Sits beside the other
//! protocol crates and works in anybody's swarm. Invariant: messages of one node to another arrive in
//! the order they were queued, and neither a silent nor a flooding peer holds more than the bounds
//! named here.
//!
//! Wire: [`peerage_wire::exchange`].

mod behaviour;
mod bounds;
mod commands;
mod counts;
mod door;
mod links;
mod registry;
mod replies;
mod session;

pub use behaviour::{Behaviour, Config, Event};
pub use bounds::{
    HANDOVER_TIMEOUT, LINGER_TIMEOUT, MAX_IN_FLIGHT, MAX_INBOUND_PER_PEER, MAX_LISTENED,
    MAX_REPLY_BYTES, MAX_RESPONDERS, MAX_STREAMS, MAX_WAITING, MAX_WAITING_OPENS,
    MAX_WAITING_PER_STREAM,
};
pub use session::Misbehaviour;
