//! `send`, `get`, `share`, `shares`, `transfers`: files between nodes.

use peerage_api::{
    files::Transfer,
    types::{PeerId, TransferId},
};

use super::Context;
use crate::{
    failed::Failed,
    output::{bytes, printable, short},
};

mod dest;
mod done;
mod follow;
mod get;
mod limit;
mod paths;
mod patience;
mod pick;
mod screen;
mod send;
mod share;
mod shares;
mod show;
mod to;
mod transfers;
mod watch;

pub(crate) use get::Args as Get;
pub(super) use get::run as get;
pub(crate) use send::Args as Send;
pub(super) use send::run as send;
pub(crate) use share::Args as Share;
pub(super) use share::run as share;
pub(crate) use shares::Args as Shares;
pub(super) use shares::run as shares;
pub(crate) use transfers::Args as Transfers;
pub(super) use transfers::run as transfers;

/// How a transfer that was begun is gone with.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Going {
    /// Most bytes a second, such as 500k, 10M or 1.5G (10^3, 10^6, 10^9)
    #[arg(long, value_name = "RATE", value_parser = limit::parse)]
    limit: Option<u64>,
    /// A line of JSON for every step, the result last; implies --json
    #[arg(long)]
    pub(crate) events: bool,
    /// Return as soon as it has begun; it goes on in the background, and tries for a day to reach who
    /// is away
    #[arg(long, conflicts_with = "events")]
    no_wait: bool,
}

/// An id for something that this program is about to begin.
fn new_id() -> TransferId {
    TransferId(rand::random())
}

/// Enough of a peer id to tell it from others on a screen.
fn who(peer: &PeerId) -> String {
    short(&peer.to_string(), 16)
}

/// Whom a transfer is with, as far as that is known.
fn with(transfer: &Transfer) -> String {
    transfer.peer.as_ref().map_or_else(|| "somebody".to_owned(), who)
}

/// Such as `photos (3 files, 1.2 GB)`.
fn what(transfer: &Transfer) -> String {
    let (name, size) = (name(transfer), bytes(transfer.bytes));
    match transfer.kind {
        peerage_api::files::Kind::File => format!("{name} ({size})"),
        peerage_api::files::Kind::Tree => format!("{name} ({}, {size})", count(transfer.files)),
    }
}

/// Its name, safe and not too long for a line.
fn name(transfer: &Transfer) -> String {
    printable(&short(&transfer.name, 36))
}

/// Enough of an id to name it in a command.
fn short_id(id: TransferId) -> String {
    id.to_string().chars().take(8).collect()
}

/// Such as `1 file`.
fn count(files: u64) -> String {
    let s = if files == 1 { "" } else { "s" };
    format!("{files} file{s}")
}

/// Prints a transfer that goes on in the background.
fn begun(context: Context<'_>, transfer: &Transfer) -> Result<(), Failed> {
    context.out.result(transfer, |transfer| transfer.transfer.to_string())?;
    let id = transfer.transfer;
    context.out.note(format_args!("it goes on in the background: peerage transfers watch {id}"));
    Ok(())
}
