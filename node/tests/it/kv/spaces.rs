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
    assert_eq!(
        fields(&made),
        [
            "access",
            "bytes",
            "entries",
            "grants",
            "kind",
            "last_refusal",
            "name",
            "revoked_ms",
            "rights",
            "space"
        ]
    );
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
    let joined = ben.run(&["kv", "space", "join", id, "--name", "of ada", "--json"]);
    assert_eq!((joined.code, &joined.json()["access"]), (Some(0), &json!("none")), "{joined:?}");
    let remedy = format!("peerage kv space grant {id} --to {}", pair.ben_up.id());
    for part in ["may not read it:", pair.ada_up.id(), "there is no grant", &remedy] {
        assert!(joined.stderr.contains(part), "no {part}: {joined:?}");
    }
    let write = ["put", "tasks/2", "x", "--space", "of ada"];
    assert_eq!(failure(ben, &write), refused("no_grant"));
    refusals_are_seen(ben, "of ada", pair.ada_up.id(), &remedy);
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

/// Everything that could make somebody wonder why a space is empty says that a peer has refused it,
/// and what the owner has to type.
fn refusals_are_seen(sandbox: &Sandbox, name: &str, by: &str, remedy: &str) {
    let place = ["--space", name];
    for (args, code, said) in [
        (&["kv", "ls"][..], 0, remedy),
        (&["kv", "get", "tasks/1"], 1, remedy),
        (&["kv", "sync"], 5, remedy),
        (&["kv", "sync", by], 5, remedy),
        (&["kv", "put", "k", "v"], 5, remedy),
    ] {
        let told = sandbox.run(&[args, &place].concat());
        assert!(told.code == Some(code) && told.stderr.contains(said), "{told:?}");
    }
    let listed = sandbox.run(&["kv", "ls", "--space", name, "--json"]);
    assert_eq!((listed.json(), listed.code), (json!([]), Some(0)), "{listed:?}");
    let all = failure(sandbox, &["sync", "--space", name]);
    assert_eq!(all, refused("refused_by_all"));
    let stats = kv(sandbox, &["stats", "--space", name]);
    assert_eq!(stats["last_refusal"]["peer"], by);
    assert_eq!(stats["last_refusal"]["why"], "no_grant");
    for args in [&["stats", "--space", name][..], &["space", "ls"], &["space", "show", name]] {
        let shown = text(sandbox, args);
        assert!(shown.contains(by) && shown.contains("there is no grant"), "{shown}");
    }
}

#[test]
fn a_node_whose_grant_is_revoked_learns_it_by_being_refused_and_keeps_what_it_has() {
    let pair = pair();
    let (ada, ben) = (&pair.ada, &pair.ben);
    space(ada, &["create", "team"]);
    kv(ada, &["put", "a", "x", "--space", "team"]);
    let granted = space(ada, &["grant", "team", "--to", pair.ben_up.id(), "--write"]);
    let (ticket, grant) = (granted["ticket"].as_str().unwrap(), &granted["grant"]["id"]);
    assert_eq!(space(ben, &["join", ticket])["access"], "granted");
    ben.until(&["kv", "ls", "--space", "team"], |listed| listed[0]["value"] == "x");
    kv(ben, &["put", "b", "y", "--space", "team"]);
    let revoke = ["space", "revoke", "team", grant.as_str().unwrap()];
    kv(ada, &revoke);
    // By itself, without anybody asking for it.
    ben.until(&["kv", "space", "show", "team"], |shown| shown["access"] == "revoked");
    let write = ben.run(&["kv", "put", "b", "z", "--space", "team"]);
    assert_eq!(write.code, Some(5), "{write:?}");
    let remedy = format!("--to {} --write", pair.ben_up.id());
    for part in ["in team was taken back", "kv space grant space1", &remedy] {
        assert!(write.stderr.contains(part), "no {part}: {write:?}");
    }
    assert_eq!(failure(ben, &["put", "b", "z", "--space", "team"]), refused("revoked"));
    assert_eq!(kv(ben, &["get", "b", "--space", "team"])["value"], "y");
    assert_eq!(kv(ben, &["stats", "--space", "team"])["access"], "revoked");
    for args in [&["stats", "--space", "team"][..], &["space", "ls"], &["space", "show", "team"]] {
        let shown = text(ben, args);
        assert!(shown.contains("revoked "), "{shown}");
    }

    assert_eq!(failure(ada, &revoke), failed("already_revoked"));
    let cut = ada.run(&["kv", "space", "revoke", "team", "3f2a"]);
    assert!(cut.code == Some(1) && cut.stderr.contains("32 hexadecimal digits"), "{cut:?}");
    let prefix = "p".repeat(1025);
    let long = ada.run(&["kv", "space", "ticket", "team", "--prefix", &prefix]);
    assert!(long.code == Some(1) && long.stderr.contains("the prefix has 1025 bytes"), "{long:?}");
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
