//! Files between two daemons.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    sandbox::{Process, Sandbox, fields},
    talk::{Pair, pair, pair_with},
};

/// The fields of a completion.
const COMPLETION: [&str; 7] =
    ["bytes", "files", "hash", "path", "resumed_bytes", "seconds", "transfer"];

/// Bytes that repeat nowhere, others for each seed.
fn content(size: usize, seed: u64) -> Vec<u8> {
    let mut word = seed | 1 << 40;
    let next = || {
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        word.to_le_bytes()
    };
    std::iter::repeat_with(next).flatten().take(size).collect()
}

fn write(sandbox: &Sandbox, name: &str, size: usize) -> PathBuf {
    let path = sandbox.home.path().join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, content(size, name.len() as u64)).unwrap();
    path
}

fn b3(path: &Path) -> String {
    blake3::hash(&std::fs::read(path).unwrap()).to_hex().to_string()
}

fn parsed(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))
}

fn completion(process: Process) -> Value {
    let (status, lines, messages) = process.end();
    assert_eq!(status.code(), Some(0), "{lines:#?} {messages:#?}");
    parsed(lines.last().unwrap())
}

/// The id of the one transfer of `sandbox`, once it is in that state.
fn in_state(sandbox: &Sandbox, state: &str) -> String {
    let stands = |all: &Value| all[0]["state"] == state;
    let all = sandbox.until(&["transfers"], stands);
    all[0]["transfer"].as_str().unwrap().to_owned()
}

/// Ben takes what Ada sends.
fn trusting() -> Pair {
    pair_with(|ada| {
        let flags = ["--accept-from", ada.id(), "--files-dir", "inbox"];
        flags.map(str::to_owned).to_vec()
    })
}

#[test]
fn a_listed_peer_sends_without_asking_and_the_shapes_are_those_of_the_contract() {
    let pair = trusting();
    let ben = pair.ben_up.id();
    let source = write(&pair.ada, "film.bin", 3_000_000);
    let sent = pair.ada.json(&["send", "film.bin", "--to", ben]);
    assert_eq!(fields(&sent), COMPLETION);
    assert_eq!((&sent["bytes"], &sent["files"]), (&3_000_000.into(), &1.into()));
    assert_eq!((&sent["hash"], &sent["path"]), (&b3(&source).into(), &"direct".into()));
    assert_eq!(sent["resumed_bytes"], 0);
    assert!(sent["seconds"].as_f64().unwrap() > 0.0);
    let copy = pair.ben.home.path().join("inbox/film.bin");
    assert_eq!(b3(&copy), b3(&source));

    let people = pair.ada.run(&["send", "film.bin", "--to", ben]);
    assert_eq!(people.code, Some(0), "{people:?}");
    assert!(people.stdout.starts_with("sent film.bin (3.0 MB) to 12D3KooW…"), "{people:?}");
    assert!(people.stdout.contains("/s, direct"), "{people:?}");
    // A name that is taken is left alone.
    assert_eq!(b3(&pair.ben.home.path().join("inbox/film (1).bin")), b3(&source));
    let listed = pair.ben.run(&["transfers"]);
    assert!(listed.stdout.contains("done") && listed.stdout.contains("film.bin"), "{listed:?}");
    assert_eq!(pair.ada.json(&["status"])["transfers_active"], 0);
    let stats = pair.ben.json(&["transfers", "stats"]);
    assert_eq!((&stats["done"], &stats["active"]), (&2.into(), &0.into()));
}

#[test]
fn events_are_lines_of_json_and_the_result_is_the_last() {
    let pair = trusting();
    write(&pair.ada, "film.bin", 4_000_000);
    let args = ["send", "film.bin", "--to", pair.ben_up.id(), "--events", "--limit", "4M"];
    let finished = pair.ada.run(&args);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let mut lines: Vec<Value> = finished.stdout.lines().map(parsed).collect();
    let last = lines.pop().unwrap();
    assert_eq!(fields(&last), COMPLETION);
    let progress: Vec<&Value> = lines.iter().filter(|line| line["event"] == "progress").collect();
    assert!(!progress.is_empty(), "{finished:?}");
    for line in &progress {
        assert_eq!(fields(line), ["bytes", "eta_s", "event", "rate_bps", "total", "transfer"]);
        assert_eq!((&line["transfer"], &line["total"]), (&last["transfer"], &4_000_000.into()));
    }
    assert!(lines.iter().any(|line| line["event"] == "state" && line["state"] == "running"));
    assert!(lines.iter().all(|line| line["transfer"] == last["transfer"]), "{finished:?}");
}

