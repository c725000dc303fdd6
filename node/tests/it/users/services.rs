//! Services, and what they keep for users.

use std::{fs, io::Write, process::Stdio};

use serde_json::{Value, json};

use super::{create, failed, failure, mode, password};
use crate::sandbox::{Sandbox, fields};

const NOTES: &str = "org.example.notes";

#[test]
fn a_service_registers_follows_its_users_and_goes() {
    let sandbox = Sandbox::new();
    let _daemon = sandbox.up(&[]);
    let register = ["service", "register", NOTES, "--version"];
    let registered = sandbox.json(&[&register[..], &["1.0", "--description", "Notes"]].concat());
    assert_eq!(fields(&registered), ["name", "registered", "token_file"]);
    let token = sandbox.data().join(format!("services/{NOTES}.token"));
    assert_eq!(registered["token_file"], token.to_str().unwrap());
    assert_eq!((mode(&token), mode(token.parent().unwrap())), (0o600, 0o700));
    sandbox.json(&[&register[..], &["1.1"]].concat());
    let listed = sandbox.json(&["service", "ls"]);
    assert_eq!((&listed[0]["name"], &listed[0]["version"]), (&NOTES.into(), &"1.1".into()));
    assert_eq!(listed[0]["description"], "Notes", "what is not given stays");
    let kept = fs::read_to_string(&token).unwrap();

    let watch = sandbox.spawn(&["service", "watch", NOTES, "--json"]);
    watch.message("watching");
    let ada = create(&sandbox, "ada");
    sandbox.json(&["user", "logout"]);
    for event in ["opened", "closed"] {
        let line: Value = serde_json::from_str(&watch.line()).unwrap();
        assert_eq!(line, json!({ "event": event, "user": ada }), "and no token");
    }
    fs::remove_file(&token).unwrap();
    assert_eq!(failure(&sandbox, &["service", "unregister", NOTES]), failed("not_authorised"));
    assert_eq!(failure(&sandbox, &["service", "register", NOTES]), failed("taken"));
    let refused = sandbox.run(&["service", "unregister", NOTES]);
    assert!(refused.stderr.contains("--token-file"), "{refused:?}");
    let elsewhere = sandbox.write("elsewhere.token", &kept);
    fs::set_permissions(&elsewhere, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let named = ["service", "unregister", NOTES, "--token-file", "elsewhere.token"];
    assert_eq!(sandbox.json(&named)["registered"], false);
    assert!(elsewhere.exists(), "it is for who made it to remove it");
    assert_eq!(sandbox.json(&["service", "ls"]), json!([]));
    for again in [&named[..], &["service", "unregister", "org.example.nosuch"]] {
        assert_eq!(failure(&sandbox, again), failed("no_such_service"));
    }
    sandbox.json(&["service", "register", NOTES]);
    assert_eq!(sandbox.json(&["service", "unregister", NOTES])["registered"], false);
    assert!(!token.exists());
}

#[test]
fn what_a_service_keeps_is_put_read_listed_and_removed() {
    let sandbox = Sandbox::new();
    let _daemon = sandbox.up(&[]);
    create(&sandbox, "ada");
    let storage = |args: &[&str]| sandbox.json(&[&["storage"], args].concat());
    let first = storage(&["put", NOTES, "a/1", "bread, tea"]);
    assert_eq!(fields(&first), ["key", "revision"]);
    let entry = storage(&["get", NOTES, "a/1"]);
    assert_eq!(fields(&entry), ["expires_ms", "key", "revision", "updated_ms", "value"]);
    assert_eq!((&entry["value"], &entry["revision"]), (&"bread, tea".into(), &first["revision"]));
    assert_eq!(sandbox.run(&["storage", "get", NOTES, "a/1"]).stdout, "bread, tea");

    let mut child = sandbox.command(&["storage", "put", NOTES, "a/2", "-"]);
    let mut child = child.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"\xff\x00\n").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let raw = sandbox.command(&["storage", "get", NOTES, "a/2"]).output().unwrap().stdout;
    assert_eq!(raw, b"\xff\x00\n", "as it was put");
    storage(&["put", NOTES, "b", "x"]);
    let listed = storage(&["ls", NOTES, "a/"]);
    let keys: Vec<_> = listed.as_array().unwrap().iter().map(|entry| &entry["key"]).collect();
    assert_eq!(keys, ["a/1", "a/2"]);
    assert_eq!(storage(&["ls", NOTES, "--limit", "1"]).as_array().unwrap().len(), 1);
    assert!(sandbox.run(&["storage", "ls", NOTES]).stdout.contains("bread, tea"));
    assert_eq!(storage(&["ls", "org.example.other"]), json!([]));

    assert_eq!(storage(&["del", NOTES, "a/1"])["deleted"], true);
    assert_eq!(failure(&sandbox, &["storage", "get", NOTES, "a/1"]), failed("not_found"));
    assert_eq!(failure(&sandbox, &["storage", "del", NOTES, "a/1"]), failed("not_found"));
}

