//! Keeps what the allocator holds small, and gives memory back after many peers have left.
//!
//! glibc keeps what was freed between blocks that are still in use; a hub that lost its peers would
//! stay as large as it ever was. Other allocators return it by themselves but cost every idle node
//! 12 MB and more, so glibc is asked to, once the peers have gone and it is quiet. It is also told
//! before the first thread starts not to keep a heap for each of them: the workers that move pieces of
//! files would hold some megabytes each.

use std::time::Duration;

use peerage_api::{Feeding, Node, peers::Event};
use tokio::{task, time};

/// Peers that must have left for it to be worth the walk over the heap.
const MIN_LEFT: u32 = 16;
/// As many have left that it is worth it however busy the node is.
const MANY_LEFT: u32 = 256;
/// No peer came or went for so long: it is quiet.
const QUIET: Duration = Duration::from_secs(5);

/// To be called before there are other threads: as many heaps as threads of the runtime.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "there is no safe way to ask for it")]
pub(crate) fn limit_heaps(threads: usize) {
    let heaps = libc::c_int::try_from(threads.max(1)).unwrap_or(libc::c_int::MAX);
    // SAFETY: mallopt may be called at any time; this option takes any positive number.
    if unsafe { libc::mallopt(libc::M_ARENA_MAX, heaps) } == 0 {
        tracing::debug!(heaps, "the allocator does not take the limit");
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn limit_heaps(_: usize) {}

/// Follows who leaves until the node stops.
pub(crate) async fn follow(node: Node) {
    let Ok(mut events) = node.peers().events().await else { return };
    // The node stops with its last handle, and this must not be one.
    drop(node);
    let mut left = 0;
    loop {
        // Nothing to give back: no timer runs.
        let patience = if left < MIN_LEFT { Duration::MAX } else { QUIET };
        match time::timeout(patience, events.next()).await {
            Ok(None) => return,
            Ok(Some(Feeding::Item(Event::Disconnected { .. }))) => left += 1,
            Ok(Some(Feeding::Lagged(missed))) => {
                left = left.saturating_add(u32::try_from(missed).unwrap_or(u32::MAX));
            }
            Ok(Some(Feeding::Item(_))) => {}
            Err(_quiet) => left = give_back().await,
        }
        if left >= MANY_LEFT {
            left = give_back().await;
        }
    }
}

/// Returns the new count of peers that have left since.
async fn give_back() -> u32 {
    // Tens of milliseconds on a large heap: not on the thread that serves the peers.
    if let Err(error) = task::spawn_blocking(trim).await {
        tracing::error!(%error, "memory was not given back");
    }
    0
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "there is no safe way to ask for it")]
fn trim() {
    // SAFETY: malloc_trim may be called at any time from any thread; it touches free memory only.
    let released = unsafe { libc::malloc_trim(0) } != 0;
    tracing::debug!(released, "memory given back");
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn trim() {}
