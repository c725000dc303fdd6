//! Starting, stopping, and what survives.

use std::{net::TcpListener, os::unix::fs::PermissionsExt};

use rustix::process::Signal;
use serde_json::Value;

use crate::{
    http::metric,
    sandbox::{Sandbox, fields},
};

#[test]
fn up_tells_in_one_line_that_it_is_ready_and_stops_on_sigterm() {
    let sandbox = Sandbox::new();
    let daemon = sandbox.up(&[]);
    assert_eq!(fields(&daemon.ready), ["data", "event", "listen", "metrics", "peer_id", "rpc"]);
    assert_eq!(daemon.ready["event"], "ready");
    assert_eq!(daemon.ready["data"], sandbox.data().to_str().unwrap());
    assert!(daemon.ready["rpc"].as_str().unwrap().starts_with("unix:"));
    assert!(daemon.address().ends_with(&format!("/p2p/{}", daemon.id())));
    assert_eq!(sandbox.data().metadata().unwrap().permissions().mode() & 0o777, 0o700);
    daemon.process.signal(Signal::TERM);
    let (status, rest, messages) = daemon.process.end();
    assert_eq!((status.code(), rest), (Some(0), vec![]), "{messages:#?}");
    assert_eq!(sandbox.run(&["status"]).code, Some(3));
}

#[test]
fn status_id_and_peers_have_the_shapes_of_the_contract() {
    let sandbox = Sandbox::new();
    let daemon = sandbox.up(&[]);
    let id = sandbox.json(&["id"]);
    assert_eq!(fields(&id), ["peer_id", "public_key"]);
    assert_eq!(id["peer_id"], daemon.id());
    let status = sandbox.json(&["status"]);
    for field in [
        "peer_id",
        "uptime_s",
        "peers",
        "listen",
        "external",
        "reachability",
        "rss_bytes",
        "transfers_active",
        "network",
    ] {
        assert!(!status[field].is_null(), "status has no {field}: {status}");
    }
    assert_eq!(status["listen"], daemon.ready["listen"]);
    assert!(status["rss_bytes"].as_u64().unwrap() > 0);
    assert_eq!(sandbox.json(&["peers"]), Value::Array(vec![]));
    assert_eq!(sandbox.json(&["topics"]), Value::Array(vec![]));
    let people = sandbox.run(&["status"]);
    assert!(people.stdout.contains(daemon.id()) && people.stdout.contains("MB"), "{people:?}");
    let checks = sandbox.run(&["doctor", "--json"]);
    let failing = checks.json().as_array().unwrap().iter().any(|check| check["verdict"] == "fail");
    assert_eq!(checks.code, Some(i32::from(failing)), "{checks:?}");
}

#[test]
fn stop_returns_when_the_daemon_is_gone() {
    let sandbox = Sandbox::new();
    let daemon = sandbox.up(&[]);
    assert_eq!(sandbox.json(&["stop"])["stopped"], true);
    assert_eq!(sandbox.run(&["status"]).code, Some(3));
    // The directory is free again at once.
    let next = sandbox.up(&[]);
    assert_eq!(next.id(), daemon.id());
    let (status, _, messages) = daemon.process.end();
    assert_eq!(status.code(), Some(0), "{messages:#?}");
}

#[test]
fn a_second_daemon_on_the_same_directory_names_the_first() {
    let sandbox = Sandbox::new();
    let daemon = sandbox.up(&[]);
    let second = sandbox.run(&["up", "--json", "--local-only", "--no-mdns"]);
    assert_eq!(second.code, Some(1));
    let message = second.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains(&format!("process {}", daemon.process.id())), "{message}");
    assert_eq!(sandbox.run(&["id"]).code, Some(0));
}

#[test]
fn identity_blocks_and_known_addresses_survive_kill_9() {
    let (one, two) = (Sandbox::new(), Sandbox::new());
    let stranger = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA";
    let first = one.up(&["--metrics", "127.0.0.1:0"]);
    let other = two.up(&[]);
    let id = first.id().to_owned();
    let other_id = other.id().to_owned();
    one.json(&["peers", "block", stranger]);
    one.json(&["peers", "protect", &other_id]);
    one.json(&["connect", other.address()]);
    // The book is saved a moment later, with what else is learnt by then.
    while metric(&first, "peerage_book_unsaved") > 0.0 {}
    // This is on disk when it is answered, and so is what was handed in before.
    one.json(&["peers", "allow", stranger]);
    one.json(&["peers", "block", stranger]);
    first.kill();
    other.kill();
    let again = one.up(&[]);
    assert_eq!(again.id(), id);
    let lists = one.json(&["peers", "lists"]);
    assert_eq!(lists["blocked"], serde_json::json!([stranger]));
    assert_eq!(lists["protected"], serde_json::json!([other_id]));
    let known = one.json(&["peers", "show", &other_id]);
    assert!(known["addresses"][0]["address"].as_str().unwrap().contains("127.0.0.1"), "{known}");
}

#[test]
fn an_address_in_use_is_named() {
    let sandbox = Sandbox::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let address = format!("/ip4/127.0.0.1/tcp/{port}");
    let finished =
        sandbox.run(&["up", "--json", "--local-only", "--no-mdns", "--listen", &address]);
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(finished.stderr.contains(&port.to_string()), "{finished:?}");
    let metrics = format!("127.0.0.1:{port}");
    let finished = sandbox.run(&[
        "up",
        "--json",
        "--local-only",
        "--no-mdns",
        "--listen",
        "/ip4/127.0.0.1/tcp/0",
        "--metrics",
        &metrics,
    ]);
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(finished.stderr.contains(&metrics), "{finished:?}");
}