#[test]
fn an_offer_waits_for_accept_and_goes_where_it_is_told() {
    let pair = pair();
    let source = write(&pair.ada, "notes.txt", 100_000);
    let sending = pair.ada.spawn(&["send", "notes.txt", "--to", pair.ben_up.id(), "--json"]);
    let id = in_state(&pair.ben, "asked");
    sending.message("to accept notes.txt (100.0 kB)");
    assert_eq!(in_state(&pair.ada, "offered"), id);
    let listed = pair.ben.run(&["transfers"]);
    assert!(listed.stdout.contains("asked") && listed.stderr.contains("accept"), "{listed:?}");
    let missing = pair.ben.run(&["transfers", "accept", &id, "--into", "nowhere", "--json"]);
    assert_eq!((missing.code, missing.error_code().as_str()), (Some(1), "path"));
    let into = pair.ben.home.path().join("into");
    std::fs::create_dir(&into).unwrap();
    let accept = ["transfers", "accept", &id[..6], "--into", "into", "--wait"];
    let got = pair.ben.json(&accept);
    assert_eq!(got["paths"], json!([into.join("notes.txt")]));
    let sent = completion(sending);
    assert_eq!((&sent["transfer"], &got["transfer"]), (&id.as_str().into(), &sent["transfer"]));
    assert_eq!(b3(&into.join("notes.txt")), b3(&source));
    let shown = pair.ben.json(&["transfers", "show", &id]);
    assert_eq!((&shown["state"], &shown["hash"]), (&"done".into(), &sent["hash"]));
    assert_eq!(pair.ben.json(&["transfers", "rm", &id])["removed"], true);
    assert_eq!(pair.ben.json(&["transfers", "--all"]), json!([]));
    assert!(into.join("notes.txt").exists());
}

#[test]
fn a_rejected_offer_is_exit_code_5_with_the_reason() {
    let pair = pair();
    write(&pair.ada, "notes.txt", 1000);
    let sending = pair.ada.spawn(&["send", "notes.txt", "--to", pair.ben_up.id(), "--json"]);
    let id = in_state(&pair.ben, "asked");
    let rejected = pair.ben.json(&["transfers", "reject", &id, "no room\u{1b}[2J"]);
    assert_eq!(rejected, json!({ "transfer": id, "rejected": true }));
    let (status, lines, messages) = sending.end();
    assert_eq!(status.code(), Some(5), "{messages:#?}");
    let error = &parsed(&lines[0])["error"];
    assert_eq!((&error["code"], &error["transfer"]), (&"rejected".into(), &id.as_str().into()));
    assert!(error["reason"].as_str().unwrap().starts_with("no room"), "{error}");
    let said = messages.join("\n");
    assert!(said.contains("no room") && !said.contains('\u{1b}'), "{said}");
    let again = pair.ben.run(&["transfers", "accept", &id, "--json"]);
    assert_eq!((again.code, again.error_code().as_str()), (Some(1), "wrong_state"));
}

