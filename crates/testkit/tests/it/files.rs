//! Transfers between whole nodes: several sources, liars, restarts, full disks, odd content.

mod disk;
mod hostile;
mod odd;
mod restart;
mod sources;

use std::{
    fs,
    path::{Path, PathBuf},
};

use peerage_api::{
    Node,
    files::{FilesError, Get, Send, State, Transfer, Wanted},
    types::{Multiaddr, TransferId},
};
use peerage_net::{Running, Settings, start};
use peerage_testkit::{
    Fault, Faulty, Net, loopback,
    suite::files::{end, get, in_state, noise, put, send, share, tree, until},
    within,
};

const MIB: usize = 1 << 20;

/// Connects two nodes, as a person would.
async fn connect(from: &Node, to: &Running) {
    connect_to(from, to.listen[0].clone()).await;
}

async fn connect_to(from: &Node, address: Multiaddr) {
    let peers = from.peers();
    within("a connection", peers.connect(address)).await.unwrap();
}

/// Gets what a ticket names.
async fn fetch(node: &Node, ticket: &str, into: &Path) -> TransferId {
    let wanted = Wanted::Ticket(ticket.to_owned());
    node.files().get(get(wanted, into)).await.unwrap().transfer
}

/// Offers a path and has it accepted.
async fn push(from: &Node, request: Send, to: &Node, into: &Path) -> TransferId {
    let sent = from.files().send(request).await.unwrap().transfer;
    in_state(to, sent, State::Asked).await;
    to.files().accept(sent, Some(into.to_owned())).await.unwrap();
    sent
}

/// Waits until so many bytes are there, and it goes on.
async fn has(node: &Node, transfer: TransferId, bytes: usize) -> Transfer {
    until("some bytes", node, transfer, |now| {
        assert!(!now.state.is_over(), "{now:?}");
        now.done_bytes >= bytes as u64
    })
    .await
}

fn settings(home: &Path) -> Settings {
    Settings { data: Some(home.to_owned()), ..loopback() }
}
