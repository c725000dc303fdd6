//! Kademlia: records of users, put and got, and providers of namespaces, announced and found.
//!
//! Our nodes store only records of users that verify; so what is put and got are such records.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libp2p_core::multihash::Multihash;
use peerage_interop_tests::Foreign;
use peerage_mainline::Infohash;
use peerage_types::UserId;
use peerage_wire::identity::{Bundle, kad_key};
use tokio::time::Instant;

use super::{HANDLE, Meeting};
use crate::people::Person;

/// What the foreign peer provides before it meets our node, and afterwards.
const PROVIDED_BEFORE: &str = "interop/before";
const PROVIDED: &str = "interop/provided";
/// What our node announces.
const ANNOUNCED: &str = "interop/announced";
const ANNOUNCED_ALSO: &str = "interop/announced-also";

/// How long something may take from there to here.
const PATIENCE: Duration = Duration::from_secs(20);

/// What our node tells unasked is told again after this time, and this often. Over QUIC some of it is
/// lost: js-libp2p and py-libp2p now and then end a stream before what was sent on it is read. In
/// life it is told again when it expires.
const AGAIN: Duration = Duration::from_secs(3);
const TIMES: usize = 6;

/// Gives the foreign peer a record and a namespace while it knows nobody, so that our node can have
/// them only by asking for them.
pub(super) async fn prepare(it: &mut Foreign) -> Result<Person> {
    let stranger = Person::new("stranger")?;
    it.kad_put(&stranger.key, &stranger.record).await?;
    it.provide(&key(PROVIDED_BEFORE)?).await?;
    Ok(stranger)
}

impl Meeting {
    /// It asks us for the record of the user of our node.
    pub(super) async fn get_in(&mut self) -> Result<()> {
        let by = self.node.peer_id().to_owned();
        self.has_our_user(&by, PATIENCE).await
    }

    /// Our node puts that record at it, unasked.
    pub(super) async fn put_out(&mut self) -> Result<()> {
        let by = self.it.peer_id().to_owned();
        let mut arrived = self.has_our_user(&by, AGAIN).await;
        for time in 1..TIMES {
            if arrived.is_ok() {
                break;
            }
            let name = format!("Ada {time}");
            self.node.run(&["user", "update", "--display-name", &name]).await?;
            arrived = self.has_our_user(&by, AGAIN).await;
        }
        arrived
    }

    async fn has_our_user(&mut self, by: &str, patience: Duration) -> Result<()> {
        let user: UserId = self.user.parse()?;
        let record = self.it.until_value(&kad_key(&user), by, patience).await?;
        let profile = Bundle::decode(&record)?.profile.context("no profile in the record")?;
        let handle = profile.handle.as_ref().context("no handle in the profile")?;
        ensure!(profile.user == user && handle.as_str() == HANDLE, "{:?}", profile.record());
        Ok(())
    }

    /// Our node asks it for a record that nobody else has.
    pub(super) async fn get_out(&self) -> Result<()> {
        let user = self.stranger.user.to_string();
        let shown = self.node.insist(&["user", "show", &user], "unknown").await?;
        ensure!(shown[0]["display_name"] == "stranger", "{shown:?}");
        Ok(())
    }

    /// It puts records at our node, which serves what verifies and refuses what does not.
    pub(super) async fn put_in(&mut self) -> Result<()> {
        let (person, other) = (Person::new("person")?, Person::new("other")?);
        let node = self.node.peer_id().to_owned();
        for wrong in [person.forged(), other.record.clone()] {
            self.it.kad_put(&person.key, &wrong).await?;
        }
        // By the time it serves what came after them, it has judged them.
        self.it.kad_put(&other.key, &other.record).await?;
        let served = self.it.until_value(&other.key, &node, PATIENCE).await?;
        ensure!(served == other.record, "another value than was put");
        let wrong = self.it.kad_get(&person.key).await?;
        ensure!(wrong.iter().all(|held| held.by != node), "it serves what does not verify");

        self.it.kad_put(&person.key, &person.record).await?;
        let served = self.it.until_value(&person.key, &node, PATIENCE).await?;
        ensure!(served == person.record, "another value than was put");
        Ok(())
    }

    /// It asks us who provides what our node announces.
    pub(super) async fn find_in(&mut self) -> Result<()> {
        self.node.insist(&["announce", ANNOUNCED], "no_network").await?;
        let node = self.node.peer_id().to_owned();
        self.it.until_provider(&key(ANNOUNCED)?, &node, &node, PATIENCE).await
    }

    /// Our node tells it what it announces.
    pub(super) async fn provide_out(&mut self) -> Result<()> {
        let (node, it) = (self.node.peer_id().to_owned(), self.it.peer_id().to_owned());
        let mut arrived = Ok(());
        for _ in 0..TIMES {
            self.node.insist(&["announce", ANNOUNCED_ALSO], "no_network").await?;
            arrived = self.it.until_provider(&key(ANNOUNCED_ALSO)?, &it, &node, AGAIN).await;
            if arrived.is_ok() {
                break;
            }
        }
        arrived
    }

    /// Our node asks it who provides something that it has told nobody.
    pub(super) async fn find_out(&self) -> Result<()> {
        self.finds_it(PROVIDED_BEFORE).await
    }

    /// It tells our node what it provides, which keeps that and finds it.
    pub(super) async fn provide_in(&mut self) -> Result<()> {
        // Nobody is told of itself, so it cannot ask us.
        let remote = self.node.remote().await?;
        let before = remote.discovery().status().await?.kad_records;
        self.it.provide(&key(PROVIDED)?).await?;
        let deadline = Instant::now() + PATIENCE;
        while remote.discovery().status().await?.kad_records == before {
            ensure!(Instant::now() < deadline, "its record is not kept");
        }
        self.finds_it(PROVIDED).await
    }

    async fn finds_it(&self, namespace: &str) -> Result<()> {
        let found = self.node.insist(&["find", namespace], "no_network").await?;
        let only_it = found.len() == 1 && found[0]["peer_id"] == self.it.peer_id();
        ensure!(only_it && found[0]["source"] == "kad", "{found:?}");
        Ok(())
    }
}

/// The key of a namespace: the SHA-1 of its name as a multihash.
fn key(namespace: &str) -> Result<Vec<u8>> {
    let infohash = Infohash::of(namespace.as_bytes());
    Ok(Multihash::<64>::wrap(0x11, &infohash.0)?.to_bytes())
}
