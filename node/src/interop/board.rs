//! Where the two participants of a test meet: a list in Redis, written by the listener and read by the
//! dialler.

use std::time::Duration;

use peerage_api::types::Multiaddr;
use redis::{Client, Commands, Connection, RedisError, RedisResult};

use super::task::Task;
use crate::failed::{Exit, Failed};

/// How long a connection to Redis may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Between attempts: Redis may come up after us.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);
/// How long Redis holds a question for an address that is not there yet, in seconds. Short, because
/// a thread that waits ends only after it.
const HOLD_SECONDS: f64 = 1.0;
/// A reply that takes longer than this beyond the holding is none.
const REPLY_TIMEOUT: Duration = Duration::from_secs(6);

/// The place for one test.
pub(super) struct Board {
    client: Client,
    key: String,
}

impl Board {
    /// Does not connect yet.
    pub(super) fn new(task: &Task) -> Result<Self, Failed> {
        let client = Client::open(task.redis.as_str()).map_err(|e| failed(&task.redis, &e))?;
        Ok(Self { client, key: task.key.clone() })
    }

    /// Leaves an address, the only one.
    pub(super) async fn post(&self, address: &Multiaddr) -> Result<(), Failed> {
        let (key, address) = (self.key.clone(), address.to_string());
        self.ask(move |redis| {
            // What another run has left may even be of another type.
            redis.del::<_, ()>(&key)?;
            redis.rpush(&key, &address)
        })
        .await
    }

    /// Takes the address once it is there.
    pub(super) async fn read(&self) -> Result<Multiaddr, Failed> {
        let address = loop {
            let key = self.key.clone();
            if let Some(address) = self.ask(move |redis| take(redis, &key)).await? {
                break address;
            }
        };
        address.parse().map_err(|e| {
            let problem = format!("{address:?} under {} is no multiaddress: {e}", self.key);
            Failed::new(Exit::Failed, "bad_address", problem)
        })
    }

    /// Does something on a connection of its own, once there is one.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Connection) -> RedisResult<T> + Send + 'static,
    ) -> Result<T, Failed> {
        let redis = self.client.get_connection_info().addr().to_string();
        let mut connection = self.connect().await?;
        let asked = tokio::task::spawn_blocking(move || question(&mut connection)).await;
        asked.map_err(anyhow::Error::from)?.map_err(|e| failed(&redis, &e))
    }

    async fn connect(&self) -> Result<Connection, Failed> {
        loop {
            let client = self.client.clone();
            let connected = tokio::task::spawn_blocking(move || {
                let connection = client.get_connection_with_timeout(CONNECT_TIMEOUT)?;
                connection.set_read_timeout(Some(REPLY_TIMEOUT))?;
                Ok::<_, RedisError>(connection)
            });
            match connected.await.map_err(anyhow::Error::from)? {
                Ok(connection) => return Ok(connection),
                Err(error) => tracing::debug!(%error, "Redis cannot be reached yet"),
            }
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
    }
}

/// The address if it comes within [`HOLD_SECONDS`]. Some listeners write a list, as everybody's
/// code does, others a plain value, as the description says.
fn take(redis: &mut Connection, key: &str) -> RedisResult<Option<String>> {
    let popped: RedisResult<Option<(String, String)>> = redis.blpop(key, HOLD_SECONDS);
    match popped {
        Ok(popped) => Ok(popped.map(|(_, address)| address)),
        Err(error) if error.code() == Some("WRONGTYPE") => redis.get(key),
        Err(error) => Err(error),
    }
}

fn failed(address: &str, error: &RedisError) -> Failed {
    Failed::new(Exit::Failed, "redis", format!("Redis at {address}: {error}"))
}
