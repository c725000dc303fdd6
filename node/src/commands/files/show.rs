//! Transfers in words, lines and tables.

use peerage_api::{
    Failure as _,
    files::{Direction, Path, State, Transfer},
};

use super::{done::is_of_place, name, short_id, what, who, with};
use crate::output::{self, Table, bytes, percent, printable, short};

/// Such as `awaiting direct`.
pub(super) fn state(state: State) -> String {
    state.as_str().replace('_', " ")
}

fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::Send => "send",
        Direction::Receive => "receive",
    }
}

/// One line to choose it by.
pub(super) fn brief(transfer: &Transfer) -> String {
    let (id, name) = (transfer.transfer, name(transfer));
    format!("{id} {name} ({}, {})", direction(transfer.direction), state(transfer.state))
}

/// What it waits for or does, and what can be done about that.
pub(super) fn words(transfer: &Transfer) -> String {
    let (what, with, name) = (what(transfer), with(transfer), name(transfer));
    let id = short_id(transfer.transfer);
    let done = percent(transfer.done_bytes, transfer.bytes);
    match (transfer.state, transfer.direction) {
        (State::Preparing, _) => format!("preparing {name}"),
        (State::Offered, _) => format!("waiting for {with} to accept {what}"),
        (State::Asked, _) => {
            format!("{with} offers {what}: peerage transfers accept {id}")
        }
        (State::Connecting, Direction::Send) => format!("connecting to {with} to send {name}"),
        (State::Connecting, Direction::Receive) => match transfer.providers {
            0 => format!("connecting to {with} for {name}"),
            _ => format!("looking for others who have {name}"),
        },
        (State::AwaitingDirect, _) => {
            format!("waiting for a direct path to {with} for {name}")
        }
        (State::Running, Direction::Send) => format!("sending {what} to {with}"),
        (State::Running, Direction::Receive) => format!("receiving {what} from {with}"),
        (State::Paused, _) => {
            format!("{name} is paused at {done}: peerage transfers resume {id}")
        }
        (State::PausedByPeer, _) => format!("{with} paused {name} at {done}"),
        (State::Done, _) => super::done::line(transfer),
        (State::Failed | State::Cancelled | State::Rejected, _) => {
            let why = transfer.error.as_ref().map(|e| format!(": {e}")).unwrap_or_default();
            format!("{name} {}{}", state(transfer.state), printable(&why))
        }
    }
}

/// Such as `412.0 MB of 1.2 GB, 98.1 MB/s, 8s left, direct`.
pub(super) fn moving(transfer: &Transfer) -> String {
    let mut text = format!("{} of {}", bytes(transfer.done_bytes), bytes(transfer.bytes));
    let mut add = |part: String| {
        text.push_str(", ");
        text.push_str(&part);
    };
    if transfer.rate_bps > 0 {
        add(output::rate(transfer.rate_bps));
    }
    if let Some(eta) = transfer.eta_s {
        add(format!("{} left", output::seconds(eta)));
    }
    match transfer.path {
        Some(Path::Direct) => add("direct".to_owned()),
        Some(Path::Relayed) => add("relayed".to_owned()),
        None => {}
    }
    if transfer.providers > 1 {
        let role = match transfer.direction {
            Direction::Send => "peers",
            Direction::Receive => "providers",
        };
        add(format!("{} {role}", transfer.providers));
    }
    text
}

/// One line each.
pub(super) fn table(transfers: &[Transfer]) -> String {
    let titles = ["ID", "STATE", "WAY", "PEER", "NAME", "DONE", "OF", "%", "RATE", "LEFT"];
    let mut table = Table::new(titles);
    for transfer in transfers {
        let running = transfer.state == State::Running;
        let rate = running.then(|| output::rate(transfer.rate_bps));
        let eta = transfer.eta_s.filter(|_| running).map(output::seconds);
        table.row([
            short_id(transfer.transfer),
            state(transfer.state),
            direction(transfer.direction).to_owned(),
            transfer.peer.as_ref().map(who).unwrap_or_default(),
            printable(&short(&transfer.name, 32)),
            bytes(transfer.done_bytes),
            bytes(transfer.bytes),
            percent(transfer.done_bytes, transfer.bytes).replace(' ', ""),
            rate.unwrap_or_default(),
            eta.unwrap_or_default(),
        ]);
    }
    table.to_string()
}

