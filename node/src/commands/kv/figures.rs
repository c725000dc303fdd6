//! `kv stats` and `kv sync`: how much there is, and what sessions did.

use std::time::Duration;

use peerage_api::{
    kv::{Stats, SyncReport},
    types::PeerId,
};

use super::{
    super::Context,
    shapes,
    store::{Place, Store},
};
use crate::{
    failed::{Exit, Failed},
    output::{Table, bytes, millis, printable},
};

pub(super) async fn stats(context: Context<'_>, place: &Place) -> Result<(), Failed> {
    let store = Store::new(context).await?;
    let stats = store.ask(store.open(place).await?.stats()).await?;
    context.out.result(&stats, about)
}

fn about(stats: &Stats) -> String {
    let mut table = Table::plain();
    let mut row = |name: &str, value: String| table.row([name.to_owned(), value]);
    row("entries", stats.entries.to_string());
    row("deleted", format!("{} remembered", stats.tombstones));
    row("size", bytes(stats.bytes));
    row("sequence", stats.seq.to_string());
    row("replicas", stats.replicas.to_string());
    row("spaces", stats.spaces.to_string());
    match &stats.last_sync {
        Some(last) => row("last sync", in_words(last)),
        None => row("last sync", "never".to_owned()),
    }
    table.to_string()
}

fn in_words(report: &SyncReport) -> String {
    format!(
        "{}: {} in, {} out, {} received, {} sent, round trips: {}, {}",
        report.peer,
        report.entries_in,
        report.entries_out,
        bytes(report.received_bytes),
        bytes(report.sent_bytes),
        report.rounds,
        time(report.ms),
    )
}

/// Sessions are measured in whole milliseconds.
fn time(ms: u64) -> String {
    if ms == 0 {
        return "under 1 ms".to_owned();
    }
    millis(Duration::from_millis(ms).as_secs_f64() * 1e3)
}

pub(super) async fn sync(
    context: Context<'_>,
    place: &Place,
    peer: Option<PeerId>,
) -> Result<(), Failed> {
    let store = Store::new(context).await?;
    let reports = store.ask(store.open(place).await?.sync(peer)).await?;
    context.out.result(&reports, |reports| table(reports))?;
    match !reports.is_empty() && reports.iter().all(|report| report.error.is_some()) {
        true => Err(Failed::Reported(Exit::Failed)),
        false => Ok(()),
    }
}

fn table(reports: &[SyncReport]) -> String {
    if reports.is_empty() {
        return "no connected peer has the space".to_owned();
    }
    let mut table = Table::new([
        "PEER", "IN", "OUT", "REFUSED", "RECEIVED", "SENT", "ROUNDS", "TIME", "RESULT",
    ]);
    for report in reports {
        table.row([
            shapes::who(&report.peer),
            report.entries_in.to_string(),
            report.entries_out.to_string(),
            report.refused.to_string(),
            bytes(report.received_bytes),
            bytes(report.sent_bytes),
            report.rounds.to_string(),
            time(report.ms),
            report.error.as_deref().map_or_else(|| "done".to_owned(), printable),
        ]);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(error: Option<&str>) -> SyncReport {
        SyncReport {
            peer: PeerId::random(),
            rounds: 1,
            sent_bytes: 310,
            received_bytes: 2100,
            entries_in: 10,
            entries_out: 3,
            refused: 0,
            ms: 4,
            error: error.map(str::to_owned),
        }
    }

    #[test]
    fn a_session_took_some_time() {
        assert_eq!((time(0), time(4)), ("under 1 ms".to_owned(), "4.00 ms".to_owned()));
    }

    #[test]
    fn sessions_are_told_with_their_bytes_and_how_they_ended() {
        let table = table(&[report(None), report(Some("no grant\u{1b}"))]);
        for part in ["310 B", "2.1 kB", "4.00 ms", "done", "no grant\\u{1b}"] {
            assert!(table.contains(part), "no {part}: {table}");
        }
        let last_sync = Some(report(None));
        let (entries, tombstones, bytes, spaces, seq, replicas) = (5, 2, 900, 1, 9, 2);
        let stats = Stats { entries, tombstones, bytes, spaces, seq, replicas, last_sync };
        let about = about(&stats);
        for part in ["2 remembered", "900 B", "10 in, 3 out, 2.1 kB received, 310 B sent"] {
            assert!(about.contains(part), "no {part}: {about}");
        }
    }
}
