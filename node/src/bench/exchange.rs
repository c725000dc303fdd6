//! Small exchange messages between two processes, and what a round trip takes without any of us.

use serde::Serialize;

use super::{
    bare::{Answering, Took},
    process::Process,
    side::{Exchanged, Listening},
};
use crate::{commands::Context, failed::Failed, output::Table};

#[derive(Debug, Serialize)]
struct Outcome {
    rtt_p50_us: f64,
    rtt_p99_us: f64,
    bare_p50_us: f64,
    bare_p99_us: f64,
    /// How many bare round trips one of ours takes.
    rtt_ratio: f64,
    messages_per_s: f64,
}

pub(super) async fn run(
    context: Context<'_>,
    round_trips: u32,
    messages: u32,
) -> Result<(), Failed> {
    let mut answering = start("bench side answer")?;
    let Answering { at } = answering.line().await?;
    let bare: Took =
        start(&format!("bench side ask --at {at} --round-trips {round_trips}"))?.line().await?;
    answering.end().await?;

    let mut server = start("bench side serve --listen /ip4/127.0.0.1/tcp/0")?;
    let Listening { address } = server.line().await?;
    let measure = format!(
        "bench side exchange --address {address} --round-trips {round_trips} --messages {messages}"
    );
    let Exchanged { rtt, messages_per_s } = start(&measure)?.line().await?;
    server.end().await?;
    let outcome = Outcome {
        rtt_p50_us: rtt.p50_us,
        rtt_p99_us: rtt.p99_us,
        bare_p50_us: bare.p50_us,
        bare_p99_us: bare.p99_us,
        rtt_ratio: rtt.p50_us / bare.p50_us,
        messages_per_s,
    };
    context.out.result(&outcome, |outcome| {
        let mut table = Table::plain();
        let mut row = |name: &str, value: String| table.row([name.to_owned(), value]);
        let both = |p50, p99| format!("{p50:.1} µs, p99 {p99:.1} µs");
        let ratio = format!("{:.2} ×", outcome.rtt_ratio);
        row(
            "64 bytes there and back over bare TCP, p50",
            both(outcome.bare_p50_us, outcome.bare_p99_us),
        );
        row("64-byte request and answer, p50", both(outcome.rtt_p50_us, outcome.rtt_p99_us));
        row("the one against the other", ratio);
        row("64-byte messages streamed", format!("{:.0} a second", outcome.messages_per_s));
        table.to_string()
    })
}

fn start(words: &str) -> Result<Process, Failed> {
    Ok(Process::start(&words.split(' ').map(str::to_owned).collect::<Vec<_>>())?)
}