/// All about one.
pub(super) fn describe(transfer: &Transfer) -> String {
    let mut table = Table::plain();
    let mut row = |name: &str, value: String| table.row([name.to_owned(), value]);
    row("transfer", transfer.transfer.to_string());
    row("name", what(transfer));
    row("state", format!("{} ({})", state(transfer.state), direction(transfer.direction)));
    if let Some(error) = &transfer.error {
        row("error", printable(&error.to_string()));
    }
    row("peer", transfer.peer.map(|peer| peer.to_string()).unwrap_or_default());
    if let Some(hash) = transfer.hash {
        row("hash", hash.to_string());
    }
    row("progress", moving(transfer));
    for (name, count) in [("resumed", transfer.resumed_bytes), ("on the wire", transfer.wire_bytes)]
    {
        if count > 0 {
            row(name, bytes(count));
        }
    }
    if transfer.seconds.0 > 0.0 {
        row("ran for", output::took(transfer.seconds.0));
    }
    row("begun", output::since(transfer.started_ms));
    if let Some(then) = transfer.finished_ms {
        row("ended", output::since(then));
    }
    let mut name = "where";
    for path in &transfer.paths {
        row(name, printable(&path.display().to_string()));
        name = "";
    }
    let mut name = "skipped";
    for skipped in &transfer.skipped {
        let path = skipped.path.display();
        row(name, printable(&format!("{path}: {}", skipped.reason)));
        name = "";
    }
    if let Some(next) = next(transfer) {
        row("next", next);
    }
    table.to_string()
}

/// What its owner is likely to want.
fn next(transfer: &Transfer) -> Option<String> {
    let id = transfer.transfer;
    match transfer.state {
        State::Asked => Some(format!("peerage transfers accept {id}")),
        State::Paused => Some(format!("peerage transfers resume {id}")),
        State::PausedByPeer => {
            Some(format!("the other side resumes it; or peerage transfers cancel {id}"))
        }
        State::Failed if is_of_place(transfer) => {
            Some(format!("peerage transfers resume {id}, or elsewhere with --into DIR"))
        }
        State::Failed if transfer.error.as_ref().is_none_or(|e| e.is_retryable()) => {
            Some(format!("peerage transfers resume {id}"))
        }
        State::Failed => Some(format!("peerage transfers cancel {id}")),
        _ => None,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use peerage_api::{
        files::{Kind, Seconds},
        types::{PeerId, UnixMillis},
    };

    use super::*;

    /// A file that runs to this node.
    pub(in super::super) fn transfer(id: &str) -> Transfer {
        let known = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA";
        Transfer {
            transfer: id.parse().unwrap(),
            direction: Direction::Receive,
            state: State::Running,
            peer: Some(known.parse::<PeerId>().unwrap()),
            name: "notes.txt".to_owned(),
            hash: None,
            kind: Kind::File,
            bytes: 2_000_000,
            files: 1,
            done_bytes: 500_000,
            resumed_bytes: 0,
            wire_bytes: 0,
            rate_bps: 0,
            eta_s: None,
            seconds: Seconds(0.0),
            path: None,
            providers: 1,
            paths: vec![],
            skipped: vec![],
            skipped_count: 0,
            started_ms: UnixMillis(0),
            finished_ms: None,
            error: None,
        }
    }

    #[test]
    fn a_running_transfer_has_a_line_of_the_table_and_a_line_of_progress() {
        let mut running = transfer("00ff10ab00000001");
        running.rate_bps = 98_100_000;
        running.eta_s = Some(8);
        running.path = Some(Path::Relayed);
        running.providers = 3;
        let expected = "500.0 kB of 2.0 MB, 98.1 MB/s, 8s left, relayed, 3 providers";
        assert_eq!(moving(&running), expected);
        let table = table(&[running]);
        let cells: Vec<&str> = table.lines().nth(1).unwrap().split("  ").collect();
        let cells: Vec<&str> = cells.into_iter().map(str::trim).filter(|c| !c.is_empty()).collect();
        assert_eq!(
            cells,
            [
                "00ff10ab",
                "running",
                "receive",
                "12D3KooW…QAJU5SA",
                "notes.txt",
                "500.0 kB",
                "2.0 MB",
                "25%",
                "98.1 MB/s",
                "8s"
            ]
        );
    }

    #[test]
    fn a_transfer_that_waits_says_for_what_and_what_can_be_done() {
        let mut waits = transfer("00ff10ab00000001");
        for (state, text) in [
            (State::Offered, "waiting for 12D3KooW…QAJU5SA to accept notes.txt (2.0 MB)"),
            (State::Paused, "paused at 25 %: peerage transfers resume 00ff10ab"),
            (State::Asked, "(2.0 MB): peerage transfers accept 00ff10ab"),
            (State::AwaitingDirect, "a direct path to"),
        ] {
            waits.state = state;
            assert!(words(&waits).contains(text), "{}", words(&waits));
        }
        waits.name = "\u{1b}[2Jx".to_owned();
        assert!(!words(&waits).contains('\u{1b}') && !describe(&waits).contains('\u{1b}'));
    }
}
