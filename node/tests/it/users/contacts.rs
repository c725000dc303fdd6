//! The contact book.

use serde_json::json;

use super::{create, failed, failure, ids, password};
use crate::sandbox::{Sandbox, fields};

const CONTACT: [&str; 17] = [
    "added_ms",
    "blocked",
    "display_name",
    "handle",
    "location",
    "lookalikes",
    "met",
    "moved_from",
    "nick",
    "notes",
    "online",
    "revoked",
    "tags",
    "trust",
    "updated_ms",
    "user",
    "verified",
];

#[test]
fn contacts_are_noted_found_changed_and_removed() {
    let sandbox = Sandbox::new();
    let _daemon = sandbox.up(&[]);
    create(&sandbox, "ada");
    let (ben, cleo) = (create(&sandbox, "ben"), create(&sandbox, "cleo"));
    let ada = |args: &[&str]| sandbox.json(&[&["--as", "ada", "contact"], args].concat());
    let set = ["set", "@ben", "--nick", "my baker", "--trust", "60", "--met", "--tag", "bread"];
    let noted = ada(&[&set[..], &["--tag", "shop", "--notes", "two\nlines"]].concat());
    assert_eq!(fields(&noted), CONTACT);
    assert_eq!((&noted["user"], &noted["handle"]), (&ben.as_str().into(), &"ben".into()));
    assert_eq!((&noted["trust"], &noted["tags"]), (&60.into(), &json!(["bread", "shop"])));
    ada(&["set", &cleo, "--trust", "-20", "--location", "London", "--tag", "shop"]);

    for (conditions, found) in [
        (&[][..], vec![&ben, &cleo]),
        (&["--tag", "bread"], vec![&ben]),
        (&["--any-tag", "bread", "--any-tag", "shop"], vec![&ben, &cleo]),
        (&["--without-tag", "bread"], vec![&cleo]),
        (&["--trust-min", "-20", "--trust-max", "0"], vec![&cleo]),
        (&["--text", "BAKER"], vec![&ben]),
        (&["--location", "lon"], vec![&cleo]),
        (&["--met=false"], vec![&cleo]),
        (&["--met", "--text", "london"], vec![]),
    ] {
        let listed = ada(&[&["ls"], conditions].concat());
        let mut found: Vec<&str> = found.into_iter().map(String::as_str).collect();
        let mut listed = ids(&listed);
        found.sort_unstable();
        listed.sort_unstable();
        assert_eq!(listed, found, "{conditions:?}");
    }
    let changed = ada(&["set", "my baker", "--untag", "bread", "--unset", "notes", "--not-met"]);
    assert_eq!((&changed["tags"], &changed["notes"]), (&json!(["shop"]), &json!(null)));
    assert_eq!((&changed["met"], &changed["nick"]), (&false.into(), &"my baker".into()));
    let people = sandbox.run(&["--as", "ada", "contact", "ls"]);
    assert!(people.stdout.contains("my baker") && people.stdout.contains("@cleo"), "{people:?}");

    assert_eq!(ada(&["rm", "my baker"])["removed"], true);
    let gone = ["--as", "ada", "contact", "show", &ben];
    assert_eq!(failure(&sandbox, &gone), failed("no_such_contact"));
    // The book is Ada's alone.
    assert_eq!(sandbox.json(&["--as", "ben", "contact", "ls"]), json!([]));
    let own = ["--as", "ada", "contact", "set", "ada"];
    assert_eq!(failure(&sandbox, &own), failed("own"));
}

#[test]
fn both_sides_see_the_same_number_and_one_that_differs_is_refused() {
    let sandbox = Sandbox::new();
    let _daemon = sandbox.up(&[]);
    let ada_id = create(&sandbox, "ada");
    create(&sandbox, "ben");
    let ada = |args: &[&str]| [&["--as", "ada", "contact"], args].concat().join("\n");
    let run = |line: String| sandbox.json(&line.split('\n').collect::<Vec<_>>());
    run(ada(&["set", "ben"]));
    let number = run(ada(&["verify", "ben"]));
    assert_eq!(fields(&number), ["digits", "qr", "user", "verified"]);
    assert_eq!(number["verified"], false, "nobody said that it was compared");
    let stranger = ["--as", "ben", "contact", "verify", "ada"];
    assert_eq!(failure(&sandbox, &stranger), failed("unknown_user"), "she is not in his book");
    let other = sandbox.json(&["--as", "ben", "contact", "verify", &ada_id]);
    assert_eq!(number["digits"], other["digits"]);
    let people = sandbox.run(&["--as", "ada", "contact", "verify", "ben", "--qr"]);
    assert_eq!(people.stdout.lines().count(), 3, "{people:?}");
    let groups: Vec<&str> = people.stdout.split_whitespace().collect();
    assert_eq!(groups.join(" "), number["digits"].as_str().unwrap());
    assert!(people.stderr.contains('█'), "{people:?}");

    let wrong = "12345 ".repeat(12);
    let wrong = ["--as", "ada", "contact", "verify", "ben", "--number", wrong.trim()];
    assert_eq!(failure(&sandbox, &wrong), failed("safety_mismatch"));
    for right in ["digits", "qr"] {
        let shown = other[right].as_str().unwrap();
        let compared = run(ada(&["verify", "ben", "--number", shown]));
        assert_eq!(compared["verified"], true, "{right}");
    }
    assert_eq!(run(ada(&["show", "ben"]))["verified"], true);
    let listed = run(ada(&["ls", "--verified"]));
    assert_eq!(listed.as_array().unwrap().len(), 1);
}

