//! Hashing files: their roots and outboards.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::Path,
    sync::{Mutex, PoisonError},
    thread,
};

use blake3::hazmat::ChainingValue;
use peerage_types::ContentHash;
use rustix::fs::OFlags;

use crate::{
    Progress, encoding,
    plan::{BLOCK_BYTES, block_len, blocks},
};

/// Blocks that a thread takes at a time: 16 MiB.
const STRIDE: usize = 16;
/// Threads that hash a large file at most, each with a buffer of 1 MiB.
const MAX_THREADS: usize = 4;

/// The hash of a file, and its outboard if it has more than one block.
pub(crate) struct Hashed {
    pub(crate) root: ContentHash,
    pub(crate) outboard: Vec<u8>,
}

/// Threads that are worth starting on this machine.
pub(crate) fn threads() -> usize {
    thread::available_parallelism().map_or(1, |cores| cores.get().min(MAX_THREADS))
}

/// Opens a regular file for reading, not through a link at its end and without waiting for a pipe.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    // Flags fit in 31 bits on every Unix.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// Hashes the first `size` bytes; ends early with `Interrupted` when it is cancelled, and with
/// `UnexpectedEof` when the file is shorter.
pub(crate) fn file(
    file: &File,
    size: u64,
    buffer: &mut Vec<u8>,
    threads: usize,
    progress: &Progress,
) -> io::Result<Hashed> {
    if size <= BLOCK_BYTES {
        let content = read_block(file, size, 0, buffer)?;
        progress.hashed(size);
        let root = ContentHash(*blake3::hash(content).as_bytes());
        return Ok(Hashed { root, outboard: Vec::new() });
    }
    let count = usize::try_from(blocks(size)).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let mut hashes = vec![[0; 32]; count];
    let queue = Mutex::new(hashes.chunks_mut(STRIDE).enumerate());
    let work = |buffer: &mut Vec<u8>| -> io::Result<()> {
        loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((stride, hashes)) = next else { return Ok(()) };
            let first = (stride * STRIDE) as u64;
            hash_blocks(file, size, first, hashes, buffer, progress)?;
        }
    };
    let extra = threads.min(count.div_ceil(STRIDE)).saturating_sub(1);
    thread::scope(|scope| {
        let others: Vec<_> = (0..extra).map(|_| scope.spawn(|| work(&mut Vec::new()))).collect();
        let mine = work(buffer);
        others.into_iter().fold(mine, |result, other| {
            let other = other.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked")));
            result.and(other)
        })
    })?;
    let (root, outboard) = encoding::outboard(&hashes);
    Ok(Hashed { root: ContentHash(root), outboard })
}

/// The root and the outboard of what is in memory.
pub(crate) fn memory(content: &[u8]) -> Hashed {
    if content.len() as u64 <= BLOCK_BYTES {
        let root = ContentHash(*blake3::hash(content).as_bytes());
        return Hashed { root, outboard: Vec::new() };
    }
    let blocks = content.chunks(BLOCK_BYTES as usize).zip(0..);
    let hashes: Vec<ChainingValue> =
        blocks.map(|(block, number)| encoding::subtree(block, number * BLOCK_BYTES)).collect();
    let (root, outboard) = encoding::outboard(&hashes);
    Hashed { root: ContentHash(root), outboard }
}

fn hash_blocks(
    file: &File,
    size: u64,
    first: u64,
    hashes: &mut [ChainingValue],
    buffer: &mut Vec<u8>,
    progress: &Progress,
) -> io::Result<()> {
    for (block, hash) in (first..).zip(hashes) {
        if progress.is_cancelled() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let content = read_block(file, block_len(size, block), block * BLOCK_BYTES, buffer)?;
        *hash = encoding::subtree(content, block * BLOCK_BYTES);
        progress.hashed(content.len() as u64);
    }
    Ok(())
}

fn read_block<'a>(
    file: &File,
    len: u64,
    offset: u64,
    buffer: &'a mut Vec<u8>,
) -> io::Result<&'a [u8]> {
    // A block at most.
    let len = len as usize;
    if buffer.len() < len {
        buffer.resize(len, 0);
    }
    file.read_exact_at(&mut buffer[..len], offset)?;
    Ok(&buffer[..len])
}
