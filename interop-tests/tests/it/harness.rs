//! `peerage interop` in the transport tests of libp2p's test harness: a real Redis, two participants
//! that know each other only through it, one of them of js-libp2p or both ours.

use std::{
    fs::File,
    io::{Read, Seek},
    net::TcpListener,
    path::Path,
    process::{Output, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use peerage_interop_tests::{Node, Transport, peerage, require_all, set_up};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines},
    net::TcpStream,
    process::{Child, ChildStdout, Command},
    time::timeout,
};

/// How long a participant may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Ports that are tried: somebody may take one before Redis does.
const ATTEMPTS: usize = 5;
const KEY: &str = "a5b50d5e";

/// Who takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Ours,
    Js,
}

/// How to write the variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Older,
    Newer,
}

/// A transport and what secures it; none brings its own.
type Layers = (&'static str, Option<&'static str>);

const TCP_NOISE: Layers = ("tcp", Some("noise"));
const TCP_TLS: Layers = ("tcp", Some("tls"));
const WS_NOISE: Layers = ("ws", Some("noise"));
const QUIC: Layers = ("quic-v1", None);

macro_rules! meet {
    ($name:ident, $dialer:ident, $listener:ident) => {
        mod $name {
            use super::*;

            #[tokio::test]
            async fn over_tcp_with_noise() -> Result<()> {
                meet(Who::$dialer, Who::$listener, Dialect::Newer, TCP_NOISE).await
            }

            #[tokio::test]
            async fn over_tcp_with_tls() -> Result<()> {
                meet(Who::$dialer, Who::$listener, Dialect::Newer, TCP_TLS).await
            }

            #[tokio::test]
            async fn over_websocket_with_noise() -> Result<()> {
                meet(Who::$dialer, Who::$listener, Dialect::Newer, WS_NOISE).await
            }

            #[tokio::test]
            async fn over_quic() -> Result<()> {
                meet(Who::$dialer, Who::$listener, Dialect::Newer, QUIC).await
            }
        }
    };
}

meet!(our_dialer_meets_our_listener, Ours, Ours);
meet!(our_dialer_meets_a_js_listener, Ours, Js);
meet!(a_js_dialer_meets_our_listener, Js, Ours);

#[tokio::test]
async fn the_older_variables_do_the_same_over_tcp() -> Result<()> {
    meet(Who::Ours, Who::Ours, Dialect::Older, TCP_TLS).await
}

#[tokio::test]
async fn the_older_variables_do_the_same_over_quic() -> Result<()> {
    meet(Who::Ours, Who::Ours, Dialect::Older, QUIC).await
}

#[tokio::test]
async fn a_listener_that_leaves_a_plain_value_is_found_too() -> Result<()> {
    let Some(redis) = Redis::start().await? else { return Ok(()) };
    let node = Node::up(&[]).await?;
    redis.set(&format!("{KEY}_listener_multiaddr"), node.address(Transport::Quic)?).await?;
    let mut dialer = participant(Who::Ours, Dialect::Newer, QUIC, &redis)?;
    let output = finish(dialer.env("IS_DIALER", "true")).await?;
    latency(Dialect::Newer, &output).with_context(|| said(&output)).map(drop)
}

#[tokio::test]
async fn participants_with_other_security_do_not_meet_and_nothing_is_on_stdout() -> Result<()> {
    let Some(redis) = Redis::start().await? else { return Ok(()) };
    let mut listener = participant(Who::Ours, Dialect::Newer, TCP_TLS, &redis)?;
    let _listener = Listener::start(listener.env("IS_DIALER", "false"))?;
    let mut dialer = participant(Who::Ours, Dialect::Newer, TCP_NOISE, &redis)?;
    let output = finish(dialer.env("IS_DIALER", "true")).await?;
    ensure!(output.status.code() == Some(1) && output.stdout.is_empty(), "{}", said(&output));
    Ok(())
}