#[test]
fn a_ticket_brings_a_file_under_any_name() {
    let pair = pair();
    let source = write(&pair.ada, "film.bin", 2_000_000);
    let shared = pair.ada.run(&["share", "film.bin"]);
    assert_eq!((shared.code, shared.stdout.lines().count()), (Some(0), 1), "{shared:?}");
    let ticket = shared.stdout.trim();
    assert!(ticket.starts_with("peeragefile1"), "{ticket}");
    for part in [b3(&source).as_str(), "film.bin", "2.0 MB", "peerage get TICKET"] {
        assert!(shared.stderr.contains(part), "{shared:?}");
    }
    let got = pair.ben.json(&["get", ticket, "other.bin"]);
    let copy = pair.ben.home.path().join("other.bin");
    let mut expected = [&COMPLETION[..], &["paths"]].concat();
    expected.sort_unstable();
    assert_eq!(fields(&got), expected);
    assert_eq!((&got["hash"], &got["paths"]), (&b3(&source).into(), &json!([copy])));
    assert_eq!(b3(&copy), b3(&source));
    // As a camera reads it, and into a folder that is made.
    let people = pair.ben.run(&["get", &ticket.to_uppercase(), "new/"]);
    assert_eq!(people.code, Some(0), "{people:?}");
    assert!(people.stdout.starts_with("received film.bin (2.0 MB) in "), "{people:?}");
    assert_eq!(b3(&pair.ben.home.path().join("new/film.bin")), b3(&source));

    let again = pair.ada.json(&["share", "film.bin"]);
    assert_eq!(fields(&again), ["bytes", "files", "hash", "ticket"]);
    let qr = pair.ada.run(&["share", "film.bin", "--qr"]);
    assert!(qr.stderr.contains('▀') && qr.stdout.starts_with("peeragefile1"), "{qr:?}");
    assert!(pair.ada.run(&["shares"]).stdout.contains("film.bin"));
    for share in pair.ada.json(&["shares"]).as_array().unwrap() {
        let id = share["share"].as_str().unwrap();
        let gone = pair.ada.json(&["shares", "rm", &id[..8]]);
        assert_eq!((&gone["share"], &gone["removed"]), (&share["share"], &true.into()));
    }
    assert_eq!(pair.ada.json(&["shares"]), json!([]));
    let unknown = pair.ada.run(&["shares", "rm", "film.bin", "--json"]);
    assert_eq!((unknown.code, unknown.error_code().as_str()), (Some(1), "unknown_share"));
    let late = pair.ben.run(&["get", ticket, "late", "--timeout", "5", "--json"]);
    assert!(matches!(late.code, Some(1 | 4 | 5)), "{late:?}");
    assert!(!pair.ben.home.path().join("late").exists());
}

/// What is below `dir`: files with their hash and whether they can be run, folders.
fn tree(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut left = vec![dir.to_owned()];
    while let Some(at) = left.pop() {
        for entry in std::fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(dir).unwrap().display().to_string();
            match path.is_dir() {
                true => {
                    found.push(format!("{name}/"));
                    left.push(path);
                }
                false => {
                    let runs = path.metadata().unwrap().permissions().mode() & 0o100 != 0;
                    found.push(format!("{name} {} {runs}", b3(&path)));
                }
            }
        }
    }
    found.sort();
    found
}

#[test]
fn a_ticket_brings_a_folder_with_all_that_is_in_it() {
    let pair = pair();
    for (name, size) in
        [("photos/a.jpg", 300_000), ("photos/ü/b.jpg", 20), ("photos/run.sh", 9), ("photos/no", 0)]
    {
        write(&pair.ada, name, size);
    }
    let photos = pair.ada.home.path().join("photos");
    std::fs::create_dir(photos.join("empty")).unwrap();
    std::fs::set_permissions(photos.join("run.sh"), std::fs::Permissions::from_mode(0o755))
        .unwrap();
    std::os::unix::fs::symlink("/etc/passwd", photos.join("link")).unwrap();
    let told = pair.ada.run(&["share", "photos"]).stderr;
    assert!(told.contains("skipped 1:") && told.contains("photos/link"), "{told}");
    let shared = pair.ada.json(&["share", "photos/"]);
    assert_eq!((&shared["files"], &shared["bytes"]), (&4.into(), &300_029.into()));
    let ticket = shared["ticket"].as_str().unwrap();
    let got = pair.ben.json(&["get", ticket]);
    let copy = pair.ben.home.path().join("photos");
    assert_eq!((&got["hash"], &got["paths"]), (&shared["hash"], &json!([copy])));
    std::fs::remove_file(photos.join("link")).unwrap();
    assert_eq!(tree(&copy), tree(&photos));
    // Several paths at once arrive beside each other.
    write(&pair.ada, "one.txt", 10);
    let several = pair.ada.json(&["share", "one.txt", "photos"]);
    let into = pair.ben.home.path().join("both");
    let got = pair.ben.json(&["get", several["ticket"].as_str().unwrap(), "both/"]);
    assert_eq!(got["files"], 5);
    assert!(got["paths"].as_array().is_some_and(|paths| !paths.is_empty()), "{got}");
    let found = tree(&into);
    assert!(found.iter().any(|line| line.contains("one.txt")), "{found:?}");
    assert!(found.iter().any(|line| line.contains("photos/run.sh")), "{found:?}");
}

#[test]
fn what_is_no_ticket_is_told_so() {
    let sandbox = Sandbox::new();
    let _daemon = sandbox.up(&[]);
    for text in ["nonsense", "peeragefile1qqqqqqqq", "peeragefile1"] {
        let finished = sandbox.run(&["get", text, "--json"]);
        assert_eq!((finished.code, finished.error_code().as_str()), (Some(1), "bad_ticket"));
        assert!(finished.stderr.contains("begins with `peeragefile1`"), "{finished:?}");
    }
    let finished = sandbox.run(&["get", "nobody:photos", "--json"]);
    assert_eq!((finished.code, finished.error_code().as_str()), (Some(2), "usage"));
    assert_eq!(sandbox.json(&["transfers", "--all"]), json!([]));
}

