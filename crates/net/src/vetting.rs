//! Records of users that peers want stored for Kademlia: verified beside the driver, then stored.

use std::task::{Context, Poll};

use libp2p::kad::{Record, store::RecordStore as _};
use peerage_identity::{check_record, is_newer};
use peerage_types::UnixMillis;
use tokio::task::JoinSet;

use crate::kad::Behaviour;

/// Records that are being verified: 64 × 15 KiB = 1 MiB; more are not stored, which their
/// publishers make up for when they put them out again.
const MAX_VETTING: usize = 64;

/// Records that are being verified.
#[derive(Default)]
pub(crate) struct Vetting {
    tasks: JoinSet<Option<Record>>,
}

impl Vetting {
    /// Verifies a record on the blocking pool: a signature takes about 50 µs.
    pub(crate) fn begin(&mut self, record: Record) {
        if self.tasks.len() >= MAX_VETTING {
            return tracing::debug!("record of a user is not stored: too many at once");
        }
        self.tasks.spawn_blocking(move || {
            match check_record(record.key.as_ref(), &record.value, UnixMillis::now()) {
                Ok(_) => Some(record),
                Err(error) => {
                    tracing::debug!(%error, "record of a user is not stored");
                    None
                }
            }
        });
    }

    /// The next record that is valid. Pending while there is none.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Record> {
        loop {
            match self.tasks.poll_join_next(cx) {
                Poll::Ready(Some(Ok(Some(record)))) => return Poll::Ready(record),
                Poll::Ready(Some(_)) => {}
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    }
}

/// Stores a valid record, unless a newer one is there.
pub(crate) fn keep(kad: &mut Behaviour, record: Record) {
    let known = kad.store_mut().get(&record.key).map(|known| known.value.clone());
    if known.is_some_and(|known| !is_newer(&known, &record.value)) {
        return tracing::debug!("record of a user is not stored: a newer one is here");
    }
    if let Err(refused) = kad.store_mut().replace(record) {
        tracing::debug!(%refused, "record of a user is not stored");
    }
}