#[test]
fn a_write_at_another_revision_is_a_conflict() {
    let sandbox = Sandbox::new();
    let _daemon = sandbox.up(&[]);
    create(&sandbox, "ada");
    fn put<'a>(rest: &[&'a str]) -> Vec<&'a str> {
        [&["storage", "put", NOTES, "k"], rest].concat()
    }
    let first = sandbox.json(&put(&["1", "--if-revision", "0"]))["revision"].to_string();
    let again = sandbox.run(&put(&["2", "--if-revision", "0", "--json"]));
    assert_eq!((again.code, again.error_code().as_str()), (Some(1), "conflict"));
    assert_eq!(again.json()["error"]["found"].to_string(), first);
    let second = sandbox.json(&put(&["2", "--if-revision", &first]))["revision"].to_string();
    let stale = ["storage", "del", NOTES, "k", "--if-revision", &first];
    assert_eq!(failure(&sandbox, &stale), failed("conflict"));
    sandbox.json(&["storage", "del", NOTES, "k", "--if-revision", &second]);
}

#[test]
fn changes_are_followed_until_the_session_ends() {
    let sandbox = Sandbox::new();
    let _daemon = sandbox.up(&[]);
    create(&sandbox, "ada");
    let watch = sandbox.spawn(&["storage", "watch", NOTES, "a", "--json"]);
    watch.message("watching");
    sandbox.json(&["storage", "put", NOTES, "b", "elsewhere"]);
    sandbox.json(&["storage", "put", NOTES, "a", "x"]);
    sandbox.json(&["storage", "del", NOTES, "a"]);
    let put: Value = serde_json::from_str(&watch.line()).unwrap();
    assert_eq!((&put["event"], &put["key"]), (&"put".into(), &"a".into()));
    let gone: Value = serde_json::from_str(&watch.line()).unwrap();
    assert_eq!((&gone["event"], &gone["key"]), (&"deleted".into(), &"a".into()));
    sandbox.json(&["user", "logout"]);
    let (status, lines, messages) = watch.end();
    assert_eq!(status.code(), Some(1), "{lines:?} {messages:?}");
    assert!(messages.iter().any(|line| line.contains("peerage user login")), "{messages:?}");
}

#[test]
fn an_entry_with_a_time_to_live_is_gone_after_it() {
    let sandbox = Sandbox::new();
    let _daemon = sandbox.up(&[]);
    create(&sandbox, "ada");
    sandbox.json(&["storage", "put", NOTES, "day", "x", "--ttl", "1d"]);
    let day = sandbox.json(&["storage", "get", NOTES, "day"]);
    let [written, expires] = ["updated_ms", "expires_ms"].map(|name| day[name].as_u64().unwrap());
    assert_eq!(expires - written, 86_400_000);
    let watch =
        sandbox.spawn(&["storage", "watch", NOTES, "--json", "--count", "2", "--for", "20"]);
    watch.message("watching");
    sandbox.json(&["storage", "put", NOTES, "soon", "x", "--ttl", "1"]);
    let (_, told, _) = watch.end();
    assert_eq!(told.len(), 2, "that it is over is told at once: {told:?}");
    let wrong = sandbox.run(&["storage", "put", NOTES, "soon", "x", "--ttl", "-1"]);
    assert!(wrong.code == Some(2) && wrong.stderr.contains("such as 90s"), "{wrong:?}");
    let keys = |listed: &Value| listed.as_array().unwrap().len();
    sandbox.until(&["storage", "ls", NOTES], |listed| keys(listed) == 1);
    assert_eq!(failure(&sandbox, &["storage", "get", NOTES, "soon"]), failed("not_found"));
}

#[test]
fn each_user_has_storage_of_its_own_which_is_sealed_when_it_is_logged_out() {
    let sandbox = Sandbox::new();
    let _daemon = sandbox.up(&[]);
    create(&sandbox, "ada");
    create(&sandbox, "ben");
    sandbox.json(&["--as", "ada", "storage", "put", NOTES, "k", "of ada"]);
    let other = ["--as", "ben", "storage", "get", NOTES, "k"];
    assert_eq!(failure(&sandbox, &other), failed("not_found"));
    sandbox.json(&["--as", "ada", "user", "logout"]);
    let sealed = ["--as", "ada", "storage", "get", NOTES, "k"];
    assert_eq!(failure(&sandbox, &sealed), failed("not_authorised"));
    let file = password(&sandbox, "ada");
    sandbox.json(&["user", "login", "ada", "--password-file", &file]);
    assert_eq!(sandbox.json(&sealed)["value"], "of ada");
}
