//! Keeps what the allocator holds small, and gives memory back after the start, after a transfer and
//! after many peers have left.
//!
//! glibc keeps what was freed between blocks that are still in use; a hub that lost its peers would
//! stay as large as it ever was. Other allocators return it by themselves but cost every idle node
//! 12 MB and more, so glibc is asked to, once the peers have gone and it is quiet. It is also told
//! before the first thread starts not to keep a heap for each of them: the workers that move pieces of
//! files would hold some megabytes each; and not to give the end of the heap back and take it again
//! thousands of times during a transfer, with a page fault for each page.
//!
//! Most of the code runs once or seldom, but every function that was called has brought the 64 KiB
//! around it into memory: two thirds of what an idle node holds. These pages are let go of with the
//! rest, and once more when a large transfer begins. They lie unchanged in the file, and those that are
//! needed come back one by one.

use std::time::Duration;

use peerage_api::{Feeding, Node, files, peers};
use tokio::{select, task, time};

/// Peers that must have left for it to be worth the walk over the heap.
const MIN_LEFT: u32 = 16;
/// From this size on a transfer is worth a beginning without the code that is not in use.
const LARGE_TRANSFER: u64 = 64 << 20;
/// As many have left that it is worth it however busy the node is.
const MANY_LEFT: u32 = 256;
/// No peer came or went for so long: it is quiet.
const QUIET: Duration = Duration::from_secs(5);

/// Free bytes at the end of the heap that are kept: what a transfer takes and gives back all the time,
/// pieces aside.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MAX_KEPT: libc::c_int = 8 << 20;
/// Blocks from this size on are given back as soon as they are free: pieces of files.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE: libc::c_int = 512 << 10;

/// To be called before there are other threads: as many heaps as threads of the runtime.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "there is no safe way to ask for it")]
pub(crate) fn limit_heaps(threads: usize) {
    let heaps = libc::c_int::try_from(threads.max(1)).unwrap_or(libc::c_int::MAX);
    let wanted = [
        (libc::M_ARENA_MAX, heaps),
        (libc::M_TRIM_THRESHOLD, MAX_KEPT),
        (libc::M_MMAP_THRESHOLD, LARGE),
    ];
    for (option, value) in wanted {
        // SAFETY: mallopt may be called at any time; these options take any positive number.
        if unsafe { libc::mallopt(option, value) } == 0 {
            tracing::debug!(option, value, "the allocator does not take the limit");
        }
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn limit_heaps(_: usize) {}

/// Follows who leaves and what ends until the node stops.
pub(crate) async fn follow(node: Node) {
    let Ok(mut peers) = node.peers().events().await else { return };
    let Ok(mut transfers) = node.files().events(None).await else { return };
    // The node stops with its last handle, and this must not be one.
    drop(node);
    // What the start has left behind is worth it, and again what it still does in the background.
    give_back().await;
    let mut left = MIN_LEFT;
    loop {
        // Nothing to give back: no timer runs.
        let patience = if left < MIN_LEFT { Duration::MAX } else { QUIET };
        let now = select! {
            event = peers.next() => event.map(|event| left.saturating_add(departed(&event))),
            event = transfers.next() => {
                if event.as_ref().is_some_and(is_large_begin) {
                    // What it needs comes back; what the node did before it does not add to its peak.
                    on_worker(let_go_of_code).await;
                }
                // It may leave [`MAX_KEPT`] behind; many of them leave no more than one.
                event.map(|event| if ended(&event) { left.max(MIN_LEFT) } else { left })
            }
            () = time::sleep(patience) => {
                left = give_back().await;
                continue;
            }
        };
        let Some(now) = now else { return };
        left = now;
        if left >= MANY_LEFT {
            left = give_back().await;
        }
    }
}

fn departed(event: &Feeding<peers::Event>) -> u32 {
    match event {
        Feeding::Item(peers::Event::Disconnected { .. }) => 1,
        Feeding::Item(_) => 0,
        Feeding::Lagged(missed) => u32::try_from(*missed).unwrap_or(u32::MAX),
    }
}

fn is_large_begin(event: &Feeding<files::Event>) -> bool {
    match event {
        Feeding::Item(files::Event::State { transfer }) => {
            transfer.state == files::State::Running && transfer.bytes >= LARGE_TRANSFER
        }
        Feeding::Item(_) | Feeding::Lagged(_) => false,
    }
}

fn ended(event: &Feeding<files::Event>) -> bool {
    match event {
        Feeding::Item(files::Event::State { transfer }) => transfer.state.is_over(),
        Feeding::Item(_) => false,
        Feeding::Lagged(_) => true,
    }
}

/// Returns the new count of peers that have left since.
async fn give_back() -> u32 {
    // Tens of milliseconds on a large heap: not on the thread that serves the peers.
    on_worker(trim).await;
    0
}

async fn on_worker(work: fn()) {
    if let Err(error) = task::spawn_blocking(work).await {
        tracing::error!(%error, "memory was not given back");
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "there is no safe way to ask for it")]
fn trim() {
    // SAFETY: malloc_trim may be called at any time from any thread; it touches free memory only.
    let released = unsafe { libc::malloc_trim(0) } != 0;
    let_go_of_code();
    tracing::debug!(released, "memory given back");
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "there is no safe way to ask for it")]
fn let_go_of_code() {
    let code = std::fs::read_to_string("/proc/self/maps").map(|maps| own_code(&maps));
    for code in code.into_iter().flatten() {
        let (start, len) = (code.start as *mut libc::c_void, code.len());
        // SAFETY: the range is code of this program, mapped from its file and never written to: what
        // is let go of is read from there again.
        let outcome = unsafe { libc::madvise(start, len, libc::MADV_DONTNEED) };
        tracing::trace!(outcome, len, "code let go of");
    }
}

/// Where the code of this program is mapped: by the address of a function of it, as a path may be that
/// of another file by now.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn own_code(maps: &str) -> Option<std::ops::Range<usize>> {
    let here = own_code as fn(&str) -> Option<std::ops::Range<usize>> as usize;
    let range = |line: &str| {
        let (range, rest) = line.split_once(' ')?;
        let (start, end) = range.split_once('-')?;
        let hex = |digits| usize::from_str_radix(digits, 16).ok();
        // Private and not writable; a mapping of no file has inode 0.
        let from_file = rest.split_ascii_whitespace().nth(3) != Some("0");
        (rest.starts_with("r-xp") && from_file).then_some(hex(start)?..hex(end)?)
    };
    maps.lines().filter_map(range).find(|range| range.contains(&here))
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn trim() {}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn let_go_of_code() {}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::*;

    #[test]
    fn code_that_was_let_go_of_runs_again() {
        let resident = || {
            let rollup = std::fs::read_to_string("/proc/self/smaps").unwrap();
            let code = own_code(&std::fs::read_to_string("/proc/self/maps").unwrap()).unwrap();
            let mut lines = rollup.lines();
            let starts = format!("{:x}-{:x} ", code.start, code.end);
            lines.find(|line| line.starts_with(&starts)).unwrap();
            let rss = lines.find_map(|line| line.strip_prefix("Rss:")).unwrap();
            rss.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
        };
        let before = resident();
        let_go_of_code();
        assert!(resident() < before, "{before} kB before, {} after", resident());
        assert_eq!(own_code(""), None);
        assert_eq!(own_code("00000000-ffffffffffffffff rw-p 00000000 fe:00 9 /x"), None);
        assert_eq!(own_code("00000000-ffffffffffffffff r-xp 00000000 00:00 0"), None);
    }
}
