//! Spaces: who may do what.

use serde_json::{Value, json};

use super::{failed, failure, kv, text};
use crate::{
    sandbox::{Sandbox, fields},
    talk::pair,
};

fn refused(code: &str) -> (Option<i32>, String) {
    (Some(5), code.to_owned())
}

fn space(sandbox: &Sandbox, args: &[&str]) -> Value {
    kv(sandbox, &[&["space"], args].concat())
}

#[test]
fn a_space_is_made_named_listed_and_left() {
    let sandbox = Sandbox::new();
    let _daemon = sandbox.up(&[]);
    let made = space(&sandbox, &["create", "team"]);
    assert_eq!(fields(&made), ["bytes", "entries", "grants", "kind", "name", "rights", "space"]);
    let id = made["space"].as_str().unwrap();
    assert!(id.starts_with("space1"));
    assert_eq!((&made["kind"], &made["rights"]), (&json!("owned"), &json!("write")));
    assert_eq!(space(&sandbox, &["create", "team"])["space"], id, "the same again");
    kv(&sandbox, &["put", "k", "of the team", "--space", "team"]);
    assert_eq!(kv(&sandbox, &["get", "k", "--space", id])["value"], "of the team");
    assert_eq!(failure(&sandbox, &["get", "k"]), failed("not_found"));
    let listed = space(&sandbox, &["ls"]);
    let named: Vec<_> = listed.as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert!(named.contains(&&json!("team")) && named.len() == 2, "{listed}");
    assert!(text(&sandbox, &["space", "ls"]).contains(id));
    assert!(text(&sandbox, &["space", "show", "team"]).contains("owned"));

    let unknown = sandbox.run(&["kv", "ls", "--space", "tema", "--json"]);
    assert_eq!((unknown.code, unknown.error_code().as_str()), (Some(1), "unknown_space"));
    assert!(unknown.stderr.contains("team"), "{unknown:?}");
    let half = sandbox.run(&["kv", "ls", "--space", &id[..20]]);
    assert!(half.code == Some(1) && half.stderr.contains("copy it whole"), "{half:?}");
    assert_eq!(failure(&sandbox, &["space", "leave", "default"]), failed("default_space"));
    assert_eq!(space(&sandbox, &["leave", "team"])["left"], true);
    assert_eq!(failure(&sandbox, &["ls", "--space", id]), failed("no_such_space"));
}

#[test]
fn a_peer_without_a_grant_is_refused_and_one_with_a_grant_is_not() {
    let pair = pair();
    let (ada, ben) = (&pair.ada, &pair.ben);
    let made = space(ada, &["create", "team"]);
    let id = made["space"].as_str().unwrap();
    kv(ada, &["put", "tasks/1", "buy tea", "--space", "team"]);
    space(ben, &["join", id, "--name", "of ada"]);
    let write = ["put", "tasks/2", "x", "--space", "of ada"];
    assert_eq!(failure(ben, &write), refused("no_grant"));
    let sync = ben.run(&["kv", "sync", pair.ada_up.id(), "--space", id, "--json"]);
    assert_eq!((sync.code, sync.error_code().as_str()), (Some(5), "refused"), "{sync:?}");
    assert!(sync.stderr.contains("grant"), "{sync:?}");
    assert_eq!(kv(ben, &["ls", "--space", "of ada"]), json!([]));

    let granted =
        space(ada, &["grant", "team", "--to", pair.ben_up.id(), "--write", "--prefix", "tasks/"]);
    assert_eq!(fields(&granted), ["grant", "ticket"]);
    kv(ada, &["put", "secret", "x", "--space", "team"]);
    kv(ben, &["sync", pair.ada_up.id(), "--space", "of ada"]);
    ben.until(&["kv", "ls", "--keys-only", "--space", "of ada"], |keys| {
        *keys == json!(["tasks/1"])
    });
    kv(ben, &write);
    ada.until(&["kv", "ls", "tasks/2", "--space", "team"], |listed| listed[0]["value"] == "x");
    assert_eq!(failure(ben, &["put", "secret", "y", "--space", "of ada"]), refused("no_grant"));

    let grant = granted["grant"]["id"].as_str().unwrap();
    assert!(text(ada, &["space", "show", "team"]).contains(grant));
    assert_eq!(space(ada, &["revoke", "team", grant])["revoked"], true);
    let sync = ben.run(&["kv", "sync", pair.ada_up.id(), "--space", id]);
    assert_eq!(sync.code, Some(5), "{sync:?}");
    assert_eq!(
        failure(ada, &["space", "revoke", "team", &"0".repeat(32)]),
        failed("no_such_grant")
    );
}

#[test]
fn whoever_has_a_ticket_joins_and_reads() {
    let pair = pair();
    let (ada, ben) = (&pair.ada, &pair.ben);
    space(ada, &["create", "team"]);
    kv(ada, &["put", "a", "x", "--space", "team"]);
    let shown = ada.run(&["kv", "space", "ticket", "team", "--ttl", "1d", "--qr"]);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    let ticket = shown.stdout.trim();
    assert!(ticket.starts_with("peeragespace1") && shown.stderr.contains('█'), "{shown:?}");
    let joined = space(ben, &["join", ticket]);
    assert_eq!((&joined["kind"], &joined["name"]), (&json!("joined"), &json!("team")));
    ben.until(&["kv", "ls", "--space", "team"], |listed| listed[0]["value"] == "x");
    assert_eq!(failure(ben, &["put", "a", "y", "--space", "team"]), refused("no_grant"));
    assert_eq!(failure(ben, &["space", "join", &ticket[..40]]), failed("bad_ticket"));
}
