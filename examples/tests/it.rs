//! Runs the examples as processes on loopback and reads what they print.
//!
//! `cargo test -p peerage-examples` builds the examples first; `--test it` alone does not.

#![allow(clippy::unwrap_used, reason = "a test says what it expects by failing")]

use std::{
    collections::VecDeque,
    env,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use peerage::{
    Running, Settings,
    pubsub::Event,
    types::{Network, Password, ServiceName, Topic},
};
use peerage_rpc::{Config, Server};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
    time::timeout,
};

/// Long enough for a loaded machine; nothing that works ever waits so long.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOPBACK: &str = "/ip4/127.0.0.1/tcp/0";

/// Cargo names the binaries of a package to its tests, but not the examples.
fn example(name: &str) -> PathBuf {
    let test = env::current_exe().unwrap();
    let path = test.ancestors().nth(2).unwrap().join("examples").join(name);
    assert!(path.exists(), "{name} is not built; run `cargo test -p peerage-examples`");
    path
}

/// An example that runs, and is killed at the end of its test.
struct Process {
    child: Child,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    messages: Lines<BufReader<ChildStderr>>,
    /// Lines read while looking for others.
    unread: VecDeque<String>,
}

impl Process {
    fn start(name: &str, args: &[&str]) -> Self {
        let mut child = Command::new(example(name))
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let messages = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, input, lines, messages, unread: VecDeque::new() }
    }

    /// Waits for a line on stdout that has `text` in it, in whatever order lines come.
    async fn line(&mut self, text: &str) -> String {
        if let Some(at) = self.unread.iter().position(|line| line.contains(text)) {
            return self.unread.remove(at).unwrap();
        }
        loop {
            match timeout(PATIENCE, self.lines.next_line()).await {
                Ok(Ok(Some(line))) if line.contains(text) => return line,
                Ok(Ok(Some(line))) => self.unread.push_back(line),
                end => {
                    self.child.start_kill().unwrap();
                    let said = rest(&mut self.messages).await;
                    panic!("no {text:?} ({end:?}) after {:#?}; stderr: {said:#?}", self.unread);
                }
            }
        }
    }

    /// The word after `text` in the line that has it.
    async fn word_after(&mut self, text: &str) -> String {
        let line = self.line(text).await;
        let (_, after) = line.split_once(text).unwrap();
        after.split_whitespace().next().unwrap().to_owned()
    }

    async fn say(&mut self, line: &str) {
        self.input.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }

    fn interrupt(&self) {
        let id = Pid::from_raw(self.child.id().unwrap().cast_signed()).unwrap();
        kill_process(id, Signal::INT).unwrap();
    }

    /// Waits for the end; the exit status, what was left on stdout, and stderr.
    async fn end(mut self) -> (ExitStatus, Vec<String>, Vec<String>) {
        drop(self.input);
        let ended = async {
            tokio::join!(rest(&mut self.lines), rest(&mut self.messages), self.child.wait())
        };
        let (lines, messages, status) = timeout(PATIENCE, ended).await.unwrap();
        (status.unwrap(), self.unread.into_iter().chain(lines).collect(), messages)
    }

    async fn succeeds(self) -> Vec<String> {
        let (status, lines, messages) = self.end().await;
        assert!(status.success(), "{status}: {messages:#?}");
        lines
    }
}

async fn rest(lines: &mut Lines<BufReader<impl AsyncRead + Unpin>>) -> Vec<String> {
    let mut rest = Vec::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        rest.push(line);
    }
    rest
}

async fn node(network: &str, data: Option<&Path>) -> Running {
    let settings = Settings {
        data: data.map(Path::to_owned),
        network: Network::new(network).unwrap(),
        listen: vec![LOOPBACK.parse().unwrap()],
        mdns: false,
        mainline: false,
        ..Settings::default()
    };
    peerage::start(settings).await.unwrap()
}

#[tokio::test]
async fn the_service_answers_refuses_and_stops() {
    let mut service = Process::start("embed_service", &["--listen", LOOPBACK]);
    let address = service.word_after("listening on ").await;

    let asker = Process::start("embed_service", &["--ask", &address, "apples"]);
    assert_eq!(asker.succeeds().await, ["apples: 12"]);
    service.line("+ 12D3Koo").await;
    service.line("- 12D3Koo").await;

    let asker = Process::start("embed_service", &["--ask", &address, "unicorns"]);
    let (status, lines, messages) = asker.end().await;
    assert_eq!(status.code(), Some(1));
    assert!(lines.is_empty(), "{lines:?}");
    assert!(messages[0].contains("refused: there is no such item here"), "{messages:?}");

    service.interrupt();
    assert_eq!(service.succeeds().await.last().unwrap(), "stopped");
}

