//! Stands in for `peerage::start` until that exists.
#![allow(missing_docs, dead_code, unused, unreachable_pub, clippy::unused_async)]
use peerage_api::Node;
use peerage_api::types::*;
use serde::Serialize;
use std::path::{Path, PathBuf};
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub enum Profile {
    #[default]
    Peer,
    Relay,
    Bootstrap,
}
#[derive(Debug, Clone, Serialize)]
pub struct Settings {
    pub data: Option<PathBuf>,
    pub network: Network,
    pub network_key: Option<PathBuf>,
    pub profile: Profile,
    pub listen: Vec<Multiaddr>,
    pub external: Vec<Multiaddr>,
    pub bootstrap: Vec<Multiaddr>,
    pub protected: Vec<PeerId>,
    pub mdns: bool,
    pub kad: bool,
    pub local_only: bool,
    pub max_peers: usize,
    pub max_connections_per_ip: usize,
    pub max_memory_bytes: usize,
    pub agent: String,
}
impl Default for Settings {
    fn default() -> Self {
        Self {
            data: None,
            network: Network::default(),
            network_key: None,
            profile: Profile::Peer,
            listen: vec![],
            external: vec![],
            bootstrap: vec![],
            protected: vec![],
            mdns: true,
            kad: true,
            local_only: false,
            max_peers: 512,
            max_connections_per_ip: 32,
            max_memory_bytes: 1 << 30,
            agent: concat!("peerage/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}
#[derive(Debug)]
pub struct Running {
    pub node: Node,
    pub listen: Vec<Multiaddr>,
}
impl Running {
    pub async fn stopped(self) {}
    pub async fn ended(&self) {}
}
pub async fn start(_: Settings) -> Result<Running, String> {
    Err("the library is not there yet".into())
}
