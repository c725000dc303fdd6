//! What works without a daemon.

use std::process::Stdio;

use crate::sandbox::Sandbox;

#[test]
fn without_a_daemon_commands_say_so_with_exit_code_3() {
    let sandbox = Sandbox::new();
    for command in [
        &["status"][..],
        &["stop"],
        &["peers"],
        &["sub", "news"],
        &["transfers"],
        &["shares"],
        &["share", "."],
        &["get", "peeragefile1"],
        &["user", "create"],
        &["user", "login", "ada"],
        &["contact", "ls"],
        &["service", "ls"],
        &["storage", "ls", "org.example.notes"],
        &["kv", "put", "k", "v"],
        &["kv", "ls"],
        &["kv", "space", "ls"],
        &["send", ".", "--to", "@ada"],
    ] {
        let finished = sandbox.run(&[command, &["--json"]].concat());
        assert_eq!((finished.code, finished.error_code().as_str()), (Some(3), "no_daemon"));
        assert!(finished.stderr.contains("peerage up"), "{finished:?}");
        let finished = sandbox.run(command);
        assert_eq!((finished.code, finished.stdout.as_str()), (Some(3), ""));
    }
}

#[test]
fn a_command_line_that_makes_no_sense_is_exit_code_2() {
    let sandbox = Sandbox::new();
    let contradiction = "up --no-mainline --mainline-bootstrap 192.0.2.1:6881";
    for line in [
        "fly",
        "ping",
        "ping nobody",
        "up --profile king",
        "status --timeout never",
        "up x",
        contradiction,
    ] {
        let args: Vec<_> = line.split(' ').chain(["--json"]).collect();
        let finished = sandbox.run(&args);
        assert_eq!((finished.code, finished.error_code().as_str()), (Some(2), "usage"), "{line}");
        assert!(!finished.stderr.is_empty());
    }
}

#[test]
fn the_help_of_searches_names_the_networks_that_are_asked() {
    let sandbox = Sandbox::new();
    for command in ["find", "resolve"] {
        let help = sandbox.run(&[command, "--help"]).stdout;
        for part in ["Kademlia", "BitTorrent DHT", "introduc"] {
            assert!(help.contains(part), "{command} does not name {part}: {help}");
        }
    }
}

#[test]
fn completions_and_man_pages_come_from_the_same_tree() {
    let sandbox = Sandbox::new();
    for shell in ["bash", "zsh", "fish"] {
        let finished = sandbox.run(&["completions", shell]);
        assert_eq!(finished.code, Some(0));
        for word in ["exchange", "metrics", "no-kad"] {
            assert!(finished.stdout.contains(word), "{shell} does not complete {word}");
        }
    }
    assert!(sandbox.run(&["man"]).stdout.contains(".TH peerage"));
    let pages = sandbox.home.path().join("man");
    assert_eq!(sandbox.run(&["man", "--dir", pages.to_str().unwrap()]).code, Some(0));
    assert!(pages.join("peerage-peers-block.1").exists());
}

#[test]
fn a_reader_that_goes_away_ends_a_command_quietly() {
    let sandbox = Sandbox::new();
    // A pipe whose reading end is closed before anything is written.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = sandbox.command(&["config", "show"]).stdout(Stdio::from(writer)).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[test]
fn the_demo_tells_what_happens_and_succeeds() {
    let sandbox = Sandbox::new();
    let finished = sandbox.run(&["demo", "--json"]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let steps: Vec<serde_json::Value> =
        finished.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for step in [
        "start",
        "bootstrap",
        "find",
        "connect",
        "ping",
        "read",
        "send",
        "request",
        "offer",
        "file",
        "user",
        "search",
        "contact",
        "stop",
    ] {
        assert!(steps.iter().any(|line| line["step"] == step), "no {step}: {finished:?}");
    }
    assert!(!sandbox.data().exists());
}