#[tokio::test]
async fn asking_a_node_without_an_inventory_is_tried_again_and_then_given_up() {
    let other = node("inventory", None).await;
    let asker = Process::start("embed_service", &["--ask", &other.listen[0].to_string(), "apples"]);
    let (status, _, messages) = asker.end().await;
    assert_eq!(status.code(), Some(1));
    assert!(messages[0].starts_with("attempt 1: nobody at "), "{messages:?}");
    assert!(messages[1].starts_with("attempt 2: nobody at "), "{messages:?}");
    assert!(messages[2].contains("no inventory there"), "{messages:?}");
}

#[tokio::test]
async fn the_service_publishes_its_status() {
    let mut service = Process::start("embed_service", &["--listen", LOOPBACK]);
    let address = service.word_after("listening on ").await;
    let watcher = node("inventory", None).await;
    let mut statuses =
        watcher.node.pubsub().subscribe(Topic::new("inventory/status").unwrap()).await.unwrap();
    watcher.node.peers().connect(address.parse().unwrap()).await.unwrap();
    let status = timeout(PATIENCE, statuses.item()).await.unwrap().unwrap();
    let status: Value = serde_json::from_slice(&status.data.0).unwrap();
    assert_eq!(status, serde_json::json!({ "items": 2, "answered": 0, "refused": 0 }));
}

#[tokio::test]
async fn what_one_shares_another_gets_by_its_ticket() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[n as usize % 3]).collect();
    std::fs::write(from.path().join("numbers"), &bytes).unwrap();
    let path = from.path().join("numbers").display().to_string();

    let mut sharing = Process::start("send_files", &["share", &path, "--listen", LOOPBACK]);
    let ticket = sharing.line("peeragefile1").await;
    let into = to.path().display().to_string();
    let getting = Process::start("send_files", &["get", &ticket, &into, "--listen", LOOPBACK]);
    assert_eq!(getting.succeeds().await, [to.path().join("numbers").display().to_string()]);
    assert_eq!(std::fs::read(to.path().join("numbers")).unwrap(), bytes);
    sharing.interrupt();
    sharing.succeeds().await;

    let wrong = Process::start("send_files", &["get", &ticket[..99], &into, "--listen", LOOPBACK]);
    let (status, _, messages) = wrong.end().await;
    assert_eq!(status.code(), Some(1));
    assert!(messages[0].contains("that is no ticket"), "{messages:?}");
}

#[tokio::test]
async fn two_chats_talk_in_the_room_and_directly() {
    let common = ["--room", "tea", "--listen", LOOPBACK];
    let mut ada = Process::start("chat", &[&common[..], &["--name", "ada"]].concat());
    let ada_id = ada.word_after("you are ada@").await;
    let address = ada.word_after("--connect ").await;
    ada.say("anybody here?").await;
    ada.line("* nobody else is here yet").await;

    let to = ["--name", "ben", "--connect", &address];
    let mut ben = Process::start("chat", &[&common[..], &to[..]].concat());
    let ben_id = ben.word_after("you are ben@").await;
    ada.line(&format!("* {ben_id} joined")).await;
    ben.line(&format!("* {ada_id} joined")).await;

    ada.say("hello \u{1b}[31mroom").await;
    // The escape that would colour Ben's terminal is gone.
    assert_eq!(ben.line("hello").await, format!("ada@{ada_id}: hello [31mroom"));
    ben.say(&format!("/msg {ada_id} hello Ada, only you")).await;
    assert_eq!(ada.line("only you").await, format!("(to you) ben@{ben_id}: hello Ada, only you"));
    ben.say("/msg nobody hello").await;
    ben.line("! no connected peer ends in \"nobody\"").await;
    ben.say("/peers").await;
    ben.line(&format!("* {ada_id} at /ip4/127.0.0.1/tcp/")).await;

    ben.say("/quit").await;
    ben.succeeds().await;
    ada.line(&format!("* {ben_id} left")).await;
    ada.interrupt();
    ada.succeeds().await;
}

#[tokio::test]
async fn a_chat_connects_later_when_told_to() {
    let mut ada = Process::start("chat", &["--name", "ada", "--listen", LOOPBACK]);
    let ada_id = ada.word_after("you are ada@").await;
    let address = ada.word_after("--connect ").await;
    let mut ben = Process::start("chat", &["--name", "ben", "--listen", LOOPBACK]);
    ben.say(&format!("/connect {address}")).await;
    ben.line(&format!("* connected to {ada_id}")).await;
    ben.line(&format!("* {ada_id} joined")).await;
}

