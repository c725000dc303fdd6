//! Users of other nodes, and users that move to them.

use super::{create, failed, failure, ids, mode, password, token_file};
use crate::talk::{Pair, pair, pair_with};

#[test]
fn a_user_of_a_connected_node_is_found_by_what_it_says_of_itself() {
    let pair = pair();
    let ada = create(&pair.ada, "ada");
    pair.ada.json(&["user", "update", "--display-name", "Ada Lovelace", "--bio", "work=engines"]);
    let found = pair.ben.until(&["user", "search", "lovelace"], |found| found[0]["user"] == ada);
    assert_eq!((&found[0]["handle"], &found[0]["local"]), (&"ada".into(), &false.into()));
    for query in [
        &["@ada", "--exact"][..],
        &["engi", "--in", "bio"],
        &["Ada L", "--in", "name", "--prefix"],
        &[&ada, "--in", "id", "--exact"],
    ] {
        assert_eq!(ids(&pair.ben.json(&[&["user", "search"], query].concat())), [ada.as_str()]);
    }
    let nobody = ["user", "search", "ada", "--in", "bio"];
    assert_eq!(pair.ben.json(&nobody), serde_json::json!([]));
    assert_eq!(ids(&pair.ben.json(&["user", "ls", "--remote"])), [ada.as_str()]);
    assert_eq!(pair.ben.json(&["user", "ls"]), serde_json::json!([]));
    let online = |user: &serde_json::Value| {
        user["online"] == true && user["nodes"] == serde_json::json!([pair.ada_up.id()])
    };
    pair.ben.until(&["user", "show", "ada"], online);
    assert!(pair.ben.run(&["user", "show", "@ada"]).stdout.contains("Ada Lovelace"));
}

#[test]
fn what_becomes_known_is_printed_as_it_happens() {
    let pair = pair();
    let watch = pair.ben.spawn(&["user", "watch", "--json"]);
    watch.message("watching");
    let ada = create(&pair.ada, "ada");
    let (mut changed, mut online) = (false, false);
    while !(changed && online) {
        let line: serde_json::Value = serde_json::from_str(&watch.line()).unwrap();
        assert_eq!(line["user"], ada.as_str());
        changed |= line["event"] == "changed";
        online |= line["event"] == "online" && line["node"] == pair.ada_up.id();
    }
}

#[test]
fn files_are_sent_to_a_user_wherever_it_is_logged_in() {
    let pair = pair_with(|ada| {
        ["--accept-from", ada.id(), "--files-dir", "inbox"].map(str::to_owned).to_vec()
    });
    let ben = create(&pair.ben, "ben");
    pair.ada.write("notes.txt", "for Ben");
    let unknown = ["send", "notes.txt", "--to", "nobody"];
    assert_eq!(failure(&pair.ada, &unknown), failed("unknown_user"));
    pair.ada.until(&["user", "search", "@ben", "--exact"], |found| found[0]["online"] == true);
    let sent = pair.ada.json(&["send", "notes.txt", "--to", "@ben"]);
    assert_eq!(sent["bytes"], 7);
    let copy = pair.ben.home.path().join("inbox/notes.txt");
    assert_eq!(std::fs::read_to_string(copy).unwrap(), "for Ben");

    create(&pair.ada, "ada");
    pair.ada.json(&["contact", "set", "ben", "--nick", "my baker"]);
    pair.ada.json(&["send", "notes.txt", "--to", "my baker"]);
    pair.ben.json(&["user", "logout"]);
    pair.ada.until(&["user", "show", &ben], |user| user["online"] == false);
    assert_eq!(failure(&pair.ada, &["send", "notes.txt", "--to", &ben]), failed("offline"));
}

#[test]
fn a_user_moves_to_another_node_with_everything_it_has() {
    let pair = pair();
    let ada = create(&pair.ada, "ada");
    let friend = create(&pair.ada, "friend");
    pair.ada.json(&["--as", "ada", "contact", "set", &friend, "--nick", "my friend"]);
    pair.ada.json(&["--as", "ada", "storage", "put", "org.example.notes", "k", "kept"]);
    let (own, archive) = (password(&pair.ada, "ada"), password(&pair.ada, "archive"));
    let export = ["--as", "ada", "user", "export"];
    let secrets = ["--password-file", &own, "--archive-password-file", &archive];
    let done = pair.ada.json(&[&export[..], &["ada.peerage"], &secrets[..]].concat());
    let file = pair.ada.home.path().join("ada.peerage");
    assert_eq!((done["user"].as_str(), mode(&file)), (Some(ada.as_str()), 0o600));
    let bytes = std::fs::read(&file).unwrap();
    assert_eq!(done["bytes"], bytes.len());
    for secret in ["my friend", "kept"] {
        let seen = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!seen, "{secret} is there for all to read");
    }
    let piped = [&export[..], &["-"], &secrets[..]].concat();
    assert!(!pair.ada.command(&piped).output().unwrap().stdout.is_empty());

    let file = file.to_str().unwrap();
    let (archive, new) = (password(&pair.ben, "archive"), password(&pair.ben, "new"));
    let import = ["user", "import", file, "--password-file", &new, "--archive-password-file"];
    assert_eq!(
        failure(&pair.ben, &[&import[..], &[&new]].concat()),
        failed("wrong_archive_password")
    );
    let imported = pair.ben.json(&[&import[..], &[&archive]].concat());
    assert_eq!(imported["user"], ada.as_str());
    assert_eq!(failure(&pair.ben, &[&import[..], &[&archive]].concat()), failed("already_here"));
    pair.ben.json(&["user", "login", "ada", "--password-file", &new]);
    assert!(token_file(&pair.ben, &ada).exists());
    assert_eq!(pair.ben.json(&["contact", "ls"])[0]["nick"], "my friend");
    let kept = pair.ben.json(&["storage", "get", "org.example.notes", "k"]);
    assert_eq!(kept["value"], "kept");
    let garbage = pair.ben.write("garbage", "not an archive");
    let import = ["user", "import", garbage.to_str().unwrap(), "--password-file", &new];
    let import = [&import[..], &["--archive-password-file", &archive]].concat();
    assert_eq!(failure(&pair.ben, &import), failed("bad_archive"));
}

#[test]
fn a_node_that_was_killed_hosts_nobody_any_more() {
    let pair = pair();
    let ada = create(&pair.ada, "ada");
    pair.ben.until(&["user", "show", &ada], |user| user["online"] == true);
    let Pair { ada: sandbox, ada_up, ben, .. } = &pair;
    ada_up.process.signal(rustix::process::Signal::KILL);
    let gone = ben.until(&["user", "show", &ada], |user| user["online"] == false);
    let seen = gone["last_seen_ms"].clone();
    assert_eq!(ben.json(&["user", "show", &ada])["last_seen_ms"], seen, "not the moment of asking");
    let _again = sandbox.up(&[]);
    let here = sandbox.json(&["user", "show", &ada]);
    assert_eq!((&here["online"], &here["nodes"]), (&false.into(), &serde_json::json!([])));
}
