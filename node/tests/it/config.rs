//! The configuration as the daemon sees it.

use crate::sandbox::Sandbox;

#[test]
fn show_tells_where_each_value_comes_from() {
    let sandbox = Sandbox::new();
    let file = sandbox.write("node.toml", "[discovery]\nmdns = false\n[limits]\nmax_peers = 5\n");
    let file = file.to_str().unwrap();
    let args = ["config", "show", "--origin", "--config", file, "--profile", "relay"];
    let output = sandbox.command(&args).env("PEERAGE_LIMITS_MAX_PEERS", "6").output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    let line = |key: &str| {
        let line = shown.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line("discovery.mdns "), format!("false {file}:2"));
    assert_eq!(line("limits.max_peers "), "6 $PEERAGE_LIMITS_MAX_PEERS");
    assert_eq!(line("network.profile "), "\"relay\" --profile");
    assert_eq!(line("network.name "), "\"peerage\" default");

    let rows = sandbox.json(&["config", "show", "--config", file]);
    let row = rows.as_array().unwrap().iter().find(|row| row["key"] == "limits.max_peers").unwrap();
    assert_eq!(row["value"], 5);
    assert_eq!(row["origin"], format!("{file}:4"));
}

#[test]
fn init_writes_a_file_that_checks_and_never_overwrites() {
    let sandbox = Sandbox::new();
    let written = sandbox.json(&["config", "init"]);
    let path = sandbox.home.path().join(".config/peerage/config.toml");
    assert_eq!(written["file"], path.to_str().unwrap());
    assert_eq!(sandbox.json(&["config", "check"])["file"], path.to_str().unwrap());
    std::fs::write(&path, "[log]\nformat = \"json\"\n").unwrap();
    let again = sandbox.run(&["config", "init", "--json"]);
    assert_eq!((again.code, again.error_code().as_str()), (Some(1), "exists"));
    assert!(std::fs::read_to_string(&path).unwrap().starts_with("[log]"));
}

#[test]
fn an_unknown_key_keeps_the_daemon_from_starting_and_is_named() {
    let sandbox = Sandbox::new();
    let file = sandbox.write("node.toml", "[discovery]\nmdsn = true\n");
    let file = file.to_str().unwrap();
    for command in [&["up"][..], &["config", "check"], &["config", "show"]] {
        let finished = sandbox.run(&[command, &["--json", "--config", file]].concat());
        assert_eq!((finished.code, finished.error_code().as_str()), (Some(1), "bad_config"));
        let told =
            format!("{file}:2: unknown key `discovery.mdsn`; did you mean `discovery.mdns`?");
        assert_eq!(finished.json()["error"]["message"], told);
        assert!(finished.stderr.contains(&told));
    }
    let missing = sandbox.run(&["config", "check", "--config", "nowhere.toml"]);
    assert_eq!(missing.code, Some(1));
    assert!(missing.stderr.contains("nowhere.toml"), "{missing:?}");
}

#[test]
fn a_value_without_effect_is_warned_of() {
    let sandbox = Sandbox::new();
    let text = "[discovery]\nmainline = false\nmainline_bootstrap = [\"192.0.2.1:6881\"]\n";
    let file = sandbox.write("node.toml", text);
    let file = file.to_str().unwrap();
    let told = format!("discovery.mainline_bootstrap ({file}:3) has no effect");
    let checked = sandbox.run(&["config", "check", "--config", file]);
    assert!(checked.code == Some(0) && checked.stderr.contains(&told), "{checked:?}");
    sandbox.up(&["--config", file]).process.message(&told);
}