#[test]
fn a_published_folder_is_read_by_path_by_those_who_may() {
    let pair = pair();
    let (ada, ben) = (pair.ada_up.id(), pair.ben_up.id());
    let source = write(&pair.ada, "pictures/2024/sea.jpg", 50_000);
    let published = pair.ada.run(&["shares", "add", "--publish", "photos", "pictures"]);
    assert_eq!(published.stdout.trim(), format!("{ada}:photos"), "{published:?}");
    let got = pair.ben.json(&["get", &format!("{ada}:photos/2024/sea.jpg")]);
    assert_eq!(got["hash"], b3(&source));
    assert_eq!(b3(&pair.ben.home.path().join("sea.jpg")), b3(&source));
    let got = pair.ben.json(&["get", &format!("{ada}:photos")]);
    assert_eq!(got["files"], 1);
    for path in ["photos/none", "photos/../secret", "other"] {
        let finished = pair.ben.run(&["get", &format!("{ada}:{path}"), "--json"]);
        assert_eq!((finished.code, finished.error_code().as_str()), (Some(5), "not_published"));
    }
    assert_eq!(pair.ada.json(&["shares", "rm", "photos"])["removed"], true);
    let stranger = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA";
    let add = ["shares", "add", "--publish", "own", "pictures", "--for"];
    pair.ada.json(&[&add[..], &[stranger]].concat());
    let refused = pair.ben.run(&["get", &format!("{ada}:own"), "--json"]);
    assert_eq!((refused.code, refused.error_code().as_str()), (Some(5), "not_published"));
    pair.ada.json(&["shares", "rm", "own"]);
    let shared = pair.ada.json(&[&add[..], &[ben]].concat());
    assert_eq!(shared["what"], json!({ "folder": { "readers": [ben] } }));
    pair.ben.json(&["get", &format!("{ada}:own"), "mine"]);
    assert_eq!(b3(&pair.ben.home.path().join("mine/2024/sea.jpg")), b3(&source));
}

#[test]
fn a_transfer_is_paused_resumed_and_cancelled_from_either_side() {
    let pair = trusting();
    let source = write(&pair.ada, "film.bin", 3_000_000);
    let args = ["send", "film.bin", "--to", pair.ben_up.id(), "--limit", "1M", "--json"];
    let sending = pair.ada.spawn(&args);
    let id = in_state(&pair.ada, "running");
    assert_eq!(pair.ada.json(&["status"])["transfers_active"], 1);
    assert_eq!(pair.ada.json(&["transfers", "pause", &id])["state"], "paused");
    assert_eq!(in_state(&pair.ben, "paused_by_peer"), id);
    assert_eq!(pair.ada.json(&["transfers", "resume", &id])["transfer"], id.as_str());
    in_state(&pair.ben, "running");
    assert_eq!(pair.ben.json(&["transfers", "pause", &id])["state"], "paused");
    assert_eq!(in_state(&pair.ada, "paused_by_peer"), id);
    // Who has paused it resumes it.
    let other = pair.ada.run(&["transfers", "resume", &id]);
    assert_eq!(other.code, Some(1), "{other:?}");
    assert!(other.stderr.contains("when the other side resumes it"), "{other:?}");
    in_state(&pair.ada, "paused_by_peer");
    pair.ben.json(&["transfers", "resume", &id]);
    assert_eq!(completion(sending)["transfer"], id.as_str());
    assert_eq!(b3(&pair.ben.home.path().join("inbox/film.bin")), b3(&source));
    let late = pair.ada.run(&["transfers", "pause", &id, "--json"]);
    assert_eq!((late.code, late.error_code().as_str()), (Some(1), "wrong_state"));

    write(&pair.ada, "second.bin", 3_000_000);
    let args = ["send", "second.bin", "--to", pair.ben_up.id(), "--limit", "200k", "--json"];
    let sending = pair.ada.spawn(&args);
    let running = |all: &Value| all[1]["state"] == "running";
    let id = pair.ben.until(&["transfers"], running)[1]["transfer"].as_str().unwrap().to_owned();
    assert_eq!(pair.ben.json(&["transfers", "cancel", &id])["state"], "cancelled");
    let (status, lines, _) = sending.end();
    assert_eq!(status.code(), Some(5), "{lines:#?}");
    assert_eq!(parsed(&lines[0])["error"]["code"], "cancelled");
    let inbox = std::fs::read_dir(pair.ben.home.path().join("inbox")).unwrap();
    let left: Vec<_> = inbox.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["film.bin"], "what is incomplete is removed");
}

