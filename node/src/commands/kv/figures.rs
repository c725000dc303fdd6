//! `kv stats` and `kv sync`: how much there is, and what sessions did.

use std::time::Duration;

use peerage_api::{
    kv::{Stats, SyncReport},
    types::PeerId,
};

use super::{
    super::Context,
    refusals, shapes,
    store::{Place, Store},
};
use crate::{
    failed::{Exit, Failed},
    output::{Table, bytes, millis, printable, since},
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
    if stats.file_bytes > 0 {
        row("file", format!("{} with all spaces and all else", bytes(stats.file_bytes)));
    }
    row("sequence", stats.seq.to_string());
    row("replicas", stats.replicas.to_string());
    row("spaces", stats.spaces.to_string());
    if let Some(denied) = refusals::denied(stats.access, stats.revoked_ms) {
        row("rights here", denied);
    }
    match &stats.last_sync {
        Some(last) => row("last sync", in_words(last)),
        None => row("last sync", "never".to_owned()),
    }
    if let Some(moved) =
        stats.last_moved.as_ref().filter(|it| Some(*it) != stats.last_sync.as_ref())
    {
        row("last with entries", in_words(moved));
    }
    if let Some(last) = &stats.last_refusal {
        row("last refusal", refusals::told(last));
    }
    table.to_string()
}

fn in_words(report: &SyncReport) -> String {
    let at = report.at_ms.map(|at| format!(", {}", since(at))).unwrap_or_default();
    format!(
        "{}{at}: {} in, {} out, {} received, {} sent, round trips: {}, {}",
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
    let space = store.space(place.name()).await?;
    let reports = match store.ask(store.on(space).sync(peer)).await {
        Ok(reports) => reports,
        // It names the peer, not the space.
        Err(failed) if failed.field("space").is_none() => {
            return Err(store.explained(failed, Some(space)).await);
        }
        Err(failed) => return Err(failed),
    };
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
    use peerage_api::{
        kv::{Access, Denial, LastRefusal},
        types::UnixMillis,
    };

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
            at_ms: Some(UnixMillis::now()),
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
        let moved = report(None);
        let empty = SyncReport { peer: PeerId::random(), entries_in: 0, ..moved.clone() };
        let (peer, at_ms) = (PeerId::random(), UnixMillis::now());
        let stats = Stats {
            entries: 5,
            tombstones: 2,
            bytes: 900,
            file_bytes: 8_400_000,
            spaces: 1,
            seq: 9,
            replicas: 2,
            last_sync: Some(empty),
            last_moved: Some(moved),
            last_refusal: Some(LastRefusal { peer, why: Denial::NoGrant, at_ms }),
            access: Access::Revoked,
            revoked_ms: Some(at_ms),
        };
        let told = about(&stats);
        for part in [
            "2 remembered",
            "900 B",
            "8.4 MB with all",
            "0s ago: 0 in, 3 out",
            "10 in, 3 out, 2.1 kB received, 310 B sent",
            "revoked 0s ago",
            &format!("{peer} refused 0s ago: there is no grant"),
        ] {
            assert!(told.contains(part), "no {part}: {told}");
        }
        let last_moved = stats.last_sync.clone();
        let access = Access::Granted;
        let told = about(&Stats { last_moved, last_refusal: None, access, ..stats });
        assert!(!told.contains("last with") && !told.contains("revoked"), "{told}");
    }
}
