//! Users anywhere: who they are, as far as this node knows, and how that spreads.
//!
//! A [`Directory`] keeps the newest of what users have signed and answers the part of the facet
//! [`peerage_api::users`] that is about everybody; a [`Behaviour`] tells peers and learns from them.
//! Sits between the dialogs and the accounts of this node, and works in anybody's swarm. Invariant:
//! nothing that is not validly signed is kept, shown or passed on, and no peer can make this node
//! forget what others have told, or keep more than [`bounds`] say.
//!
//! | file | decides or does |
//! |---|---|
//! | `known.rs`, `known/` | which record counts, who makes room, what a search finds; pure |
//! | `sessions.rs`, `gossip.rs`, `lookups.rs`, `lost.rs` | with whom to compare when, what to tell when, who waits, who is missed; pure |
//! | `session.rs` | the dialogs |
//! | `directory.rs`, `directory/` | the handle: one lock around `known` |
//! | `verify.rs`, `records.rs` | signatures, on the blocking pool; records of Kademlia |
//! | `persist.rs` | the store |
//! | `behaviour.rs` | events, commands and time |
//!
//! Three ways lead from node to node. A *session* when two meet finds what either lacks, and again
//! from time to time. *Gossip* carries what changes to all who are connected. *Kademlia* has what
//! nobody near knows. All end in [`Known::merge`], and whatever comes has been verified by its type.
//!
//! Wire: [`peerage_wire::identity`].
//!
//! In a swarm of your own, pass the commands of a handle to the directory and poll the swarm; what
//! of gossip and Kademlia is there may be joined to it:
//!
//! ```no_run
//! use futures::StreamExt;
//! use libp2p::{Swarm, SwarmBuilder, noise, swarm::SwarmEvent, tcp, yamux};
//! use peerage_api::{Command, Link, Local, Node, users::Page};
//! use peerage_identity::{Behaviour, Config, Event};
//! use peerage_store::Store;
//! use peerage_types::Network;
//! use tokio::sync::mpsc;
//!
//! async fn run(mut swarm: Swarm<Behaviour>, mut commands: mpsc::Receiver<Command>) {
//!     let directory = swarm.behaviour().directory();
//!     loop {
//!         tokio::select! {
//!             command = commands.recv() => match command {
//!                 Some(Command::Users(command)) => directory.on_command(command),
//!                 Some(_) => {}
//!                 None => return,
//!             },
//!             event = swarm.select_next_some() => match event {
//!                 // Or, once identify has told what the peer speaks, only then.
//!                 SwarmEvent::ConnectionEstablished { peer_id, .. } => {
//!                     swarm.behaviour_mut().on_identified(peer_id, true);
//!                 }
//!                 // Without a DHT nobody else can be asked.
//!                 SwarmEvent::Behaviour(Event::NeedRecord { user, .. }) => {
//!                     swarm.behaviour_mut().on_record(user, None);
//!                 }
//!                 _ => {}
//!             },
//!         }
//!     }
//! }
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let swarm = SwarmBuilder::with_new_identity()
//!     .with_tokio()
//!     .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)?
//!     .with_behaviour(|key| {
//!         let config = Config::new(Network::new("my-net")?, key.public().to_peer_id());
//!         // With a store on disk who is known outlives the process.
//!         Ok(Behaviour::new(config, Store::in_memory()))
//!     })?
//!     .build();
//! let (asks, commands) = mpsc::channel(64);
//! tokio::spawn(run(swarm, commands));
//!
//! let users = Node::new(Link::Local(Local::new(asks))).users();
//! println!("{:?}", users.list(None, Page::default()).await?.items);
//! # Ok(())
//! # }
//! ```

mod behaviour;
pub mod bounds;
mod config;
mod directory;
mod gossip;
mod known;
mod lookups;
mod lost;
mod persist;
mod records;
mod session;
mod sessions;
#[cfg(test)]
mod sim;
mod verify;

pub use behaviour::Behaviour;
pub use config::{Config, Event, Stats, Verdict};
pub use directory::Directory;
pub use known::{Digest, Known, Limits, Outcome, Source};
pub use records::{check_record, is_newer};
