//! Small exchange messages between two processes.

use super::{
    process::Process,
    side::{Exchanged, Listening},
};
use crate::{commands::Context, failed::Failed, output::Table};

pub(super) async fn run(
    context: Context<'_>,
    round_trips: u32,
    messages: u32,
) -> Result<(), Failed> {
    let words = |text: String| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let serve = "bench side serve --listen /ip4/127.0.0.1/tcp/0".to_owned();
    let mut server = Process::start(&words(serve))?;
    let Listening { address } = server.line().await?;
    let measure = format!(
        "bench side exchange --address {address} --round-trips {round_trips} --messages {messages}"
    );
    let exchanged: Exchanged = Process::start(&words(measure))?.line().await?;
    server.end().await?;
    context.out.result(&exchanged, |exchanged| {
        let mut table = Table::plain();
        let mut row = |name: &str, value: String| table.row([name.to_owned(), value]);
        row("64-byte request and answer, p50", format!("{:.1} µs", exchanged.rtt_p50_us));
        row("64-byte request and answer, p99", format!("{:.1} µs", exchanged.rtt_p99_us));
        row("64-byte messages streamed", format!("{:.0} a second", exchanged.messages_per_s));
        table.to_string()
    })
}
