use std::path::Path;

use super::*;
use crate::config::Kind;

fn of(file: &str, variables: &[(&str, &str)], flags: Flags) -> Result<Config, BadConfig> {
    let variables: Vec<_> =
        variables.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    Config::of(Some((Path::new("node.toml"), file)), &variables, &flags)
}

fn refused(file: &str) -> String {
    of(file, &[], Flags::default()).unwrap_err().to_string()
}

fn origin(config: &Config, key: &Key) -> String {
    let setting = config.settings().iter().find(|s| s.key.path() == key.path()).unwrap();
    setting.origin.to_string()
}

#[test]
fn a_flag_wins_over_the_environment_over_the_file_over_the_default() {
    let flag = Flags(vec![(&keys::NETWORK, Value::Text("d".into()))]);
    let none = Flags::default;
    let file = "\n[network]\nname = \"b\"";
    let variable = [("PEERAGE_NETWORK_NAME", "c")];
    for (config, value, from) in [
        (of("", &[], none()), "peerage", "default"),
        (of(file, &[], none()), "b", "node.toml:3"),
        (of(file, &variable, none()), "c", "$PEERAGE_NETWORK_NAME"),
        (of(file, &variable, flag), "d", "--network"),
    ] {
        let config = config.unwrap();
        assert_eq!(config.text(&keys::NETWORK), value);
        assert_eq!(origin(&config, &keys::NETWORK), from);
    }
}

#[test]
fn every_kind_of_value_is_read_from_file_and_environment() {
    let file = r#"
        [listen]
        addresses = ["/ip4/127.0.0.1/tcp/0"]
        [limits]
        max_peers = 1_000
        [discovery]
        mdns = false
    "#;
    let variables = [
        ("PEERAGE_DISCOVERY_KAD", "no"),
        ("PEERAGE_LIMITS_THREADS", "4"),
        ("PEERAGE_NAT_EXTERNAL", "/ip4/192.0.2.1/tcp/1, /ip4/192.0.2.1/udp/1/quic-v1"),
        ("PEERAGE_DATA", "elsewhere"),
    ];
    let config = of(file, &variables, Flags::default()).unwrap();
    assert_eq!(config.list::<String>(&keys::LISTEN), ["/ip4/127.0.0.1/tcp/0"]);
    assert_eq!((config.number(&keys::MAX_PEERS), config.number(&keys::THREADS)), (1000, 4));
    assert!(!config.bool(&keys::MDNS) && !config.bool(&keys::KAD));
    assert_eq!(config.list::<String>(&keys::EXTERNAL).len(), 2);
}

#[test]
fn an_unknown_key_is_named_with_file_line_and_the_nearest_known_one() {
    assert_eq!(
        refused("[network]\n\nnmae = \"x\""),
        "node.toml:3: unknown key `network.nmae`; did you mean `network.name`?"
    );
    assert_eq!(
        refused("[netwrok]\nname = \"x\""),
        "node.toml:1: unknown section [netwrok]; did you mean [network]?"
    );
    assert_eq!(
        refused("[network]\nmdns = true"),
        "node.toml:2: unknown key `network.mdns`; did you mean `discovery.mdns`?"
    );
    assert_eq!(
        refused("max_peers = 3"),
        "node.toml:1: unknown section [max_peers]; `max_peers` belongs to [limits]"
    );
    assert_eq!(
        of("", &[("PEERAGE_LOG_LEVLE", "x")], Flags::default()).unwrap_err().to_string(),
        "$PEERAGE_LOG_LEVLE: unknown key `log.levle`; did you mean `log.level`?"
    );
}

#[test]
fn a_wrong_value_is_told_what_is_expected() {
    for (file, message) in [
        (
            "[limits]\nmax_peers = \"many\"",
            "node.toml:2: `limits.max_peers`: expected a whole number from 1 to 1000000, found \"many\"",
        ),
        (
            "[limits]\nmax_peers = 0",
            "node.toml:2: `limits.max_peers`: expected a whole number from 1 to 1000000, found 0",
        ),
        (
            "[discovery]\nmdns = 1.5",
            "node.toml:2: `discovery.mdns`: expected true or false, found a float",
        ),
        (
            "[network]\nprofile = \"server\"",
            "node.toml:2: `network.profile`: expected one of peer, relay, bootstrap, found \"server\"",
        ),
        (
            "[listen]\naddresses = [\"here\"]",
            "node.toml:2: `listen.addresses`: expected a list of multiaddresses such as \
             /ip4/192.0.2.1/tcp/4001, found \"here\"",
        ),
        (
            "[metrics]\nlisten = \"9464\"",
            "node.toml:2: `metrics.listen`: expected HOST:PORT such as 127.0.0.1:9464, found \"9464\"",
        ),
    ] {
        assert_eq!(refused(file), message);
    }
    assert!(refused("[log]\nlevel = \"verbose\"").contains("expected off, error, warn"));
    assert!(refused("[network\n").starts_with("node.toml:1: "));
}

#[test]
fn every_key_is_complete_and_its_default_is_valid() {
    for key in keys::ALL {
        assert!(!key.title().is_empty());
        assert!(key.doc.ends_with('.') && !key.flag.is_empty(), "{}", key.path());
        key.kind.check(key.default()).unwrap();
        let off = matches!(key.kind, Kind::Bool) && key.default() == Value::Bool(true);
        assert_eq!(off, key.flag.starts_with("no-"), "{}", key.path());
    }
}

#[test]
fn what_is_set_in_vain_is_told_with_both_places() {
    let file = "[discovery]\nmainline_bootstrap = [\"192.0.2.1:6881\"]\n";
    let variable = [("PEERAGE_DISCOVERY_MAINLINE", "no")];
    let config = of(file, &variable, Flags::default()).unwrap();
    let told = "discovery.mainline_bootstrap (node.toml:2) has no effect, as discovery.mainline is \
                off ($PEERAGE_DISCOVERY_MAINLINE)";
    assert_eq!(config.in_vain(), [told]);
    assert!(of(file, &[], Flags::default()).unwrap().in_vain().is_empty());
    assert!(of("", &variable, Flags::default()).unwrap().in_vain().is_empty());
}

#[test]
fn a_variable_that_is_a_slip_away_from_one_of_ours_is_told() {
    let of = |name| of("", &[(name, "x")], Flags::default()).unwrap().in_vain();
    let told = "$PEERAGE_NETWROK_NAME has no effect; did you mean $PEERAGE_NETWORK_NAME?";
    assert_eq!(of("PEERAGE_NETWROK_NAME"), [told]);
    assert!(of("PEERAGE_NETWROK")[0].contains("did you mean $PEERAGE_NETWORK_"));
    // Those of others, and those that the commands read.
    for name in ["PEERAGE_REQUIRE_ALL", "PEERAGE_PASSWORD", "PEERAGE_OLD_BIN", "PEERAGE_DATA"] {
        assert_eq!(of(name), Vec::<String>::new(), "{name}");
    }
}
