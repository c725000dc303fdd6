//! Two daemons that reach each other only through a third.

use std::net::TcpListener;

use serde_json::Value;

use crate::sandbox::Sandbox;

fn first<'a>(ready: &'a Value, part: &str) -> &'a str {
    let listen = ready["listen"].as_array().unwrap().iter().filter_map(Value::as_str);
    listen.into_iter().find(|address| address.contains(part)).unwrap()
}

#[test]
fn files_wait_for_a_direct_path_and_take_it() {
    let (relay, ada, ben) = (Sandbox::new(), Sandbox::new(), Sandbox::new());
    // A relay has to know where it is reached before it starts.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let at = format!("/ip4/127.0.0.1/tcp/{port}");
    let relay_up = relay.up(&["--profile", "relay", "--listen", &at, "--external", &at]);
    let circuit = format!("{at}/p2p/{}/p2p-circuit", relay_up.id());
    let ben_up = ben.up(&["--listen", &circuit]);
    let ada_up = ada.up(&[]);

    std::fs::write(ada.home.path().join("film.bin"), vec![7; 3_000_000]).unwrap();
    ada.json(&["connect", first(&ben_up.ready, "/p2p-circuit/")]);
    let peers = ada.until(&["peers"], |peers| peers.as_array().is_some_and(|all| all.len() == 2));
    let ben_there = |peer: &&Value| peer["peer_id"] == ben_up.id();
    let seen = peers.as_array().unwrap().iter().find(ben_there).unwrap();
    assert_eq!(seen["connections"][0]["relayed"], true, "{seen}");

    ada.run(&["send", "film.bin", "--to", ben_up.id(), "--no-wait"]);
    let asked = ben.until(&["transfers"], |all| all[0]["state"] == "asked");
    let id = asked[0]["transfer"].as_str().unwrap();
    ben.json(&["transfers", "accept", id]);
    let waiting = ben.until(&["transfers"], |all| all[0]["state"] == "awaiting_direct");
    assert_eq!(waiting[0]["done_bytes"], 0);

    let direct = first(&ada_up.ready, "/ip4/127.0.0.1/tcp/");
    let connected = ben.json(&["connect", direct]);
    assert_eq!(connected["already"], false, "a relayed connection is not what was asked for");
    let done = ben.until(&["transfers"], |all| all[0]["state"] == "done");
    assert_eq!((&done[0]["path"], &done[0]["done_bytes"]), (&"direct".into(), &3_000_000.into()));
}
