//! Content moves: offers, requests, verified pieces.
//!
//! A behaviour that answers the facet [`peerage_api::files`]. Everything reduces to: a receiver pulls
//! verified pieces by hash from one or more providers. Pushes begin with an offer, pulls with a
//! ticket or a published path. Sits between the dialogs and `peerage-content`, which knows the disk,
//! and works in anybody's swarm. Invariant: no byte of content passes through the behaviour, and none
//! is written before it verifies against the hash that its user asked for.
//!
//! | file | decides or does |
//! |---|---|
//! | `schedule.rs` | which piece is asked of whom; pure |
//! | `providers.rs`, `rate.rs` | whom to try when, how fast; pure |
//! | `session/` | the dialogs: bytes between a stream, workers and the disk |
//! | `send.rs`, `receive.rs`, `fetching.rs`, `finishing.rs`, `shares.rs` | what a transfer or share needs next |
//! | `inbound.rs` | what peers may have |
//! | `behaviour.rs`, `standing.rs`, `commands.rs` | events, states, commands and time |
//!
//! Wire: [`peerage_wire::files`].
//!
//! In a swarm of your own, pass the commands of a handle to the behaviour, dial whom it asks for and
//! poll the swarm:
//!
//! ```no_run
//! use std::time::Instant;
//!
//! use futures::StreamExt;
//! use libp2p::{
//!     Swarm, SwarmBuilder, noise,
//!     swarm::{SwarmEvent, dial_opts::DialOpts},
//!     tcp, yamux,
//! };
//! use peerage_api::{Command, Link, Local, Node, files::{Get, Wanted}};
//! use peerage_files::{Behaviour, Config, Event};
//! use peerage_store::{Store, TransfersSnapshot};
//! use peerage_types::Network;
//! use tokio::sync::mpsc;
//!
//! async fn run(mut swarm: Swarm<Behaviour>, mut commands: mpsc::Receiver<Command>) {
//!     loop {
//!         tokio::select! {
//!             command = commands.recv() => match command {
//!                 Some(Command::Files(command)) => {
//!                     swarm.behaviour_mut().on_command(command, Instant::now());
//!                 }
//!                 Some(_) => {}
//!                 None => return,
//!             },
//!             event = swarm.select_next_some() => match event {
//!                 SwarmEvent::Behaviour(Event::Connect(ask)) => {
//!                     let Some(peer) = ask.request.peer else { continue };
//!                     let to = DialOpts::peer_id(peer).addresses(ask.request.addresses.clone());
//!                     // Left without an answer, the transfer waits for the connection and asks
//!                     // again; `ask.reply` may tell sooner how it went.
//!                     let _ = swarm.dial(to.build());
//!                 }
//!                 // Where there is a DHT, it is told and asked here.
//!                 SwarmEvent::Behaviour(Event::NeedProviders { .. }) => {}
//!                 _ => {}
//!             }
//!         }
//!     }
//! }
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let mut swarm = SwarmBuilder::with_new_identity()
//!     .with_tokio()
//!     .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)?
//!     .with_behaviour(|key| {
//!         let config = Config {
//!             network: Network::new("my-net")?,
//!             local: key.public().to_peer_id(),
//!             home: "/var/lib/mine/content".into(),
//!             downloads: "/home/me/Downloads".into(),
//!             accept_from: [].into(),
//!             accept_max_bytes: 0,
//!             send_limit_bps: None,
//!             receive_limit_bps: None,
//!             allow_relay: false,
//!         };
//!         // With a store on disk, and its snapshot, transfers outlive the process.
//!         Ok(Behaviour::new(config, Store::in_memory(), TransfersSnapshot::default())?)
//!     })?
//!     .build();
//! swarm.listen_on("/ip4/0.0.0.0/tcp/0".parse()?)?;
//! let (asks, commands) = mpsc::channel(64);
//! tokio::spawn(run(swarm, commands));
//!
//! let files = Node::new(Link::Local(Local::new(asks))).files();
//! let wanted = Wanted::Ticket("peeragefile1…".into());
//! let into = None;
//! let got = files.get(Get::new(wanted, into)).await?;
//! println!("{:?}", files.wait(got.transfer).await?.paths);
//! # Ok(())
//! # }
//! ```

mod behaviour;
pub mod bounds;
mod commands;
mod config;
mod download;
mod fetching;
mod finishing;
mod inbound;
mod providers;
mod pulls;
mod rate;
mod receive;
mod schedule;
mod search;
mod send;
mod session;
mod shares;
mod standing;
mod time;
mod traffic;
mod transfer;
mod work;

pub use behaviour::Behaviour;
pub use config::{Config, Event};
