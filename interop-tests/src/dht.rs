//! Nodes of the BitTorrent DHT in other implementations.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::{Kind, Process, foreign::texts, require_all, toolchain};

/// Running nodes of bittorrent-dht or one of libtorrent; killed when this is dropped.
#[derive(Debug)]
pub struct Dht {
    process: Process,
    nodes: Vec<String>,
}

/// A mutable item as a node gave it, its signature verified by that node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its number.
    pub seq: i64,
    /// Its value, hexadecimal.
    pub value: String,
}

impl Dht {
    /// Starts `nodes` nodes of bittorrent-dht ([`Kind::Js`]), or one of libtorrent ([`Kind::Py`]), on
    /// 127.0.0.1, that enter at `bootstrap` (`IP:PORT`). `None` means that the toolchain is absent and
    /// the test is to be skipped.
    ///
    /// # Errors
    /// When they do not come up, or are absent while all are required.
    pub async fn spawn(kind: Kind, nodes: usize, bootstrap: &[String]) -> Result<Option<Self>> {
        if !require_all(toolchain::missing(kind)?)? {
            return Ok(None);
        }
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(kind.as_str());
        let (program, script, name) = match kind {
            Kind::Js => (PathBuf::from("node"), "dht.mjs", "bittorrent-dht"),
            Kind::Py => (folder.join(".venv/bin/python"), "dht.py", "libtorrent"),
            Kind::Go => bail!("there is no program for a DHT in go"),
        };
        let mut command = Command::new(program);
        command.arg(folder.join(script));
        if kind == Kind::Js {
            command.args(["--nodes", &nodes.to_string()]);
        }
        command.args(bootstrap.iter().flat_map(|node| ["--bootstrap", node]));
        let mut process = Process::spawn(name, &mut command)?;
        let ready = process.wait_for("ready", |line| line["event"] == "ready").await?;
        Ok(Some(Self { process, nodes: texts(&ready, "nodes")? }))
    }

    /// `IP:PORT` of each.
    #[must_use]
    pub fn nodes(&self) -> &[String] {
        &self.nodes
    }

    /// Announces a port of this machine under an infohash (hexadecimal).
    ///
    /// # Errors
    /// What the node says, or silence.
    pub async fn announce(&mut self, infohash: &str, port: u16) -> Result<()> {
        let command = json!({"cmd": "announce", "infohash": infohash, "port": port});
        self.ask(command, "announced").await.map(drop)
    }

    /// Who is announced under an infohash, `IP:PORT` each.
    ///
    /// # Errors
    /// What the node says, or silence.
    pub async fn lookup(&mut self, infohash: &str) -> Result<Vec<String>> {
        let found = self.ask(json!({"cmd": "lookup", "infohash": infohash}), "found").await?;
        texts(&found, "peers")
    }

    /// [`Dht::lookup`] until `peer` is among them.
    ///
    /// # Errors
    /// When it never is.
    pub async fn until_found(&mut self, infohash: &str, peer: &str) -> Result<()> {
        for _ in 0..40 {
            if self.lookup(infohash).await?.iter().any(|found| found == peer) {
                return Ok(());
            }
        }
        bail!(self.process.said(&format!("does not find {peer}")))
    }

    /// The mutable item without salt under a key (hexadecimal), if it finds one.
    ///
    /// # Errors
    /// What the node says, or silence.
    pub async fn get(&mut self, key: &str) -> Result<Option<Item>> {
        let got = self.ask(json!({"cmd": "get", "key": key}), "got").await?;
        let Some(seq) = got["seq"].as_i64() else { return Ok(None) };
        let value = got["value"].as_str().context("no value")?.to_owned();
        Ok(Some(Item { seq, value }))
    }

    /// [`Dht::get`] until the item is `wanted`.
    ///
    /// # Errors
    /// When it never is.
    pub async fn until_got(&mut self, key: &str, wanted: impl Fn(&Item) -> bool) -> Result<Item> {
        for _ in 0..60 {
            if let Some(item) = self.get(key).await?.filter(&wanted) {
                return Ok(item);
            }
            tokio::time::sleep(std::time::Duration::from_millis(250)).await;
        }
        bail!(self.process.said(&format!("does not get the item under {key}")))
    }

    /// Puts a mutable item without salt; gives how many nodes stored it. bittorrent-dht takes
    /// `key`, `seq`, `value` and `signature`, libtorrent `seed`, `key` and `value`: it signs by
    /// itself, with the number after the one it finds.
    ///
    /// # Errors
    /// What the node says, or silence.
    pub async fn put(&mut self, mut item: Value) -> Result<u64> {
        item["cmd"] = "put".into();
        let put = self.ask(item, "put").await?;
        put["stored"].as_u64().with_context(|| format!("no count in {put}"))
    }

    /// UDP payload in bytes that the nodes of bittorrent-dht exchanged with a port, both directions.
    ///
    /// # Errors
    /// What the node says, or silence.
    pub async fn traffic(&mut self, port: u16) -> Result<u64> {
        let counted = self.ask(json!({"cmd": "traffic", "port": port}), "traffic").await?;
        let sum = counted["sent"].as_u64().zip(counted["received"].as_u64());
        sum.map(|(sent, received)| sent + received).context("no counts")
    }

    async fn ask(&mut self, command: Value, answer: &str) -> Result<Value> {
        self.process.send(&command).await?;
        let wanted = |line: &Value| {
            line["event"] == answer || line["event"] == "error" && line["cmd"] == command["cmd"]
        };
        let line = self.process.wait_for(answer, wanted).await?;
        if line["event"] == "error" {
            bail!(self.process.said(&format!("answers {command} with {line}")));
        }
        Ok(line)
    }
}