#[test]
fn a_blocked_user_is_not_seen_and_another_of_that_handle_is_warned_of() {
    let sandbox = Sandbox::new();
    let _daemon = sandbox.up(&[]);
    create(&sandbox, "ada");
    let (ben, eve) = (create(&sandbox, "ben"), create(&sandbox, "ben"));
    let ambiguous = sandbox.run(&["user", "show", "ben", "--json"]);
    assert_eq!((ambiguous.code, ambiguous.error_code().as_str()), (Some(1), "ambiguous"));
    assert!(ambiguous.stderr.contains(&ben) && ambiguous.stderr.contains(&eve), "{ambiguous:?}");

    let ada = |args: &[&str]| sandbox.json(&[&["--as", "ada"], args].concat());
    ada(&["contact", "set", &ben, "--nick", "baker"]);
    let shown = sandbox.until(&["--as", "ada", "contact", "show", "baker"], |contact| {
        contact["lookalikes"] == json!([eve])
    });
    assert_eq!(shown["user"], ben.as_str());
    let people = sandbox.run(&["--as", "ada", "contact", "show", "baker"]);
    assert!(people.stderr.contains("somebody else"), "{people:?}");

    assert_eq!(ada(&["contact", "block", &eve])["blocked"], true);
    assert_eq!(ids(&ada(&["user", "search", "@ben"])), [ben.as_str()]);
    assert_eq!(ada(&["contact", "ls", "--blocked"])[0]["user"], eve.as_str());
    assert_eq!(ada(&["contact", "unblock", &eve])["blocked"], false);
    assert_eq!(ada(&["user", "search", "@ben"]).as_array().unwrap().len(), 2);
}

/// Makes Ben, whose recovery code is in the file `ben.recovery`.
fn ben_with_recovery(sandbox: &Sandbox) -> String {
    let file = password(sandbox, "ben");
    let create = ["user", "create", "--handle", "ben", "--password-file", &file];
    let made = sandbox.json(&[&create[..], &["--recovery-file", "ben.recovery"]].concat());
    made["user"].as_str().unwrap().to_owned()
}

#[test]
fn a_contact_whose_key_was_revoked_is_marked_and_not_verified() {
    let sandbox = Sandbox::new();
    let _daemon = sandbox.up(&[]);
    create(&sandbox, "ada");
    let ben = ben_with_recovery(&sandbox);
    let ada = |args: &[&str]| sandbox.json(&[&["--as", "ada"], args].concat());
    ada(&["contact", "verify", &ben, "--yes"]);
    assert_eq!(ada(&["contact", "ls", "--verified"])[0]["revoked"], false);
    sandbox.json(&["user", "revoke", &ben, "--yes", "--recovery-file", "ben.recovery"]);
    let shown = ada(&["contact", "show", &ben]);
    assert_eq!((&shown["revoked"], &shown["verified"]), (&true.into(), &false.into()));
    assert!(sandbox.run(&["--as", "ada", "contact", "ls"]).stdout.contains("revoked!"));
    let refused = sandbox.run(&["--as", "ada", "contact", "verify", &ben, "--yes", "--json"]);
    assert_eq!((refused.code, refused.error_code().as_str()), (Some(1), "revoked"));
    assert!(refused.stderr.contains("peerage contact rm"), "{refused:?}");
    let file = password(&sandbox, "ben");
    let login = sandbox.run(&["user", "login", &ben, "--password-file", &file]);
    assert!(login.stderr.contains("no longer valid"), "{login:?}");
}

#[test]
fn who_is_blocked_is_sent_nothing_and_stays_hidden_under_a_new_key() {
    let sandbox = Sandbox::new();
    let _daemon = sandbox.up(&[]);
    create(&sandbox, "ada");
    let ben = ben_with_recovery(&sandbox);
    let ada = |args: &[&str]| sandbox.json(&[&["--as", "ada"], args].concat());
    ada(&["contact", "block", &ben]);
    sandbox.write("notes.txt", "for Ben");
    let sent = ["--as", "ada", "send", "notes.txt", "--to", "@ben"];
    assert_eq!(failure(&sandbox, &sent), failed("blocked"));
    assert!(sandbox.run(&["--as", "ada", "user", "show", &ben]).stderr.contains("blocked"));
    let file = password(&sandbox, "ben");
    let rotate = ["--as", &ben, "user", "rotate", "--password-file", &file];
    let moved = sandbox.json(&[&rotate[..], &["--recovery-file", "ben.recovery"]].concat());
    let follows = |listed: &serde_json::Value| listed[0]["user"] == moved["user"];
    sandbox.until(&["--as", "ada", "contact", "ls", "--blocked"], follows);
    assert_eq!(ada(&["user", "search", "ben"]), json!([]));
    let known = ada(&["user", "ls", "--remote"]);
    assert_eq!(known.as_array().unwrap().len(), 1, "ada herself: {known}");
}
