//! What sessions need of it, without holding a lock for long.

use bytes::Bytes;
use peerage_types::{UnixMillis, UserId};
use peerage_wire::identity::frames::{BUCKETS, Buckets, DIGEST_BYTES, Digests, Page, Root};

use super::Directory;
use crate::known::Diff;

impl Directory {
    /// The digests of all buckets, after what has expired is gone: two nodes with the same records
    /// have the same.
    pub(crate) fn digests(&self) -> Box<Digests> {
        self.sweep();
        let mut digests = Box::new([[0; DIGEST_BYTES]; BUCKETS]);
        for (bucket, digest) in (0..=u8::MAX).zip(digests.iter_mut()) {
            *digest = self.write().digest(bucket);
        }
        digests
    }

    pub(crate) fn sweep(&self) {
        let (users, events) = {
            let now = UnixMillis::now();
            let due = self.read().deadline().is_some_and(|due| due <= now);
            if due { self.write().sweep(now) } else { return }
        };
        self.mark_unsaved(users.into_iter());
        self.tell(&events);
    }

    pub(crate) fn page(&self, buckets: Buckets, after: Option<UserId>) -> Page {
        self.read().page(buckets, after)
    }

    pub(crate) fn compare(&self, page: &Page) -> Diff {
        self.read().compare(page)
    }

    /// What is known of a user, as it travels.
    pub(crate) fn bundle(&self, user: &UserId) -> Option<Bytes> {
        let bundle = self.read().bundle(user);
        Some(bundle?.encode())
    }
}

/// One hash for everything.
pub(crate) fn root(digests: &Digests) -> Root {
    *blake3::hash(digests.as_flattened()).as_bytes()
}