#[tokio::test]
async fn what_we_do_not_have_is_refused_with_its_name() -> Result<()> {
    for (name, value, expected) in [
        ("TRANSPORT", "webrtc-direct", "it has tcp, ws, quic-v1"),
        ("SECURE_CHANNEL", "plaintext", "it has noise, tls"),
        ("MUXER", "mplex", "it has yamux"),
        ("MISC_PROTOCOL", "echo", "only transport"),
        ("TEST_KEY", "", "TEST_KEY is not set"),
    ] {
        let mut dialer = peerage(None)?;
        variables(&mut dialer, Dialect::Newer, TCP_NOISE, "127.0.0.1:9");
        let output =
            finish(dialer.arg("interop").env("IS_DIALER", "true").env(name, value)).await?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(2) && output.stdout.is_empty(), "{}", said(&output));
        ensure!(stderr.contains(name) && stderr.contains(expected), "{}", said(&output));
    }
    Ok(())
}

#[tokio::test]
async fn a_test_that_does_not_come_about_times_out() -> Result<()> {
    let Some(redis) = Redis::start().await? else { return Ok(()) };
    for role in ["true", "false"] {
        let mut alone = participant(Who::Ours, Dialect::Newer, QUIC, &redis)?;
        let output = finish(alone.env("IS_DIALER", role).env("TEST_TIMEOUT_SECS", "1")).await?;
        ensure!(output.status.code() == Some(4) && output.stdout.is_empty(), "{}", said(&output));
    }
    Ok(())
}

/// One test of the harness, whose result must be what its scripts read.
async fn meet(dialer: Who, listener: Who, dialect: Dialect, layers: Layers) -> Result<()> {
    let js = [dialer, listener].contains(&Who::Js);
    if js && !require_all(set_up("js")?.as_deref())? {
        return Ok(());
    }
    let Some(redis) = Redis::start().await? else { return Ok(()) };
    let is_dialer = match dialect {
        Dialect::Older => "is_dialer",
        Dialect::Newer => "IS_DIALER",
    };
    let mut listening = participant(listener, dialect, layers, &redis)?;
    let mut listening = Listener::start(listening.env(is_dialer, "false"))?;
    let mut dialing = participant(dialer, dialect, layers, &redis)?;
    let output = finish(dialing.env(is_dialer, "true")).await?;
    let report = || format!("{}\nlistener:\n{}", said(&output), listening.said());
    let (handshake, ping) = latency(dialect, &output).with_context(report)?;
    // Our own clock counts microseconds, that of js-libp2p's ping whole milliseconds.
    ensure!(handshake > 0.0 && handshake < PATIENCE.as_secs_f64() * 1000.0, "{handshake} ms");
    ensure!((0.0..handshake.max(1000.0)).contains(&ping), "{ping} ms");
    println!("{dialer:?} dials {listener:?} {layers:?}: {handshake} ms, then ping {ping} ms");
    Ok(())
}

/// Handshake plus one round trip, and one round trip, in milliseconds.
fn latency(dialect: Dialect, output: &Output) -> Result<(f64, f64)> {
    ensure!(output.status.success(), "the dialer failed");
    let stdout = str::from_utf8(&output.stdout)?;
    if dialect == Dialect::Older {
        let json: serde_json::Value = serde_json::from_str(stdout)?;
        let number = |field: &str| json[field].as_f64().with_context(|| format!("no {field}"));
        return Ok((number("handshakePlusOneRTTMillis")?, number("pingRTTMilllis")?));
    }
    let lines: Vec<&str> = stdout.lines().collect();
    let ["latency:", handshake, ping, "  unit: ms"] = lines[..] else { bail!("not the block") };
    let number = |line: &str, field: &str| -> Result<f64> {
        let value = line.strip_prefix("  ").and_then(|line| line.strip_prefix(field));
        let value = value.and_then(|line| line.strip_prefix(": "));
        Ok(value.with_context(|| format!("no {field}"))?.parse()?)
    };
    Ok((number(handshake, "handshake_plus_one_rtt")?, number(ping, "ping_rtt")?))
}

