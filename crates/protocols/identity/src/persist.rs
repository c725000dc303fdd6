//! What is known outlives the process.
//!
//! Rows are read in the background after the start, on the blocking pool. Every signature in them
//! is verified again: 100,000 users take some ten seconds of one core once per start, while nothing
//! waits, and so there is no second way for a record to get in.

use bytes::Bytes;
use peerage_store::StoreError;
use peerage_types::{PeerId, UnixMillis, UserId};
use peerage_wire::identity::Bundle;
use tokio::time::{Instant, timeout_at};

use crate::{
    Directory, Source,
    bounds::{FLUSH_DELAY, LOAD_CHUNK, MAX_FLUSH_ROWS, SEEN_INTERVAL},
};

/// Of the rows' form: version u8, length of the teller u8 (0: this node's own user), teller, last
/// seen u64 big-endian in milliseconds, bundle.
const VERSION: u8 = 1;

type Row = ([u8; 32], Bytes);

/// Loads what is stored, then saves what changes, for as long as it is polled.
pub(crate) async fn keep(directory: Directory) {
    if let Err(error) = load(&directory).await {
        tracing::warn!(%error, "what is known of users cannot be read; it is learned again");
    }
    directory.on_loaded();
    let mut seen_due = Instant::now() + SEEN_INTERVAL;
    loop {
        // Whichever comes first.
        _ = timeout_at(seen_due, directory.0.save.notified()).await;
        if Instant::now() >= seen_due {
            seen_due = Instant::now() + SEEN_INTERVAL;
            let here = directory.read().here(UnixMillis::now());
            directory.mark_unsaved(here.into_iter());
        }
        let deadline = Instant::now() + FLUSH_DELAY;
        while directory.unsaved_len() < MAX_FLUSH_ROWS
            && timeout_at(deadline, directory.0.save.notified()).await.is_ok()
        {}
        if let Err(error) = directory.flush().await {
            tracing::warn!(%error, "what is known of users cannot be written; it is tried again");
            tokio::time::sleep(FLUSH_DELAY * 10).await;
            directory.0.save.notify_one();
        }
    }
}

async fn load(directory: &Directory) -> Result<(), StoreError> {
    let mut rows = directory.0.store.known().load().await?;
    while !rows.is_empty() {
        let part = rows.split_off(rows.len().saturating_sub(LOAD_CHUNK));
        let to = directory.clone();
        let work = move || part.iter().for_each(|row| restore(&to, row));
        // It neither panics nor is it aborted.
        _ = directory.0.runtime.spawn_blocking(work).await;
    }
    Ok(())
}

fn restore(directory: &Directory, (user, row): &Row) {
    let user = UserId(*user);
    let Some((source, seen, bundle)) = decode(row).filter(|(.., b)| b.user() == Some(user)) else {
        return tracing::warn!(%user, "what is stored of a user cannot be read; it is passed over");
    };
    directory.restore(bundle, source, seen);
}

impl Directory {
    /// Writes what has changed and waits until that is durable.
    ///
    /// # Errors
    /// What the store says; what was not written is tried again.
    ///
    /// # Cancel safety
    /// Rows that were on their way are written, or again with the next change.
    pub async fn flush(&self) -> Result<(), StoreError> {
        let _turn = self.0.saving.lock().await;
        loop {
            let users = self.take_unsaved();
            if users.is_empty() {
                return Ok(());
            }
            let rows = users.iter().map(|user| (user.0, self.row(user))).collect();
            if let Err(error) = self.0.store.known().apply(rows).await {
                self.keep_unsaved(users);
                return Err(error);
            }
        }
    }

    fn row(&self, user: &UserId) -> Option<Bytes> {
        let now = UnixMillis::now();
        let (mut bundle, teller, seen) = self.read().stored(user, now)?;
        // Who was online before is of no use to the next run; statements that end are.
        bundle.presences.retain(|presence| presence.check_time(now).is_ok());
        Some(encode(teller, seen, &bundle))
    }
}

fn encode(teller: Option<PeerId>, seen: UnixMillis, bundle: &Bundle) -> Bytes {
    let teller = teller.map(PeerId::to_bytes).unwrap_or_default();
    // A peer id has up to 66 bytes.
    let len = u8::try_from(teller.len()).unwrap_or_default();
    let seen = seen.0.to_be_bytes();
    [&[VERSION, len], &teller[..], &seen, &bundle.encode()].concat().into()
}

fn decode(row: &[u8]) -> Option<(Source, UnixMillis, Bundle)> {
    let ([VERSION, len], rest) = row.split_first_chunk()? else { return None };
    let (teller, rest) = rest.split_at_checked(usize::from(*len))?;
    let (seen, bundle) = rest.split_first_chunk()?;
    let source = match teller {
        [] => Source::Own,
        teller => Source::Peer(PeerId::from_bytes(teller).ok()?),
    };
    Some((source, UnixMillis(u64::from_be_bytes(*seen)), Bundle::decode(bundle).ok()?))
}
