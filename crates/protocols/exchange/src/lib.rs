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
//!
//! In a swarm of your own, pass the commands of a handle to the behaviour and poll the swarm:
//!
//! ```no_run
//! use std::time::Instant;
//!
//! use futures::StreamExt;
//! use libp2p::{Swarm, SwarmBuilder, noise, swarm::{NetworkBehaviour, SwarmEvent}, tcp, yamux};
//! use peerage_api::{Command, Link, Local, Node};
//! use peerage_types::{MessageType, Network};
//! use tokio::sync::mpsc;
//!
//! #[derive(NetworkBehaviour)]
//! struct Mine {
//!     ping: libp2p::ping::Behaviour,
//!     exchange: peerage_exchange::Behaviour,
//! }
//!
//! async fn run(mut swarm: Swarm<Mine>, mut commands: mpsc::Receiver<Command>) {
//!     loop {
//!         tokio::select! {
//!             command = commands.recv() => match command {
//!                 Some(Command::Exchange(command)) => {
//!                     swarm.behaviour_mut().exchange.on_command(command, Instant::now());
//!                 }
//!                 Some(_) => {}
//!                 None => return,
//!             },
//!             event = swarm.select_next_some() => {
//!                 if let SwarmEvent::ConnectionEstablished { peer_id, .. } = event {
//!                     // Or, once identify has told what the peer speaks, only then.
//!                     swarm.behaviour_mut().exchange.on_identified(peer_id, true);
//!                 }
//!             }
//!         }
//!     }
//! }
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let config = peerage_exchange::Config::new(Network::new("my-net")?);
//! let swarm = SwarmBuilder::with_new_identity()
//!     .with_tokio()
//!     .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)?
//!     .with_behaviour(|_| Mine {
//!         ping: Default::default(),
//!         exchange: peerage_exchange::Behaviour::new(config),
//!     })?
//!     .build();
//! let (asks, commands) = mpsc::channel(64);
//! tokio::spawn(run(swarm, commands));
//!
//! let exchange = Node::new(Link::Local(Local::new(asks))).exchange();
//! let mut greetings = exchange.subscribe([MessageType::new("greeting")?]).await?;
//! while let Some(greeting) = greetings.item().await {
//!     exchange.send(greeting.peer, MessageType::new("thanks")?, "hello back", true).await?;
//! }
//! # Ok(())
//! # }
//! ```

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