#[tokio::test]
async fn a_protocol_works_in_a_swarm_of_ones_own() {
    let lines = Process::start("own_swarm", &[]).succeeds().await;
    assert!(lines[0].starts_with("connected to 12D3Koo"), "{lines:?}");
    assert_eq!(lines[1..], ["19 + 23 = 42", "the asker wrote 1 message"]);
}

#[tokio::test]
async fn a_program_reads_from_a_daemon_as_from_a_node() {
    let data = tempfile::tempdir().unwrap();
    let daemon = node("examples", Some(data.path())).await;
    let server = Server::start(daemon.node.clone(), Config::in_data_dir(data.path())).await;
    let server = server.unwrap();
    let speaker = node("examples", None).await;
    let mut joins = speaker.node.pubsub().events().await.unwrap();
    speaker.node.peers().connect(daemon.listen[0].clone()).await.unwrap();

    let mut reader = Process::start("remote", &["news", data.path().to_str().unwrap()]);
    reader.line(&format!("{} of network examples", daemon.peer_id)).await;
    reader.line(&format!("listening on {}", daemon.listen[0])).await;
    reader.line(&format!("connected to {}", speaker.peer_id)).await;
    reader.line("subscribed to news").await;
    let joined = Event::Joined { peer: daemon.peer_id, topic: "news".to_owned() };
    while timeout(PATIENCE, joins.item()).await.unwrap().unwrap() != joined {}
    speaker.node.pubsub().publish(Topic::new("news").unwrap(), "the tea is ready").await.unwrap();
    let heard = reader.line("the tea is ready").await;
    assert_eq!(heard, format!("{}: the tea is ready", speaker.peer_id));

    server.stop().await;
    let (status, _, messages) = reader.end().await;
    assert_eq!(status.code(), Some(1));
    assert!(messages[0].contains("the node has stopped"), "{messages:?}");
}

#[tokio::test]
async fn a_service_counts_each_user_in_a_storage_of_its_own() {
    let data = tempfile::tempdir().unwrap();
    let daemon = node("examples", Some(data.path())).await;
    let server = Server::start(daemon.node.clone(), Config::in_data_dir(data.path())).await;
    let server = server.unwrap();
    let dir = data.path().to_str().unwrap();
    let users = daemon.node.users();
    let password = || "correct horse".parse::<Password>().unwrap();

    let mut service = Process::start("visitor_book", &[dir]);
    service.line("serving as").await;
    let ada = users.create(password(), None).await.unwrap().session;
    service.line(&format!("{}: welcome, visit 1", ada.user)).await;
    let ben = users.create(password(), None).await.unwrap().session;
    service.line(&format!("{}: welcome, visit 1", ben.user)).await;
    users.logout(ada.auth()).await.unwrap();
    service.line(&format!("{}: goodbye", ada.user)).await;
    service.interrupt();
    service.succeeds().await;

    // Started again, it is the same service; Ben is there still, Ada comes back.
    let mut service = Process::start("visitor_book", &[dir]);
    service.line(&format!("{}: welcome, visit 2", ben.user)).await;
    let ada = users.login(ada.user, password(), None).await.unwrap();
    service.line(&format!("{}: welcome, visit 2", ada.user)).await;
    let name = ServiceName::new("org.example.visitors").unwrap();
    let visits = daemon.node.storage(ada.auth(), name).get("visits").await.unwrap();
    assert_eq!(visits.value.as_text(), Some("2"));
    service.interrupt();
    service.succeeds().await;
    server.stop().await;
}

#[tokio::test]
async fn three_services_take_over_what_is_set_for_them_on_another_node() {
    let lines = Process::start("shared_settings", &[]).succeeds().await;
    let begins = |text: &str| lines.iter().any(|line| line.starts_with(text));
    let has = |text: &str| assert!(begins(text), "no {text}: {lines:#?}");
    has("mail: created port = 25");
    has("mail: port is 587 by another node, was 25");
    has("operator: settings/web/workers has changed since; again");
    has("web: workers is 5 by another node");
    has("backup: keep is 7 by this node");
    assert_eq!(lines.last().unwrap(), "operator: everything has arrived");
}

#[tokio::test]
async fn without_a_daemon_the_program_says_so() {
    let data = tempfile::tempdir().unwrap();
    let reader = Process::start("remote", &["news", data.path().to_str().unwrap()]);
    let (status, _, messages) = reader.end().await;
    assert_eq!(status.code(), Some(1));
    assert!(messages[0].contains("peerage up"), "{messages:?}");
}
