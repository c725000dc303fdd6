//! What the harness asks for, read from its environment variables.

use std::{net::IpAddr, time::Duration};

use peerage::Security;
use peerage_api::types::Multiaddr;

/// Seconds a test may take if the harness does not say.
const DEFAULT_TIMEOUT: u64 = 180;
/// A day; nobody waits longer.
const MAX_TIMEOUT: u64 = 86_400;

/// Variables of suites of the newer harness that are not about transports.
const OTHER_SUITES: [(&str, &str); 3] =
    [("MISC_PROTOCOL", "misc"), ("UPLOAD_BYTES", "perf"), ("RELAY_IP", "hole-punch")];

/// Which of the two ways of asking it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// `transport-interop` of test-plans: lower-case variables, a Redis for each test, JSON.
    Older,
    /// `transport` of unified-testing: upper-case variables, a Redis for all tests, YAML.
    Newer,
}

/// What to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Listener,
    Dialler,
}

/// One side of one test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Task {
    pub(super) dialect: Dialect,
    pub(super) role: Role,
    /// Where to listen; says the transport.
    pub(super) listen: Multiaddr,
    pub(super) security: Security,
    /// `redis://HOST:PORT`.
    pub(super) redis: String,
    /// The key of the listener's address there.
    pub(super) key: String,
    pub(super) timeout: Duration,
    /// Whether to log.
    pub(super) debug: bool,
}

/// The variables that both dialects have.
struct Names {
    transport: &'static str,
    security: &'static str,
    muxer: &'static str,
    is_dialer: &'static str,
    ip: &'static str,
    redis: &'static str,
    timeout: &'static str,
}

const OLDER: Names = Names {
    transport: "transport",
    security: "security",
    muxer: "muxer",
    is_dialer: "is_dialer",
    ip: "ip",
    redis: "redis_addr",
    timeout: "test_timeout_seconds",
};

const NEWER: Names = Names {
    transport: "TRANSPORT",
    security: "SECURE_CHANNEL",
    muxer: "MUXER",
    is_dialer: "IS_DIALER",
    ip: "LISTENER_IP",
    redis: "REDIS_ADDR",
    timeout: "TEST_TIMEOUT_SECS",
};

/// Looks variables up; an empty one is as good as none.
struct Variables<F>(F);

impl<F: Fn(&str) -> Option<String>> Variables<F> {
    fn optional(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.is_empty())
    }

    fn required(&self, name: &str) -> Result<String, String> {
        self.optional(name).ok_or_else(|| format!("{name} is not set"))
    }

    fn flag(&self, name: &str, value: &str) -> Result<bool, String> {
        value.parse().map_err(|_| format!("{name} is {value:?}, expected true or false"))
    }

    fn one_of<T: Copy>(&self, name: &str, known: &[(&str, T)]) -> Result<T, String> {
        let value = self.required(name)?;
        let found = known.iter().find(|(text, _)| *text == value).map(|(_, meaning)| *meaning);
        found.ok_or_else(|| {
            let known: Vec<_> = known.iter().map(|(text, _)| *text).collect();
            format!(
                "{name} is {value:?}, which this node does not have; it has {}",
                known.join(", ")
            )
        })
    }
}

impl Task {
    /// Reads what `variable` has under each name.
    ///
    /// # Errors
    /// Which variable is missing, or has a value that this node cannot do.
    pub(super) fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let variables = Variables(variable);
        let (dialect, names) = dialect(&variables)?;
        let dialer = variables.required(names.is_dialer)?;
        let role = match variables.flag(names.is_dialer, &dialer)? {
            true => Role::Dialler,
            false => Role::Listener,
        };
        let (listen, security) = transport(&variables, names)?;
        let (redis, key) = meeting(&variables, dialect)?;
        let debug = match (dialect, variables.optional("DEBUG")) {
            (Dialect::Newer, Some(debug)) => variables.flag("DEBUG", &debug)?,
            _ => false,
        };
        let timeout = timeout(&variables, names.timeout)?;
        Ok(Self { dialect, role, listen, security, redis, key, timeout, debug })
    }
}

