//! `bench`: measurements.

use peerage_api::{
    peers::{Flow, MAX_MEASURE_BYTES, Measured},
    types::PeerId,
};

use super::{Context, peers};
use crate::{
    failed::Failed,
    output::{self, Table},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Throughput and latency of the path to a peer, in both directions; connects first if need be
    #[command(after_help = "Example: peerage bench link 12D3KooW… --megabytes 1024 --timeout 120")]
    Link {
        /// Peer id
        #[arg(value_parser = peers::peer)]
        peer: PeerId,
        /// How much to send each way
        #[arg(long, value_name = "N", default_value_t = 256)]
        #[arg(value_parser = clap::value_parser!(u64).range(1..=MAX_MEASURE_BYTES / 1_000_000))]
        megabytes: u64,
    },
}

pub(super) async fn run(context: Context<'_>, args: Args) -> Result<(), Failed> {
    let Command::Link { peer, megabytes } = args.command;
    let measure = async |node: peerage_api::Node| {
        peers::reach(&node, peer).await?;
        node.peers().measure(peer, megabytes * 1_000_000).await
    };
    let measured = context.ask(measure).await?;
    context.out.result(&measured, |measured| describe(measured))
}

/// The rows of a measurement.
pub(crate) fn describe(measured: &[Measured]) -> String {
    let mut table = Table::new(["TRANSPORT", "DIRECTION", "AMOUNT", "TIME", "MB/S", "RTT P50"]);
    for row in measured {
        let direction = match row.direction {
            Flow::Send => "send",
            Flow::Receive => "receive",
        };
        table.row([
            row.transport.as_str().to_owned(),
            direction.to_owned(),
            output::bytes(row.bytes),
            output::millis(row.seconds * 1e3),
            format!("{:.1}", row.mb_per_s),
            output::micros(row.rtt_p50_us),
        ]);
    }
    table.to_string()
}
