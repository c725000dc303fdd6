//! `bench`: the figures of the README, measured with real processes on loopback.
//!
//! Every side of a measurement is a process of its own: this program, started again with the hidden
//! command `bench side`. What it is compared with runs in the same minute on the same machine.

mod bare;
mod exchange;
mod files;
mod hub;
mod idle;
mod kv;
mod link;
mod process;
mod side;
mod users;

use peerage_api::types::PeerId;

use crate::{
    commands::{Context, peers},
    failed::Failed,
};

pub(crate) use side::Side;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Throughput and latency of the path to a peer; without PEER of this program on loopback
    #[command(after_help = "\
Examples:
  peerage bench link 12D3KooW… --megabytes 1024 --timeout 120
  peerage bench link       this node against a plain rust-libp2p program, two processes each

MB/s are 10^6 bytes a second, memory to memory over one substream. The round trip is the median
of 200 blocks of 64 bytes.")]
    Link {
        /// Peer id
        #[arg(value_parser = peers::peer)]
        peer: Option<PeerId>,
        /// How much to send each way [default: 256 to a peer, 1024 on loopback]
        #[arg(long, value_name = "N")]
        #[arg(value_parser = clap::value_parser!(u64).range(1..=4294))]
        megabytes: Option<u64>,
        /// Rounds on loopback, of which the median is shown
        #[arg(long, value_name = "N", default_value_t = 3)]
        #[arg(value_parser = clap::value_parser!(u16).range(1..=99))]
        rounds: u16,
    },
    /// Round trip and rate of small exchange messages between two processes on loopback
    Exchange {
        /// Requests whose round trip is measured, one after the other
        #[arg(long, value_name = "N", default_value_t = 20_000)]
        round_trips: u32,
        /// Messages that are streamed
        #[arg(long, value_name = "N", default_value_t = 1_000_000)]
        messages: u32,
    },
    /// Start to ready, memory and idle CPU of a daemon
    Idle {
        /// How long the daemon is left alone
        #[arg(long, value_name = "SECONDS", default_value_t = 30)]
        seconds: u64,
    },
    /// Memory of a daemon per connected peer, and what remains when they have left
    Hub {
        /// Full nodes that connect, in processes of 50
        #[arg(long, value_name = "N", default_value_t = 200)]
        #[arg(value_parser = clap::value_parser!(u16).range(1..=1000))]
        peers: u16,
    },
    /// Files between daemons on loopback: one large, many small, several sources, kills
    #[command(after_help = "\
Where `sendme` is installed (cargo install sendme) it does the same work in the same run. Times are
from the start of the sender to the moment everything is verified and on disk at the receiver.")]
    Files {
        /// Size of the large file in MiB
        #[arg(long, value_name = "N", default_value_t = 1024)]
        #[arg(value_parser = clap::value_parser!(u64).range(1..=65536))]
        megabytes: u64,
        /// Rounds of the large file, of which the median is shown
        #[arg(long, value_name = "N", default_value_t = 3)]
        #[arg(value_parser = clap::value_parser!(u16).range(1..=99))]
        rounds: u16,
        /// Leave out the kills, which take half a minute
        #[arg(long)]
        no_kills: bool,
    },
    /// Users: login, checked calls, storage of services, how fast a profile spreads
    #[command(after_help = "\
Two nodes in this process with stores on disk (in $TMPDIR). The plain append is what the disk gives
without a database; a call that asks the driver is what a checked call is compared with.")]
    Users,
    /// Key-value store: puts, gets, how fast a put is seen, and what synchronising costs
    #[command(after_help = "\
Stores are on disk (in $TMPDIR). The plain append is what the disk gives without a database. Replicas
are daemons of their own; two of them get everything from a third, write 5 entries each and meet
for the first time: that is the line about 10 differences.")]
    Kv {
        /// Entries of the first synchronisation
        #[arg(long, value_name = "N", default_value_t = 100_000)]
        first: usize,
        /// Entries among which differences are found
        #[arg(long, value_name = "N", default_value_t = 1_000_000)]
        entries: usize,
    },
    /// One side of a measurement
    #[command(hide = true)]
    Side(Side),
}

/// Runs a measurement.
pub(crate) async fn run(context: Context<'_>, args: Args) -> Result<(), Failed> {
    match args.command {
        Command::Link { peer: Some(peer), megabytes, .. } => {
            link::to_peer(context, peer, megabytes.unwrap_or(256)).await
        }
        Command::Link { peer: None, megabytes, rounds } => {
            link::on_loopback(context, megabytes.unwrap_or(1024), rounds).await
        }
        Command::Exchange { round_trips, messages } => {
            exchange::run(context, round_trips, messages).await
        }
        Command::Idle { seconds } => idle::run(context, seconds).await,
        Command::Hub { peers } => hub::run(context, peers).await,
        Command::Files { megabytes, rounds, no_kills } => {
            files::run(context, files::Plan { megabytes, rounds, kills: !no_kills }).await
        }
        Command::Users => users::run(context).await,
        Command::Kv { first, entries } => {
            kv::run(context, kv::Plan { first, large: entries }).await
        }
        Command::Side(side) => side::run(context.out, side).await,
    }
}
