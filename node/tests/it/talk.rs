//! Two daemons that know and tell each other things.

use std::{
    io::Write,
    net::TcpListener,
    process::{Command, Stdio},
};

use rustix::process::Signal;
use serde_json::Value;

use crate::sandbox::{Daemon, Sandbox, fields};

pub(crate) struct Pair {
    pub(crate) ada: Sandbox,
    pub(crate) ben: Sandbox,
    pub(crate) ada_up: Daemon,
    pub(crate) ben_up: Daemon,
}

/// Ben knows Ada by `--bootstrap`; returns once both know each other as members.
pub(crate) fn pair() -> Pair {
    pair_with(|_| vec![])
}

/// As [`pair`], with flags of Ben's daemon that may depend on Ada's.
pub(crate) fn pair_with(flags: impl Fn(&Daemon) -> Vec<String>) -> Pair {
    let (ada, ben) = (Sandbox::new(), Sandbox::new());
    let ada_up = ada.up(&[]);
    let flags = flags(&ada_up);
    let mut args = vec!["--bootstrap", ada_up.address()];
    args.extend(flags.iter().map(String::as_str));
    let ben_up = ben.up(&args);
    for (sandbox, other) in [(&ada, ben_up.id()), (&ben, ada_up.id())] {
        sandbox.until(&["peers"], |peers| {
            peers[0]["peer_id"] == other && peers[0]["agent"].is_string()
        });
    }
    Pair { ada, ben, ada_up, ben_up }
}

fn feed(mut command: Command, input: &[u8]) -> Option<i32> {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait().unwrap().code()
}

#[test]
fn peers_are_listed_shown_pinged_and_let_go() {
    let pair = pair();
    let (ada, ben) = (pair.ada_up.id(), pair.ben_up.id());
    let peers = pair.ben.json(&["peers", "ls"]);
    assert_eq!(
        fields(&peers[0]),
        ["agent", "connected_s", "connections", "peer_id", "protected", "rtt_ms", "sources"]
    );
    let connection = &peers[0]["connections"][0];
    assert_eq!(fields(connection), ["address", "direction", "relayed", "transport"]);
    assert_eq!(connection["direction"], "out");
    assert_eq!(connection["transport"], "tcp");
    assert!(peers[0]["sources"].as_array().unwrap().contains(&"bootstrap".into()), "{peers}");
    assert!(pair.ada.run(&["peers"]).stdout.contains(ben));
    assert!(pair.ada.run(&["peers", "show", ben]).stdout.contains("protocol"));

    let finished = pair.ada.run(&["ping", ben, "-c", "2", "--interval", "0.01", "--json"]);
    let lines: Vec<Value> =
        finished.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3, "{finished:?}");
    assert_eq!((&lines[2]["event"], &lines[2]["received"]), (&"summary".into(), &2.into()));
    assert!(lines[0]["rtt_us"].as_u64().unwrap() > 0);
    let people = pair.ada.run(&["ping", ben, "-c", "1"]);
    assert!(people.stdout.contains("1 of 1 answered; min"), "{people:?}");

    let connected = pair.ada.json(&["connect", pair.ben_up.address()]);
    assert_eq!((&connected["peer_id"], &connected["already"]), (&ben.into(), &true.into()));
    // Ben would dial Ada again: she is his bootstrap peer. So Ada refuses him.
    pair.ada.json(&["peers", "block", ben]);
    pair.ada.until(&["peers"], |peers| peers == &Value::Array(vec![]));
    let blocked = pair.ada.run(&["connect", ben, "--json"]);
    assert_eq!((blocked.code, blocked.error_code().as_str()), (Some(1), "blocked"));
    pair.ada.json(&["peers", "unblock", ben]);
    assert_eq!(pair.ada.json(&["connect", pair.ben_up.address()])["peer_id"], ben);
    assert_eq!(pair.ada.json(&["disconnect", ben])["disconnected"], true);
    assert_eq!(pair.ben.json(&["peers", "show", ada])["peer_id"], ada);
}

