//! The end of a transfer, as people and scripts read it.

use std::path::PathBuf;

use peerage_api::{
    Failure,
    files::{Direction, FilesError, Path, Seconds, Skipped, State, Transfer},
    types::{ContentHash, TransferId},
};
use serde::Serialize;

use super::{super::Context, what, with};
use crate::{
    failed::{Exit, Failed},
    output::{bytes, printable, rate, took},
};

/// The completion line of the contract.
#[derive(Debug, Serialize)]
struct Completion<'a> {
    transfer: TransferId,
    hash: Option<ContentHash>,
    bytes: u64,
    files: u64,
    seconds: Seconds,
    resumed_bytes: u64,
    path: Option<Path>,
    /// Where the content is now, of a fetch.
    #[serde(skip_serializing_if = "Option::is_none")]
    paths: Option<&'a [PathBuf]>,
    /// What was left out; the first 100.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    skipped: &'a [Skipped],
    /// How many were left out.
    #[serde(skip_serializing_if = "is_zero")]
    skipped_count: u64,
}

pub(super) fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Prints a complete transfer.
pub(super) fn tell(context: Context<'_>, done: &Transfer) -> Result<(), Failed> {
    let received = done.direction == Direction::Receive;
    let completion = Completion {
        transfer: done.transfer,
        hash: done.hash,
        bytes: done.bytes,
        files: done.files,
        seconds: done.seconds,
        resumed_bytes: done.resumed_bytes,
        path: done.path,
        paths: received.then_some(&done.paths),
        skipped: &done.skipped,
        skipped_count: done.skipped_count,
    };
    skipped(context, &done.skipped, done.skipped_count);
    context.out.result(&completion, |_| line(done))
}

/// Tells what of a directory was left out.
pub(super) fn skipped(context: Context<'_>, some: &[Skipped], count: u64) {
    const NAMED: usize = 5;
    if count == 0 {
        return;
    }
    context.out.note(format_args!("skipped {count}:"));
    for Skipped { path, reason } in some.iter().take(NAMED) {
        let path = printable(&path.display().to_string());
        context.out.note(format_args!("  {path}: {}", printable(reason)));
    }
    if count > NAMED as u64 {
        context.out.note(format_args!("  and {} more", count - NAMED as u64));
    }
}

/// Such as `sent photos (3 files, 1.2 GB) to 12D3KooW…QAJU5SA in 12.3 s, 97.6 MB/s, direct`.
pub(super) fn line(done: &Transfer) -> String {
    let what = what(done);
    let mut line = match done.direction {
        Direction::Send => format!("sent {what} to {}", with(done)),
        Direction::Receive => format!("received {what}"),
    };
    line.push_str(&format!(" in {}", took(done.seconds.0)));
    if let Some(rate) = mean_rate(done) {
        line.push_str(&format!(", {rate}"));
    }
    match done.path {
        Some(Path::Direct) => line.push_str(", direct"),
        Some(Path::Relayed) => line.push_str(", relayed"),
        None => {}
    }
    if done.done_bytes < done.bytes && done.state == State::Done {
        line.push_str(&format!(", {} of it", bytes(done.done_bytes)));
    }
    if done.resumed_bytes > 0 {
        line.push_str(&format!(", resumed at {}", bytes(done.resumed_bytes)));
    }
    if done.direction == Direction::Receive {
        line.push_str(&places(&done.paths));
    }
    line
}

fn places(paths: &[PathBuf]) -> String {
    let show = |path: &PathBuf| printable(&path.display().to_string());
    match paths {
        [] => String::new(),
        [path] => format!(": {}", show(path)),
        paths => paths.iter().fold(":".to_owned(), |text, path| text + "\n  " + &show(path)),
    }
}

fn mean_rate(done: &Transfer) -> Option<String> {
    // Both are of all attempts.
    #[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
    let moved = done.wire_bytes as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate shown")]
    let mean = (done.seconds.0 > 0.0).then(|| (moved / done.seconds.0) as u64);
    mean.filter(|mean| *mean > 0).map(rate)
}

