//! What can go wrong with a read or a write, by what the caller can do about it.

use std::{io, sync::Arc};

/// Why a read or a write of the store failed.
///
/// Cheap to clone: one failed commit answers every write of its batch.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The queue to the writing thread is full; nothing was written. Try again later or slow down.
    #[error("the store has too many writes waiting; try again shortly")]
    Busy,
    /// The file is being opened again after a failure; the snapshot is lost. Try again.
    #[error("the store is reopening its file after a failure; try again shortly")]
    Reopening,
    /// The store was closed, nothing was written.
    #[error("the store is closed")]
    Closed,
    /// A name or value is larger than the store takes; nothing was written.
    #[error("{what} has {size} bytes, the store takes at most {max}")]
    TooLarge {
        /// Which part of the request.
        what: &'static str,
        /// Its size in bytes.
        size: usize,
        /// The largest size accepted, in bytes.
        max: usize,
    },
    /// The disk or the quota is full. After a write it is unknown whether it took effect; every
    /// operation of this crate may be repeated once there is space again.
    #[error("no space left for the store; free some on its disk: {source}")]
    Full {
        /// What the operating system said.
        source: Arc<io::Error>,
    },
    /// The disk failed. After a write it is unknown whether it took effect.
    #[error("the disk of the store failed; check the device and its mount: {source}")]
    Io {
        /// What the operating system said.
        source: Arc<io::Error>,
    },
    /// The file is damaged. The next start sets it aside and begins a new one.
    #[error("the store is damaged ({reason}); restart the node to set the file aside")]
    Corrupt {
        /// What redb found.
        reason: Arc<str>,
    },
    /// The operation itself is wrong or panicked: a defect of this program, please report it.
    #[error("an operation of the store is defective ({reason}); please report it")]
    Defect {
        /// The panic message or what redb refused.
        reason: Arc<str>,
    },
}

impl StoreError {
    /// Whether the same call may succeed shortly without anybody acting.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Busy | Self::Reopening)
    }

    /// Whether the disk failed, after which redb refuses everything until the file is opened again.
    /// Damage is not among these: operations that do not meet it go on.
    pub(crate) fn is_disk(&self) -> bool {
        match self {
            Self::Full { .. } | Self::Io { .. } | Self::Reopening => true,
            Self::Busy | Self::Closed | Self::TooLarge { .. } => false,
            Self::Corrupt { .. } | Self::Defect { .. } => false,
        }
    }

    pub(crate) fn corrupt(reason: impl ToString) -> Self {
        Self::Corrupt { reason: reason.to_string().into() }
    }

    pub(crate) fn defect(reason: impl ToString) -> Self {
        Self::Defect { reason: reason.to_string().into() }
    }

    /// From what [`std::panic::catch_unwind`] caught.
    pub(crate) fn panicked(payload: &(dyn std::any::Any + Send)) -> Self {
        Self::defect(panic_message(payload))
    }
}

pub(crate) fn panic_message(payload: &(dyn std::any::Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("panic without a message")
}

impl From<io::Error> for StoreError {
    fn from(source: io::Error) -> Self {
        use io::ErrorKind::{FileTooLarge, InvalidData, QuotaExceeded, StorageFull, UnexpectedEof};
        match source.kind() {
            StorageFull | QuotaExceeded | FileTooLarge => Self::Full { source: source.into() },
            // redb reports a foreign or shortened file this way. An error of the operating system
            // carries its number and must never pass for damage.
            InvalidData | UnexpectedEof if source.raw_os_error().is_none() => Self::corrupt(source),
            _ => Self::Io { source: source.into() },
        }
    }
}

impl From<redb::Error> for StoreError {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::Io(source) => source.into(),
            redb::Error::Corrupted(reason) => Self::corrupt(reason),
            redb::Error::UpgradeRequired(version) => {
                Self::corrupt(format_args!("redb file format {version} was never used here"))
            }
            redb::Error::PreviousIo | redb::Error::DatabaseClosed => Self::Reopening,
            redb::Error::ValueTooLarge(size) => {
                Self::TooLarge { what: "a row", size, max: MAX_ROW_BYTES }
            }
            other => Self::defect(other),
        }
    }
}

/// redb's own limit for a key or value: 3 GiB.
const MAX_ROW_BYTES: usize = 3 << 30;

macro_rules! from_redb {
    ($($error:ident)*) => {$(
        impl From<redb::$error> for StoreError {
            fn from(error: redb::$error) -> Self {
                redb::Error::from(error).into()
            }
        }
    )*};
}
from_redb! { StorageError TableError CommitError DatabaseError TransactionError SetDurabilityError }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_operating_system_never_passes_for_damage() {
        for number in 1..=133 {
            let error = StoreError::from(io::Error::from_raw_os_error(number));
            assert!(
                matches!(error, StoreError::Io { .. } | StoreError::Full { .. }),
                "error number {number} became {error:?}"
            );
        }
    }

    #[test]
    fn a_full_disk_is_told_from_a_broken_one() {
        let of = |kind| StoreError::from(io::Error::from(kind));
        assert!(matches!(of(io::ErrorKind::StorageFull), StoreError::Full { .. }));
        assert!(matches!(of(io::ErrorKind::QuotaExceeded), StoreError::Full { .. }));
        assert!(matches!(of(io::ErrorKind::FileTooLarge), StoreError::Full { .. }));
        assert!(matches!(of(io::ErrorKind::PermissionDenied), StoreError::Io { .. }));
    }

    #[test]
    fn only_a_wait_makes_a_failed_call_worth_repeating_at_once() {
        assert!(StoreError::Busy.is_retryable() && StoreError::Reopening.is_retryable());
        assert!(!StoreError::Closed.is_retryable() && !StoreError::corrupt("x").is_retryable());
    }
}