#[test]
fn ctrl_c_ends_the_watching_and_not_the_transfer() {
    let pair = trusting();
    let source = write(&pair.ada, "film.bin", 2_000_000);
    let args = ["send", "film.bin", "--to", pair.ben_up.id(), "--limit", "1M"];
    let sending = pair.ada.spawn(&args);
    let id = in_state(&pair.ada, "running");
    sending.signal(Signal::INT);
    let (status, lines, messages) = sending.end();
    assert_eq!((status.code(), lines), (Some(130), vec![]));
    let said = messages.join("\n");
    for part in ["in the background", "transfers watch", "transfers cancel", &id] {
        assert!(said.contains(part), "{said}");
    }
    let watched = pair.ada.run(&["transfers", "watch", &id[..5], "--json"]);
    assert_eq!(watched.code, Some(0), "{watched:?}");
    let last = parsed(watched.stdout.lines().last().unwrap());
    assert_eq!((fields(&last), &last["transfer"]), (COMPLETION.to_vec(), &id.as_str().into()));
    assert_eq!(b3(&pair.ben.home.path().join("inbox/film.bin")), b3(&source));
}

#[test]
fn a_send_may_go_on_by_itself() {
    let pair = trusting();
    let source = write(&pair.ada, "film.bin", 200_000);
    let begun = pair.ada.json(&["send", "film.bin", "--to", pair.ben_up.id(), "--no-wait"]);
    assert_eq!(begun["direction"], "send");
    in_state(&pair.ben, "done");
    assert_eq!(b3(&pair.ben.home.path().join("inbox/film.bin")), b3(&source));
}

#[test]
fn a_peer_that_cannot_be_reached_or_does_not_answer_is_told_with_what_to_do() {
    let pair = pair();
    write(&pair.ada, "notes.txt", 1000);
    let waits = ["--timeout", "1", "--json"];
    let send = |to: &str| pair.ada.run(&[&["send", "notes.txt", "--to", to][..], &waits].concat());
    let unanswered = send(pair.ben_up.id());
    assert_eq!((unanswered.code, unanswered.error_code().as_str()), (Some(4), "timed_out"));
    let id = unanswered.json()["error"]["transfer"].as_str().unwrap().to_owned();
    assert!(unanswered.stderr.contains("has not answered within 1 s"), "{unanswered:?}");
    assert!(unanswered.stderr.contains(&format!("transfers cancel {id}")), "{unanswered:?}");
    // The offer stands.
    assert_eq!(in_state(&pair.ben, "asked"), id);
    let cancelled = pair.ada.json(&["transfers", "cancel", &id]);
    assert_eq!(cancelled["state"], "cancelled");

    let stranger = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA";
    let unreachable = send(stranger);
    let told = (unreachable.code, unreachable.error_code());
    let expected = [(Some(1), "unreachable".to_owned()), (Some(4), "timed_out".to_owned())];
    assert!(expected.contains(&told), "{unreachable:?}");
    assert!(unreachable.stderr.contains("12D3KooW"), "{unreachable:?}");
}

#[test]
fn ids_and_paths_that_do_not_exist_are_named() {
    let sandbox = Sandbox::new();
    let _daemon = sandbox.up(&[]);
    for id in ["00ff10ab00000001", "00ff"] {
        for verb in ["show", "accept", "reject", "pause", "resume", "cancel", "rm", "watch"] {
            let finished = sandbox.run(&["transfers", verb, id, "--json"]);
            let told = (finished.code, finished.error_code());
            assert_eq!(told, (Some(1), "unknown_transfer".to_owned()), "{verb} {finished:?}");
            assert!(finished.stderr.contains(id), "{finished:?}");
        }
    }
    let peer = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA";
    for line in [&["send", "nothing.txt", "--to", peer][..], &["share", "nothing.txt"]] {
        let finished = sandbox.run(&[line, &["--json"]].concat());
        assert_eq!((finished.code, finished.error_code().as_str()), (Some(1), "path"));
        assert!(finished.stderr.contains("nothing.txt"), "{finished:?}");
    }
}