fn dialect<F>(variables: &Variables<F>) -> Result<(Dialect, &'static Names), String>
where
    F: Fn(&str) -> Option<String>,
{
    let asks = |names: &Names| variables.optional(names.transport).is_some();
    let other = OTHER_SUITES.iter().find(|(name, _)| variables.optional(name).is_some());
    match (asks(&OLDER), asks(&NEWER), other) {
        (_, true, Some((name, suite))) => {
            Err(format!("{name} is set, but the suite {suite} is not supported, only transport"))
        }
        (true, true, None) => Err("transport and TRANSPORT are both set: which is meant?".into()),
        (false, true, None) => Ok((Dialect::Newer, &NEWER)),
        (true, false, _) => Ok((Dialect::Older, &OLDER)),
        (false, false, _) => Err("neither TRANSPORT nor transport is set; this command is for \
                                  libp2p's test harness, which sets them"
            .into()),
    }
}

/// Where to listen and what to secure it with.
fn transport<F>(variables: &Variables<F>, names: &Names) -> Result<(Multiaddr, Security), String>
where
    F: Fn(&str) -> Option<String>,
{
    let known = [("tcp", "tcp/0"), ("ws", "tcp/0/ws"), ("quic-v1", "udp/0/quic-v1")];
    let end = variables.one_of(names.transport, &known)?;
    let ip = variables.optional(names.ip).unwrap_or_else(|| "0.0.0.0".to_owned());
    let parsed = ip.parse::<IpAddr>();
    let version = match parsed.map_err(|_| format!("{} is {ip:?}, expected an IP", names.ip))? {
        IpAddr::V4(_) => "ip4",
        IpAddr::V6(_) => "ip6",
    };
    let listen = format!("/{version}/{ip}/{end}").parse();
    let listen = listen.map_err(|e| format!("{} is {ip:?}: {e}", names.ip))?;
    // QUIC brings both with it; the harness leaves the variables out, or whatever was there before.
    if end.ends_with("quic-v1") {
        return Ok((listen, Security::Both));
    }
    variables.one_of(names.muxer, &[("yamux", ())])?;
    let known = [("noise", Security::Noise), ("tls", Security::Tls)];
    Ok((listen, variables.one_of(names.security, &known)?))
}

/// Redis, and the key of the address in it.
fn meeting<F>(variables: &Variables<F>, dialect: Dialect) -> Result<(String, String), String>
where
    F: Fn(&str) -> Option<String>,
{
    let (redis, key) = match dialect {
        Dialect::Older => {
            let redis = variables.optional(OLDER.redis);
            (redis.unwrap_or_else(|| "redis:6379".to_owned()), "listenerAddr".to_owned())
        }
        Dialect::Newer => {
            let key = variables.required("TEST_KEY")?;
            (variables.required(NEWER.redis)?, format!("{key}_listener_multiaddr"))
        }
    };
    Ok((if redis.contains("://") { redis } else { format!("redis://{redis}") }, key))
}

fn timeout<F>(variables: &Variables<F>, name: &str) -> Result<Duration, String>
where
    F: Fn(&str) -> Option<String>,
{
    let Some(value) = variables.optional(name) else {
        return Ok(Duration::from_secs(DEFAULT_TIMEOUT));
    };
    let seconds = value.parse().ok().filter(|seconds| (1..=MAX_TIMEOUT).contains(seconds));
    let problem = || format!("{name} is {value:?}, expected seconds from 1 to {MAX_TIMEOUT}");
    seconds.map(Duration::from_secs).ok_or_else(problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Task, String> {
        let found = |name: &str| variables.iter().rev().find(|(known, _)| *known == name);
        Task::read(|name| found(name).map(|(_, value)| (*value).to_owned()))
    }

    const NEWER_LISTENER: [(&str, &str); 8] = [
        ("IS_DIALER", "false"),
        ("REDIS_ADDR", "transport-redis:6379"),
        ("TEST_KEY", "a5b50d5e"),
        ("TRANSPORT", "tcp"),
        ("SECURE_CHANNEL", "tls"),
        ("MUXER", "yamux"),
        ("LISTENER_IP", "0.0.0.0"),
        ("DEBUG", "true"),
    ];

    #[test]
    fn the_newer_variables_make_a_task() {
        let expected = Task {
            dialect: Dialect::Newer,
            role: Role::Listener,
            listen: "/ip4/0.0.0.0/tcp/0".parse().unwrap(),
            security: Security::Tls,
            redis: "redis://transport-redis:6379".into(),
            key: "a5b50d5e_listener_multiaddr".into(),
            timeout: Duration::from_secs(180),
            debug: true,
        };
        assert_eq!(read(&NEWER_LISTENER), Ok(expected));
    }

    #[test]
    fn the_older_variables_make_a_task_with_defaults() {
        let older = [
            ("transport", "ws"),
            ("security", "noise"),
            ("muxer", "yamux"),
            ("is_dialer", "true"),
            ("test_timeout_seconds", "20"),
            // Of whatever else runs in the container.
            ("DEBUG", "no matter"),
        ];
        let expected = Task {
            dialect: Dialect::Older,
            role: Role::Dialler,
            listen: "/ip4/0.0.0.0/tcp/0/ws".parse().unwrap(),
            security: Security::Noise,
            redis: "redis://redis:6379".into(),
            key: "listenerAddr".into(),
            timeout: Duration::from_secs(20),
            debug: false,
        };
        assert_eq!(read(&older), Ok(expected));
    }

    #[test]
    fn quic_needs_neither_security_nor_muxer() {
        let task = read(&[
            ("transport", "quic-v1"),
            ("is_dialer", "true"),
            ("ip", "::1"),
            ("security", ""),
        ]);
        assert_eq!(task.unwrap().listen, "/ip6/::1/udp/0/quic-v1".parse().unwrap());
    }

    #[test]
    fn what_is_missing_or_cannot_be_done_is_named() {
        for (name, value, expected) in [
            ("TRANSPORT", "webtransport", "it has tcp, ws, quic-v1"),
            ("TRANSPORT", "", "neither TRANSPORT nor transport is set"),
            ("SECURE_CHANNEL", "plaintext", "it has noise, tls"),
            ("SECURE_CHANNEL", "", "SECURE_CHANNEL is not set"),
            ("MUXER", "mplex", "it has yamux"),
            ("IS_DIALER", "yes", "expected true or false"),
            ("IS_DIALER", "", "IS_DIALER is not set"),
            ("LISTENER_IP", "localhost", "expected an IP"),
            ("REDIS_ADDR", "", "REDIS_ADDR is not set"),
            ("TEST_KEY", "", "TEST_KEY is not set"),
            ("TEST_TIMEOUT_SECS", "0", "expected seconds from 1"),
            ("DEBUG", "1", "expected true or false"),
            ("transport", "tcp", "both set"),
            ("MISC_PROTOCOL", "echo", "suite misc"),
        ] {
            let mut variables = NEWER_LISTENER.to_vec();
            variables.push((name, value));
            let problem = read(&variables).unwrap_err();
            assert!(problem.contains(expected), "{name}={value}: {problem}");
        }
    }
}
