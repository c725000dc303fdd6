//! Replicas of several nodes.

use serde_json::{Value, json};

use super::{fed, kv};
use crate::{
    sandbox::{Daemon, Sandbox},
    talk::pair,
};

/// Waits until the key has that value.
fn arrived(sandbox: &Sandbox, key: &str, value: &str) {
    let args = ["kv", "ls", key];
    sandbox.until(&args, |listed| listed[0]["key"] == key && listed[0]["value"] == value);
}

/// All entries, without what is each node's own.
fn entries(sandbox: &Sandbox) -> Vec<Value> {
    let mut listed = kv(sandbox, &["ls"]);
    let list = listed.as_array_mut().unwrap();
    list.iter_mut().for_each(|entry| drop(entry.as_object_mut().unwrap().remove("seq")));
    std::mem::take(list)
}

/// Starts a node that stays connected to another one.
fn joined(sandbox: &Sandbox, to: &Daemon) -> Daemon {
    sandbox.up(&["--bootstrap", to.address()])
}

#[test]
fn what_is_put_on_one_node_is_read_and_watched_on_another() {
    let pair = pair();
    let watch = pair.ben.spawn(&["kv", "watch", "settings/", "--json"]);
    watch.message("watching");
    kv(&pair.ada, &["put", "settings/port", "587", "--type", "int"]);
    let told: Value = serde_json::from_str(&watch.line()).unwrap();
    assert_eq!((&told["value"], &told["remote"]), (&json!(587), &json!(true)));
    assert_eq!(told["author"], pair.ada_up.id());
    let got = kv(&pair.ben, &["get", "settings/port"]);
    assert_eq!((&got["author"], &got["revision"]), (&told["author"], &told["revision"]));
    // It goes on from what another has written.
    let revision = got["revision"].as_str().unwrap();
    kv(&pair.ben, &["put", "settings/port", "25", "--type", "int", "--if-revision", revision]);
    pair.ada.until(&["kv", "ls"], |listed| listed[0]["value"] == 25);
    kv(&pair.ada, &["del", "settings/port"]);
    pair.ben.until(&["kv", "ls"], |listed| *listed == json!([]));
    let large = vec![7_u8; 3 << 20];
    assert_eq!(fed(&pair.ada, &["put", "large", "--type", "bytes"], &large).status.code(), Some(0));
    pair.ben.until(&["kv", "stats"], |stats| stats["entries"] == 1);
    let got = pair.ben.command(&["kv", "get", "large", "--raw"]).output().unwrap().stdout;
    assert!(got == large);
}

#[test]
fn sessions_are_reported_and_equal_replicas_say_little() {
    let pair = pair();
    kv(&pair.ada, &["put", "a", "x"]);
    arrived(&pair.ben, "a", "x");
    let reports = kv(&pair.ben, &["sync", pair.ada_up.id()]);
    let report = &reports[0];
    assert_eq!(report["peer"], pair.ada_up.id());
    assert_eq!((&report["rounds"], &report["error"]), (&json!(1), &json!(null)));
    let bytes = |name: &str| report[name].as_u64().unwrap();
    assert!(bytes("sent_bytes") + bytes("received_bytes") <= 200, "{report}");
    assert_eq!(kv(&pair.ben, &["sync"]).as_array().unwrap().len(), 1);
    let stats = kv(&pair.ben, &["stats"]);
    for name in
        ["entries", "tombstones", "bytes", "file_bytes", "spaces", "last_sync", "seq", "replicas"]
    {
        assert!(!stats[name].is_null(), "no {name}: {stats}");
    }
    assert_eq!(stats["last_sync"]["peer"], pair.ada_up.id());
    let nobody =
        pair.ada.run(&["kv", "sync", "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN"]);
    assert!(nobody.code == Some(1) && nobody.stderr.contains("not connected"), "{nobody:?}");
}

#[test]
fn a_node_that_was_away_catches_up_with_no_more_than_what_it_missed() {
    let [ada, ben, eve] = [(); 3].map(|()| Sandbox::new());
    let ada_up = ada.up(&[]);
    let _ben_up = joined(&ben, &ada_up);
    let eve_up = joined(&eve, &ada_up);
    let line = |n: u32, value: u32| format!("{{\"key\":\"k/{n:05}\",\"value\":{value}}}\n");
    let all: String = (0..10_000).map(|n| line(n, 0)).collect();
    assert_eq!(fed(&ada, &["import"], all.as_bytes()).status.code(), Some(0));
    for sandbox in [&ben, &eve] {
        sandbox.until(&["kv", "stats"], |stats| stats["entries"] == 10_000);
    }
    // Whoever learned the same from a third one finds out, so that it is not told again.
    let reports = kv(&eve, &["sync"]);
    let with_ada = |it: &Value| it["peer"] == ada_up.id() && it["error"].is_null();
    assert!(reports.as_array().unwrap().iter().any(with_ada), "{reports}");
    eve_up.kill();
    let some: String = (0..10_000).step_by(10).map(|n| line(n, 1)).collect();
    assert_eq!(fed(&ben, &["import"], some.as_bytes()).status.code(), Some(0));
    ada.until(&["kv", "ls", "k/09990"], |listed| listed[0]["value"] == 1);

    let _eve_up = joined(&eve, &ada_up);
    eve.until(&["kv", "ls", "k/09990"], |listed| listed[0]["value"] == 1);
    assert_eq!(entries(&eve), entries(&ada));
    assert_eq!(entries(&ben), entries(&ada));
    let last = &kv(&eve, &["stats"])["last_sync"];
    let bytes = last["received_bytes"].as_u64().unwrap();
    // An entry has some 100 bytes; all of them would be a megabyte.
    assert!(bytes < 300_000, "{last}");
}

#[test]
fn of_two_writes_on_two_sides_of_a_partition_one_wins_everywhere() {
    let (ada, ben) = (Sandbox::new(), Sandbox::new());
    let ada_up = ada.up(&[]);
    kv(&ada, &["put", "k", "of ada"]);
    kv(&ada, &["put", "only/ada", "a"]);
    let ben_up = ben.up(&[]);
    kv(&ben, &["put", "k", "of ben"]);
    kv(&ben, &["put", "only/ben", "b"]);
    ada.json(&["connect", ben_up.address()]);
    for sandbox in [&ada, &ben] {
        sandbox.until(&["kv", "stats"], |stats| stats["entries"] == 3);
        sandbox.until(&["kv", "ls", "k"], |listed| listed[0]["value"] == "of ben");
    }
    assert_eq!(entries(&ada), entries(&ben));
    let loser = kv(&ben, &["get", "k"]);
    assert_eq!(loser["author"], ben_up.id());
    assert_ne!(ada_up.id(), ben_up.id());
}