#[test]
fn an_identity_that_others_can_read_is_refused() {
    let sandbox = Sandbox::new();
    let daemon = sandbox.up(&[]);
    sandbox.json(&["stop"]);
    daemon.process.end();
    let secret = |entry: &std::fs::DirEntry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        name.contains("identity") || name.ends_with(".key")
    };
    let mut entries = std::fs::read_dir(sandbox.data()).unwrap().map(Result::unwrap);
    let key = entries.find(secret).expect("the data directory holds a key").path();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let finished = sandbox.run(&["up", "--json", "--local-only", "--no-mdns"]);
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(finished.stderr.contains(key.to_str().unwrap()), "{finished:?}");
}

#[test]
fn logs_go_to_a_file_as_json() {
    let sandbox = Sandbox::new();
    let daemon = sandbox.up(&["-vv", "--log-file", "node.log", "--log-format", "json"]);
    daemon.process.signal(Signal::INT);
    let (status, _, messages) = daemon.process.end();
    assert_eq!((status.code(), messages), (Some(0), vec![]));
    let logs = std::fs::read_to_string(sandbox.home.path().join("node.log")).unwrap();
    assert!(logs.lines().count() > 0);
    for line in logs.lines() {
        serde_json::from_str::<Value>(line).unwrap();
    }
}

#[test]
fn a_second_signal_ends_the_daemon_at_once() {
    let sandbox = Sandbox::new();
    let daemon = sandbox.up(&[]);
    // Both are there when it wakes up, so that it cannot have stopped in between.
    for signal in [Signal::STOP, Signal::INT, Signal::TERM, Signal::CONT] {
        daemon.process.signal(signal);
    }
    let (status, _, messages) = daemon.process.end();
    assert_eq!(status.code(), Some(130), "{messages:#?}");
    // What it left behind does not disturb the next one.
    assert_eq!(sandbox.run(&["status"]).code, Some(3));
    sandbox.up(&[]);
}

#[test]
fn a_stream_ends_with_the_daemon_and_with_ctrl_c() {
    let sandbox = Sandbox::new();
    let daemon = sandbox.up(&[]);
    let reader = sandbox.spawn(&["sub", "news", "--json"]);
    let stopped = sandbox.spawn(&["exchange", "listen", "chat"]);
    reader.message("subscribed");
    stopped.message("listening");
    stopped.signal(Signal::INT);
    assert_eq!(stopped.end().0.code(), Some(130));
    assert_eq!(sandbox.run(&["sub", "news", "--for", "0.01"]).code, Some(0));
    daemon.process.signal(Signal::TERM);
    let (status, lines, _) = reader.end();
    assert_eq!(status.code(), Some(1));
    let error: Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!(error["error"]["code"], "stopped");
}

#[test]
fn a_damaged_store_is_kept_aside_and_everybody_hears_of_it() {
    let sandbox = Sandbox::new();
    sandbox.up(&[]).kill();
    let store = sandbox.data().join("peerage.redb");
    std::fs::write(&store, [7; 100_000]).unwrap();
    let daemon = sandbox.up(&["--quiet"]);
    daemon.process.message("WARNING");
    let kept = std::fs::read_dir(sandbox.data()).unwrap().filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().starts_with("peerage.redb.corrupt")
    });
    assert_eq!(kept.count(), 1);
    assert_eq!(sandbox.json(&["id"])["peer_id"], daemon.id());
}

#[test]
fn a_network_key_is_written_where_the_user_stands_and_never_replaced() {
    let sandbox = Sandbox::new();
    let made = sandbox.run(&["config", "key", "swarm.key"]);
    assert_eq!(made.code, Some(0), "{made:?}");
    let key = std::fs::read(sandbox.home.path().join("swarm.key")).unwrap();
    let again = sandbox.run(&["config", "key", "swarm.key"]);
    assert_eq!(again.code, Some(1));
    assert!(again.stderr.contains("swarm.key exists already and is left as it is"), "{again:?}");
    assert_eq!(std::fs::read(sandbox.home.path().join("swarm.key")).unwrap(), key);
    let with = sandbox.up(&["--network-key", "swarm.key"]);
    // To a node without the key all of it is noise: an error, or no answer in time.
    let other = Sandbox::new();
    let _other = other.up(&[]);
    let refused = other.run(&["connect", with.ready["listen"][0].as_str().unwrap()]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
}

#[test]
fn a_port_of_another_node_is_taken_and_a_bootstrap_node_that_is_away_is_named() {
    let (first, second) = (Sandbox::new(), Sandbox::new());
    let daemon = first.up(&[]);
    let address = daemon.ready["listen"][0].as_str().unwrap().to_owned();
    let port = address.split("/p2p/").next().unwrap();
    let taken = second.run(&["up", "--json", "--local-only", "--no-mdns", "--listen", port]);
    assert_eq!(taken.code, Some(1));
    let message = taken.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("is in use by another program; choose another port"), "{message}");

    let away = "/ip4/127.0.0.1/tcp/1";
    let _daemon = second.up(&["--bootstrap", &address, "--bootstrap", away]);
    let kept = |answer: &Value| {
        let checks = answer.as_array().unwrap();
        checks.iter().find(|check| check["name"] == "kept peers").cloned().unwrap()
    };
    let start = std::time::Instant::now();
    let said = loop {
        let said = kept(&second.run(&["doctor", "--json"]).json());
        if said["detail"] == format!("not connected: {away}") {
            break said;
        }
        assert!(start.elapsed().as_secs() < 60, "{said}");
    };
    assert_eq!(said["verdict"], "warn");
}