#[test]
fn what_is_published_is_printed_where_it_is_subscribed() {
    let pair = pair();
    let ada = pair.ada_up.id();
    let json = pair.ben.spawn(&["sub", "news", "weather", "--count", "2", "--json"]);
    let people = pair.ben.spawn(&["sub", "news", "--count", "2"]);
    for reader in [&json, &people] {
        reader.message("subscribed");
    }
    pair.ada.until(&["topics"], |topics| {
        topics.as_array().unwrap().iter().any(|t| t["topic"] == "news" && t["peers"] == 1)
    });
    let published = pair.ada.json(&["pub", "news", "hello"]);
    assert_eq!(fields(&published), ["id"]);
    assert_eq!(feed(pair.ada.command(&["pub", "news"]), b"\xff\x00"), Some(0));

    let first: Value = serde_json::from_str(&json.line()).unwrap();
    assert_eq!(fields(&first), ["data", "from", "seq", "topic"]);
    assert_eq!((&first["topic"], &first["from"]), (&"news".into(), &ada.into()));
    assert_eq!(first["data"], "hello");
    let second: Value = serde_json::from_str(&json.line()).unwrap();
    assert_eq!(second["data"], serde_json::json!({ "base64": "/wA=" }));
    assert_eq!(people.line(), format!("{ada}: hello"));
    assert_eq!(people.line(), format!("{ada}: (2 bytes) /wA="));
    for reader in [json, people] {
        let (status, rest, _) = reader.end();
        assert_eq!((status.code(), rest), (Some(0), vec![]));
    }
    let nobody = pair.ada.run(&["pub", "void", "x", "--json"]);
    assert_eq!((nobody.code, nobody.error_code().as_str()), (Some(1), "no_peers"));
}

#[test]
fn exchange_messages_arrive_and_requests_are_answered() {
    let pair = pair();
    let (ada, ben) = (pair.ada_up.id(), pair.ben_up.id());
    let listener =
        pair.ben.spawn(&["exchange", "listen", "chat", "note", "--count", "3", "--json"]);
    listener.message("listening");
    let sent = pair.ada.json(&["exchange", "send", ben, "chat", "hello", "--ack"]);
    assert_eq!(sent["acked"], true);
    assert_eq!(
        feed(pair.ada.command(&["exchange", "send", ben, "note", "-"]), b"from stdin"),
        Some(0)
    );
    assert_eq!(pair.ada.json(&["exchange", "broadcast", "chat", "all"])["sent"], 1);
    for (kind, data) in [("chat", "hello"), ("note", "from stdin"), ("chat", "all")] {
        let message: Value = serde_json::from_str(&listener.line()).unwrap();
        assert_eq!(message["peer"], ada);
        assert_eq!((&message["type"], &message["data"]), (&kind.into(), &data.into()));
    }
    assert_eq!(listener.end().0.code(), Some(0));

    let responder = pair.ben.spawn(&["exchange", "respond", "time", "noon"]);
    let echo = pair.ben.spawn(&["exchange", "respond", "echo", "-", "--count", "1"]);
    responder.message("responding");
    echo.message("responding");
    assert_eq!(pair.ada.json(&["exchange", "request", ben, "time", "?"])["data"], "noon");
    assert_eq!(pair.ada.run(&["exchange", "request", ben, "time", "?"]).stdout, "noon");
    assert_eq!(pair.ada.json(&["exchange", "request", ben, "echo", "sound"])["data"], "sound");
    assert_eq!(echo.end().0.code(), Some(0));
    let nobody = pair.ada.run(&["exchange", "request", ben, "other", "?", "--json"]);
    assert_eq!((nobody.code, nobody.error_code().as_str()), (Some(5), "no_responder"));

    responder.signal(Signal::INT);
    assert_eq!(responder.end().0.code(), Some(130));
}

