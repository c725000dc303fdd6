//! What another replica lacks by the number of the last change that it has taken over.

use std::ops::{Bound, ControlFlow};

use peerage_store::{KvRead, KvTable, StoreError};
use peerage_wire::kv::MAX_ENTRY_BYTES;

use super::{Inner, outgoing};
use crate::{
    Outgoing,
    bounds::MAX_SCAN,
    replica::{Place, row},
    rows::{self, EXPIRED, Row, fingerprint_in, key_of, seq_of},
};

/// What an entry takes beside its key and value: about its form without them, and its proof.
const ENTRY_BYTES: usize = 256;
const _: () = assert!(ENTRY_BYTES < MAX_ENTRY_BYTES);

/// Current versions after `seq`, but those from `skip`; and the number that this reaches through.
pub(super) fn since(
    inner: &Inner,
    read: &impl KvRead,
    seq: u64,
    skip: Option<[u8; 8]>,
    max_bytes: usize,
) -> Result<(Vec<Outgoing>, u64), StoreError> {
    let place = inner.place;
    let (first, last) = (rows::feed(place.no, seq), rows::feed(place.no, u64::MAX));
    let (mut found, mut through, mut scanned, mut bytes) = (Vec::new(), seq, 0, 0);
    let mut full = false;
    let range = (Bound::Excluded(&first[..]), Bound::Included(&last[..]));
    read.scan(KvTable::Feed, range, false, &mut |at, told| {
        let (from, key) = told.split_at_checked(8).unwrap_or_default();
        let seq = seq_of(at)?;
        let wanted = skip.is_none_or(|skip| from != skip);
        if wanted && let Some(row) = current(inner, read, key, seq)? {
            let size = row.value.len() + key.len() + ENTRY_BYTES;
            full = !found.is_empty() && bytes + size > max_bytes;
            if full {
                return Ok(ControlFlow::Break(()));
            }
            bytes += size;
            found.push(outgoing(row));
        }
        (scanned, through) = (scanned + 1, seq);
        full = scanned >= MAX_SCAN;
        Ok(if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    Ok((found, if full { through } else { inner.facts.head.max(through) }))
}

/// The version that is to be sent for a row of the feed, if it is the current one of its key.
///
/// One that has expired has a row for that, too, but is sent for the row with which it came: whoever
/// has it already learns nothing from the other.
fn current(
    inner: &Inner,
    read: &impl KvRead,
    key: &[u8],
    seq: u64,
) -> Result<Option<Row>, StoreError> {
    let key = key_of(key)?;
    if !inner.part.as_ref().is_none_or(|part| part.covers(key.as_str())) {
        return Ok(None);
    }
    let Some(row) = row(read, inner.place, &key)? else { return Ok(None) };
    let came = if row.flags & EXPIRED != 0 { came_as(read, inner.place, &row)? } else { row.seq };
    Ok(Some(row).filter(|_| came == seq))
}

/// The number with which an expired entry came.
fn came_as(read: &impl KvRead, place: Place, row: &Row) -> Result<u64, StoreError> {
    let key = row.entry().key.as_str();
    let (first, end) = (rows::versions(place.no, key), rows::version(place.no, key, row.seq));
    let mut came = row.seq;
    let range = (Bound::Included(&first[..]), Bound::Excluded(&end[..]));
    read.scan(KvTable::History, range, true, &mut |at, before| {
        if fingerprint_in(before)? == *row.signed.fingerprint() {
            came = seq_of(at)?;
        }
        Ok(ControlFlow::Break(()))
    })?;
    Ok(came)
}
