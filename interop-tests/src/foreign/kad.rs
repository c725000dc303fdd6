//! What a foreign peer does in Kademlia. Keys and values are bytes, at most some KiB.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use data_encoding::HEXLOWER;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{Foreign, text};

/// How often it is asked for what it does not tell by itself.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Something that a peer has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held<T> {
    /// Who has it: a peer that was asked, or the one that asks.
    pub by: String,
    /// A value, or the id of a provider.
    pub what: T,
}

impl Foreign {
    /// Keeps a value and puts it where it belongs, if anybody is known.
    ///
    /// # Errors
    /// What the peer says, or silence.
    pub async fn kad_put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let (key, value) = (HEXLOWER.encode(key), HEXLOWER.encode(value));
        self.ask(json!({"cmd": "kad_put", "key": key, "value": value}), "put").await.map(drop)
    }

    /// Who has a value under a key, itself and those it asks.
    ///
    /// # Errors
    /// What the peer says, or silence.
    pub async fn kad_get(&mut self, key: &[u8]) -> Result<Vec<Held<Vec<u8>>>> {
        let command = json!({"cmd": "kad_get", "key": HEXLOWER.encode(key)});
        let got = self.ask(command, "got").await?;
        let unhex = |line: &Value| Ok(HEXLOWER.decode(text(line, "value")?.as_bytes())?);
        held(&got, "values", unhex)
    }

    /// Announces itself as a provider, if anybody is known, and remembers that it is one.
    ///
    /// # Errors
    /// What the peer says, or silence.
    pub async fn provide(&mut self, key: &[u8]) -> Result<()> {
        let command = json!({"cmd": "provide", "key": HEXLOWER.encode(key)});
        self.ask(command, "provided").await.map(drop)
    }

    /// Who knows providers of a key, itself and those it asks, and which.
    ///
    /// # Errors
    /// What the peer says, or silence.
    pub async fn find_providers(&mut self, key: &[u8]) -> Result<Vec<Held<String>>> {
        let command = json!({"cmd": "find_providers", "key": HEXLOWER.encode(key)});
        let found = self.ask(command, "providers").await?;
        held(&found, "providers", |line| text(line, "peer_id"))
    }

    /// The value that `by` has under a key, once it has one.
    ///
    /// # Errors
    /// When it has none by the end of `patience`.
    pub async fn until_value(
        &mut self,
        key: &[u8],
        by: &str,
        patience: Duration,
    ) -> Result<Vec<u8>> {
        let deadline = Instant::now() + patience;
        loop {
            let values = self.kad_get(key).await?;
            if let Some(value) = values.into_iter().find(|value| value.by == by) {
                return Ok(value.what);
            }
            let fault = || self.process.said(&format!("sees no value at {by}"));
            ensure!(Instant::now() < deadline, fault());
            sleep(POLL_INTERVAL).await;
        }
    }

    /// Returns once `by` knows a provider of a key.
    ///
    /// # Errors
    /// When it does not by the end of `patience`.
    pub async fn until_provider(
        &mut self,
        key: &[u8],
        by: &str,
        provider: &str,
        patience: Duration,
    ) -> Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            let providers = self.find_providers(key).await?;
            if providers.iter().any(|held| held.by == by && held.what == provider) {
                return Ok(());
            }
            let fault = || format!("does not learn of {by} that {provider} provides");
            ensure!(Instant::now() < deadline, self.process.said(&fault()));
            sleep(POLL_INTERVAL).await;
        }
    }
}

fn held<T>(line: &Value, field: &str, what: impl Fn(&Value) -> Result<T>) -> Result<Vec<Held<T>>> {
    let all = line[field].as_array().with_context(|| format!("no {field} in {line}"))?;
    all.iter().map(|one| Ok(Held { by: text(one, "from")?, what: what(one)? })).collect()
}