/// A participant that knows everything but its role.
fn participant(who: Who, dialect: Dialect, layers: Layers, redis: &Redis) -> Result<Command> {
    let mut command = match who {
        Who::Ours => peerage(None)?,
        Who::Js => Command::new("node"),
    };
    match who {
        Who::Ours => command.arg("interop"),
        Who::Js => command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("js/harness.mjs")),
    };
    variables(&mut command, dialect, layers, &redis.address);
    Ok(command)
}

fn variables(command: &mut Command, dialect: Dialect, (transport, security): Layers, redis: &str) {
    let muxer = security.map(|_| "yamux");
    let (names, ip) = match dialect {
        Dialect::Older => (["transport", "security", "muxer", "redis_addr"], "ip"),
        Dialect::Newer => (["TRANSPORT", "SECURE_CHANNEL", "MUXER", "REDIS_ADDR"], "LISTENER_IP"),
    };
    let values = [Some(transport), security, muxer, Some(redis)];
    let given = names.into_iter().zip(values).filter_map(|(name, value)| Some((name, value?)));
    command.envs(given).env(ip, "127.0.0.1");
    if dialect == Dialect::Newer {
        command.env("TEST_KEY", KEY).env("DEBUG", "false");
    }
}

/// Runs a participant to its end.
async fn finish(command: &mut Command) -> Result<Output> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let output = timeout(PATIENCE, command.output()).await;
    Ok(output.with_context(|| format!("{command:?} did not end"))??)
}

fn said(output: &Output) -> String {
    let [stdout, stderr] =
        [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    format!("{}\n{stdout}\n{stderr}", output.status)
}

/// A listener, killed when this is dropped, as the harness does.
struct Listener {
    _process: Child,
    log: File,
}

impl Listener {
    fn start(command: &mut Command) -> Result<Self> {
        let log = tempfile::tempfile()?;
        let process = command.stdin(Stdio::null()).stdout(log.try_clone()?);
        let process = process.stderr(log.try_clone()?).kill_on_drop(true).spawn()?;
        Ok(Self { _process: process, log })
    }

    fn said(&mut self) -> String {
        let mut text = String::new();
        let read = self.log.rewind().and_then(|()| self.log.read_to_string(&mut text));
        read.map_or_else(|error| error.to_string(), |_| text)
    }
}

/// A Redis server on a free port of 127.0.0.1 that keeps nothing; killed when this is dropped.
struct Redis {
    address: String,
    _process: Child,
    /// Read no more, but open, so that it can go on writing.
    _log: Lines<BufReader<ChildStdout>>,
}

impl Redis {
    /// `None` means that there is no Redis here and the test is to be skipped.
    async fn start() -> Result<Option<Self>> {
        if !require_all(set_up("redis")?.as_deref())? {
            return Ok(None);
        }
        for _ in 0..ATTEMPTS {
            let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            let started =
                timeout(PATIENCE, Self::on(port)).await.context("Redis does not start")?;
            if let Some(redis) = started? {
                return Ok(Some(redis));
            }
        }
        bail!("Redis got none of {ATTEMPTS} ports")
    }

    /// `None` when it ends before it serves.
    async fn on(port: u16) -> Result<Option<Self>> {
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        command.args(["--port", &port.to_string()]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = command.kill_on_drop(true).spawn().context("redis-server")?;
        let mut log = BufReader::new(process.stdout.take().context("stdout is piped")?).lines();
        while let Some(line) = log.next_line().await? {
            if line.contains("Ready to accept connections") {
                let address = format!("127.0.0.1:{port}");
                return Ok(Some(Self { address, _process: process, _log: log }));
            }
        }
        Ok(None)
    }

    async fn set(&self, key: &str, value: &str) -> Result<()> {
        let mut stream = TcpStream::connect(&self.address).await?;
        stream.write_all(format!("SET {key} {value}\r\n").as_bytes()).await?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).await?;
        ensure!(answer == *b"+OK\r\n", "Redis answers {answer:?}");
        Ok(())
    }
}