/// Whether it failed for the folder it goes to.
pub(super) fn is_of_place(over: &Transfer) -> bool {
    let place = matches!(over.error, Some(FilesError::DiskFull { .. } | FilesError::Path { .. }));
    place && over.state == State::Failed && over.direction == Direction::Receive
}

/// Why a transfer that is over did not complete; `None` if it did.
pub(super) fn failure(over: &Transfer) -> Option<Failed> {
    let id = over.transfer;
    let failed = match (&over.error, over.state) {
        (_, State::Done) => return None,
        (Some(error), _) => Failed::of(error),
        (None, State::Rejected) => Failed::new(Exit::Refused, "rejected", "it was rejected"),
        (None, state) => Failed::new(Exit::Failed, state.as_str(), format!("{id} is {state}")),
    };
    let said = over.error.as_ref().is_some_and(|e| e.to_string().contains("transfers resume"));
    let worth =
        over.state == State::Failed && over.error.as_ref().is_some_and(FilesError::is_retryable);
    let failed = match (worth, said) {
        _ if is_of_place(over) => {
            let resume = format!("`peerage transfers resume {id}`, elsewhere with --into DIR");
            failed.advise(&format!("then go on with {resume}"))
        }
        (true, true) => failed.advise(&format!("its id is {id}")),
        (true, false) => failed.advise(&format!("try again with `peerage transfers resume {id}`")),
        (false, _) => failed,
    };
    Some(failed.about("transfer", id.to_string()))
}

#[cfg(test)]
mod tests {
    use peerage_api::types::PeerId;

    use super::{super::show::tests::transfer, *};

    #[test]
    fn a_person_reads_what_how_fast_and_where() {
        let mut done = transfer("00ff10ab00000001");
        done.bytes = 1_200_000_000;
        done.wire_bytes = 1_200_500_000;
        done.seconds = Seconds(12.3);
        done.path = Some(Path::Direct);
        done.paths = vec!["/home/me/notes.txt".into()];
        assert_eq!(
            line(&done),
            "received notes.txt (1.2 GB) in 12.3 s, 97.6 MB/s, direct: /home/me/notes.txt"
        );
        done.direction = Direction::Send;
        done.resumed_bytes = 600_000_000;
        done.state = State::Done;
        done.done_bytes = done.bytes;
        let peer = done.peer.unwrap().to_string();
        let tail = &peer[peer.len() - 7..];
        assert_eq!(
            line(&done),
            format!(
                "sent notes.txt (1.2 GB) to 12D3KooW…{tail} in 12.3 s, 97.6 MB/s, direct, \
                 resumed at 600.0 MB"
            )
        );
    }

    #[test]
    fn what_ended_a_transfer_decides_the_exit_code_and_names_the_transfer() {
        let mut over = transfer("00ff10ab00000001");
        over.state = State::Done;
        assert!(failure(&over).is_none());
        let peer = PeerId::random();
        for (state, error, exit, advised) in [
            (
                State::Rejected,
                Some(FilesError::Rejected { peer, reason: "no room".into() }),
                Exit::Refused,
                false,
            ),
            (State::Rejected, None, Exit::Refused, false),
            (
                State::Failed,
                Some(FilesError::Broken { peer, reason: "reset".into() }),
                Exit::Failed,
                true,
            ),
            (
                State::Failed,
                Some(FilesError::NotThere { peer, hash: ContentHash([1; 32]) }),
                Exit::Failed,
                false,
            ),
            (State::Failed, Some(FilesError::Expired { peer, seconds: 5 }), Exit::TimedOut, true),
            (
                State::Failed,
                Some(FilesError::DiskFull { dir: "/a".into(), needed: 2, free: 1 }),
                Exit::Failed,
                true,
            ),
        ] {
            over.state = state;
            over.error = error;
            let Some(Failed::Because(reason)) = failure(&over) else { panic!("no reason") };
            assert_eq!(reason.exit, exit);
            assert_eq!(reason.message.contains("transfers resume"), advised, "{}", reason.message);
            assert_eq!(reason.to_json()["error"]["transfer"], "00ff10ab00000001");
        }
    }
}
