//! Records of users in Kademlia.

use bytes::Bytes;
use peerage_types::UnixMillis;
use peerage_wire::identity::{Bundle, RecordError, kad_key};

use crate::bounds::MAX_RECORD_BYTES;

/// Reads a record that somebody wants to have stored, or that was found, and verifies everything
/// in it: up to ten signatures, some 50 µs each. Not for the driver.
///
/// # Errors
/// [`RecordError`], also when the key is not the one of its user, there is no profile, or it is
/// longer than [`MAX_RECORD_BYTES`]. Statements about nodes that have expired are no error.
pub fn check_record(key: &[u8], value: &[u8], now: UnixMillis) -> Result<Bundle, RecordError> {
    if value.len() > MAX_RECORD_BYTES {
        return Err(RecordError::TooLarge { bytes: value.len(), max: MAX_RECORD_BYTES });
    }
    let bundle = Bundle::decode(value)?;
    let profile = bundle.profile.as_ref().ok_or(RecordError::Malformed)?;
    if key != kad_key(&profile.user) {
        return Err(RecordError::Field { field: "key", reason: "is not the one of its user" });
    }
    profile.check_time(now)?;
    bundle.succession.iter().try_for_each(|succession| succession.check_time(now))?;
    let dates = bundle.presences.iter().map(|presence| presence.check_time(now));
    let ahead = |date: &Result<(), _>| matches!(date, Err(RecordError::Future { .. }));
    dates.into_iter().find(ahead).transpose()?;
    Ok(bundle)
}

/// Whether `new`, a value that [`check_record`] accepts, may take the place of `old`.
///
/// A record with a succession stays; else the higher `seq` counts, of two with the same the larger
/// hash, and of two with the same profile the one with the newest statement about a node. One that
/// commits to another recovery key is not newer. What cannot be read is older than anything.
#[must_use]
pub fn is_newer(old: &[u8], new: &[u8]) -> bool {
    let Ok(new) = Bundle::decode(new) else { return false };
    let Ok(old) = Bundle::decode(old) else { return true };
    let (Some(old_profile), Some(new_profile)) = (&old.profile, &new.profile) else {
        return new.profile.is_some();
    };
    if old_profile.recovery != new_profile.recovery {
        return false;
    }
    let age = |bundle: &Bundle| {
        let profile = bundle.profile.as_ref();
        let hash = profile.map(|profile| *blake3::hash(profile.bytes()).as_bytes());
        let newest = bundle.presences.iter().map(|presence| presence.issued).max();
        (bundle.succession.is_some(), profile.map(|profile| profile.seq), hash, newest)
    };
    old.succession.is_none() && age(&new) > age(&old)
}

/// A user's record: as much of the bundle as fits.
pub(crate) fn record(mut bundle: Bundle) -> Option<Bytes> {
    bundle.profile.as_ref()?;
    loop {
        let bytes = bundle.encode();
        if bytes.len() <= MAX_RECORD_BYTES {
            return Some(bytes);
        }
        bundle.presences.pop()?;
    }
}