#[test]
fn nodes_are_found_by_namespace_and_by_id() {
    let pair = pair();
    let (ada, ben) = (pair.ada_up.id(), pair.ben_up.id());
    // The hash table takes an announcement once identify told it about the other node.
    let announced = loop {
        let finished = pair.ben.run(&["announce", "chess", "--json"]);
        match finished.code {
            Some(0) => break finished.json(),
            _ => assert_eq!(finished.error_code(), "no_network"),
        }
    };
    assert_eq!(announced["namespace"], "chess");
    let found = pair.ada.run(&["find", "chess", "--json"]);
    let lines: Vec<Value> =
        found.stdout.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let line = lines.iter().find(|line| line["peer_id"] == ben).expect("Ben announced himself");
    assert_eq!(fields(line), ["addresses", "peer_id", "source"]);
    assert_eq!(pair.ada.run(&["find", "nothing"]).code, Some(0));
    assert_eq!(pair.ben.json(&["resolve", ada])["peer_id"], ada);
    // Kademlia is asked all the same.
    let rsa = "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N";
    let unknown = pair.ben.run(&["resolve", rsa, "--json"]);
    assert_eq!((unknown.code, unknown.error_code().as_str()), (Some(1), "not_found"));
    assert!(unknown.stderr.contains("only Ed25519 identities"), "{unknown:?}");
}

#[test]
fn who_only_kademlia_could_know_is_looked_for_nowhere_without_it() {
    let sandbox = Sandbox::new();
    let _daemon = sandbox.up(&["--no-kad"]);
    let rsa = "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N";
    let unknown = sandbox.run(&["resolve", rsa, "--json"]);
    assert_eq!((unknown.code, unknown.error_code().as_str()), (Some(1), "unlisted"));
    assert!(unknown.stderr.contains("Kademlia is switched off"), "{unknown:?}");
}

#[test]
fn the_path_to_a_peer_is_measured() {
    let pair = pair();
    let rows = pair.ada.json(&["bench", "link", pair.ben_up.id(), "--megabytes", "4"]);
    for row in rows.as_array().unwrap() {
        assert_eq!(
            fields(row),
            ["bytes", "direction", "mb_per_s", "rtt_p50_us", "seconds", "transport"]
        );
        assert!(row["mb_per_s"].as_f64().unwrap() > 0.0);
    }
    assert_eq!((&rows[0]["direction"], &rows[1]["direction"]), (&"send".into(), &"receive".into()));
}

#[test]
fn an_answer_that_does_not_come_in_time_is_exit_code_4() {
    let sandbox = Sandbox::new();
    let _daemon = sandbox.up(&[]);
    // Accepts connections by its backlog and never says a word.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("/ip4/127.0.0.1/tcp/{}", mute.local_addr().unwrap().port());
    let finished = sandbox.run(&["connect", &address, "--timeout", "0.5", "--json"]);
    assert_eq!((finished.code, finished.error_code().as_str()), (Some(4), "timed_out"));
}

#[test]
fn nodes_with_the_same_network_key_meet_and_others_stay_outside() {
    let (ada, ben, eve) = (Sandbox::new(), Sandbox::new(), Sandbox::new());
    let key = ada.home.path().join("swarm.key");
    let key = key.to_str().unwrap();
    ada.json(&["config", "key", key]);
    let again = ada.run(&["config", "key", key, "--json"]);
    assert_eq!((again.code, again.error_code().as_str()), (Some(1), "bad_key"));
    let ada_up = ada.up(&["--network-key", key]);
    let ben_up = ben.up(&["--network-key", key]);
    let _eve_up = eve.up(&[]);
    assert_eq!(ada.json(&["status"])["network_key"], true);
    assert_eq!(ben.json(&["connect", ada_up.address()])["peer_id"], ada_up.id());
    // To her the encrypted bytes are noise: the handshake fails, or waits for more of them.
    let outside = eve.run(&["connect", ben_up.address(), "--json", "--timeout", "2"]);
    assert_ne!(outside.code, Some(0), "{outside:?}");
}

#[test]
fn ping_gives_up_at_once_on_a_peer_that_nobody_knows() {
    let sandbox = Sandbox::new();
    let _daemon = sandbox.up(&["--no-kad"]);
    let stranger = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA";
    let finished = sandbox.run(&["ping", stranger, "--json"]);
    assert_eq!((finished.code, finished.error_code().as_str()), (Some(1), "no_address"));
}
