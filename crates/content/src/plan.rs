//! How content is cut into pieces.

use std::{fmt, sync::Arc};

use peerage_types::ContentHash;
use peerage_wire::files::manifest::{FileEntry, Kind, MAX_TREE_BYTES, Manifest};

use crate::encoding;

/// Bytes of a block: what one piece has of a large file.
pub const BLOCK_BYTES: u64 = 1 << 20;
/// Bytes that are verified at once.
pub const GROUP_BYTES: u64 = 16 << 10;
/// Files up to this many bytes travel packed.
pub const PACKED_MAX_BYTES: u64 = 16 << 10;
/// Files of a pack at most.
pub const PACK_FILES: usize = 512;

/// How content is cut into pieces, numbered from 0. Cheap to clone.
///
/// Both sides derive it from (root, size) of a blob or from the manifest of a tree. First come the
/// *blocks* of files above [`PACKED_MAX_BYTES`], in the order of the files, of [`BLOCK_BYTES`] each but
/// the last of a file. On the wire a block is its bao encoding in groups of [`GROUP_BYTES`]: hash
/// pairs from the root of the file down to the block, then pairs and groups of the block in
/// pre-order, without the size. Then come the *packs*: runs of smaller files in the order of the
/// manifest, up to [`BLOCK_BYTES`] and [`PACK_FILES`] each; on the wire their contents one after the
/// other. What is empty needs no piece.
#[derive(Clone)]
pub struct Plan(Arc<Inner>);

struct Inner {
    root: ContentHash,
    content: Content,
    pieces: u32,
    bytes: u64,
    files: u64,
}

enum Content {
    Blob { size: u64 },
    Tree(Tree),
}

/// 8 bytes for each large file, 4 for each small one.
struct Tree {
    manifest: Manifest,
    /// First piece and entry of each large file.
    large: Box<[(u32, u32)]>,
    /// The entries of small files.
    small: Box<[u32]>,
    /// Where in `small` each pack starts.
    packs: Box<[u32]>,
    /// How many pieces are blocks.
    blocks: u32,
}

/// Content that cannot be cut into pieces.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// Above 256 TiB.
    #[error("content of {size} bytes is too large; at most {MAX_TREE_BYTES} can be transferred")]
    TooLarge {
        /// Its bytes.
        size: u64,
    },
    /// An empty file whose root is not the hash of nothing.
    #[error("an empty file with the root of something else")]
    EmptyRoot,
}

/// A file of the content: an entry of the manifest, or the blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileRef {
    /// Its entry; 0 for a blob.
    pub(crate) entry: u32,
    pub(crate) root: ContentHash,
    pub(crate) size: u64,
}

/// What a piece is of.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Piece<'a> {
    /// A block of a large file, by its number in the file.
    Block { file: FileRef, block: u64 },
    /// Small files.
    Pack(Pack<'a>),
}

/// The files of a pack.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pack<'a> {
    Blob(FileRef),
    Entries { manifest: &'a Manifest, entries: &'a [u32] },
}

impl Plan {
    /// The plan of one file.
    ///
    /// # Errors
    /// [`PlanError`]: whoever offers it is broken or lies.
    pub fn blob(root: ContentHash, size: u64) -> Result<Self, PlanError> {
        if size > MAX_TREE_BYTES {
            return Err(PlanError::TooLarge { size });
        }
        if size == 0 && root.0 != *blake3::hash(b"").as_bytes() {
            return Err(PlanError::EmptyRoot);
        }
        let pieces = if size <= PACKED_MAX_BYTES { size.min(1) } else { blocks(size) };
        // At most 2²⁸.
        let pieces = pieces as u32;
        Ok(Self(Arc::new(Inner {
            root,
            content: Content::Blob { size },
            pieces,
            bytes: size,
            files: 1,
        })))
    }

    /// The plan of a tree.
    #[must_use]
    pub fn tree(manifest: Manifest) -> Self {
        let (mut large, mut small, mut packs) = (Vec::new(), Vec::new(), Vec::new());
        let mut blocks_before = 0;
        let (mut pack_bytes, mut pack_files) = (0, PACK_FILES);
        for (number, entry) in (0..).zip(manifest.entries()) {
            let Kind::File(FileEntry { size, .. }) = entry.kind else { continue };
            if size > PACKED_MAX_BYTES {
                large.push((blocks_before, number));
                // A tree has at most 2⁴⁸ bytes and 10⁶ files, so at most 2²⁸ + 10⁶ blocks.
                blocks_before += blocks(size) as u32;
            } else if size > 0 {
                if pack_files == PACK_FILES || pack_bytes + size > BLOCK_BYTES {
                    packs.push(small.len() as u32);
                    (pack_bytes, pack_files) = (0, 0);
                }
                small.push(number);
                pack_bytes += size;
                pack_files += 1;
            }
        }
        let (root, bytes) = (manifest.root(), manifest.total_bytes());
        let files = manifest.files().into();
        let pieces = blocks_before + packs.len() as u32;
        let content = Content::Tree(Tree {
            manifest,
            large: large.into(),
            small: small.into(),
            packs: packs.into(),
            blocks: blocks_before,
        });
        Self(Arc::new(Inner { root, content, pieces, bytes, files }))
    }

    /// Names the content.
    #[must_use]
    pub fn root(&self) -> ContentHash {
        self.0.root
    }

    /// How many pieces there are.
    #[must_use]
    pub fn pieces(&self) -> u32 {
        self.0.pieces
    }

    /// Bytes of all files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.bytes
    }

    /// How many files there are, empty ones too.
    #[must_use]
    pub fn files(&self) -> u64 {
        self.0.files
    }

    /// The manifest of a tree.
    #[must_use]
    pub fn manifest(&self) -> Option<&Manifest> {
        match &self.0.content {
            Content::Blob { .. } => None,
            Content::Tree(tree) => Some(&tree.manifest),
        }
    }

    /// Bytes of content in the piece; 0 for one past the end.
    #[must_use]
    pub fn piece_bytes(&self, piece: u32) -> u64 {
        match self.piece(piece) {
            Some(Piece::Block { file, block }) => block_len(file.size, block),
            Some(Piece::Pack(pack)) => pack.files().map(|file| file.size).sum(),
            None => 0,
        }
    }

    /// Bytes of the piece on the wire, exactly: its content, and 64 for each hash pair. 0 for one
    /// past the end.
    #[must_use]
    pub fn wire_len(&self, piece: u32) -> usize {
        match self.piece(piece) {
            Some(Piece::Block { file, block }) => encoding::block_wire_len(file.size, block),
            Some(Piece::Pack(pack)) => pack.files().map(|file| file.size as usize).sum(),
            None => 0,
        }
    }

    pub(crate) fn piece(&self, piece: u32) -> Option<Piece<'_>> {
        if piece >= self.0.pieces {
            return None;
        }
        let tree = match &self.0.content {
            Content::Blob { size } => {
                let file = FileRef { entry: 0, root: self.0.root, size: *size };
                return Some(match *size > PACKED_MAX_BYTES {
                    true => Piece::Block { file, block: piece.into() },
                    false => Piece::Pack(Pack::Blob(file)),
                });
            }
            Content::Tree(tree) => tree,
        };
        if let Some(pack) = piece.checked_sub(tree.blocks) {
            let start = *tree.packs.get(pack as usize)? as usize;
            let end =
                tree.packs.get(pack as usize + 1).map_or(tree.small.len(), |end| *end as usize);
            let entries = &tree.small[start..end];
            return Some(Piece::Pack(Pack::Entries { manifest: &tree.manifest, entries }));
        }
        let at = tree.large.partition_point(|(first, _)| *first <= piece).checked_sub(1)?;
        let (first, entry) = tree.large[at];
        let file = file_ref(&tree.manifest, entry)?;
        Some(Piece::Block { file, block: (piece - first).into() })
    }
}

impl<'a> Pack<'a> {
    /// The files in the order of their contents.
    pub(crate) fn files(self) -> impl Iterator<Item = FileRef> + 'a {
        let (blob, entries) = match self {
            Self::Blob(file) => (Some(file), None),
            Self::Entries { manifest, entries } => (None, Some((manifest, entries))),
        };
        let entries = entries.into_iter().flat_map(|(manifest, entries)| {
            entries.iter().filter_map(|entry| file_ref(manifest, *entry))
        });
        blob.into_iter().chain(entries)
    }
}

fn file_ref(manifest: &Manifest, entry: u32) -> Option<FileRef> {
    match manifest.entry(entry)?.kind {
        Kind::File(FileEntry { size, root, .. }) => Some(FileRef { entry, root, size }),
        Kind::Dir | Kind::Link { .. } => None,
    }
}

/// How many blocks a large file has.
pub(crate) fn blocks(size: u64) -> u64 {
    size.div_ceil(BLOCK_BYTES)
}

/// Bytes of a block.
pub(crate) fn block_len(size: u64, block: u64) -> u64 {
    size.saturating_sub(block * BLOCK_BYTES).min(BLOCK_BYTES)
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan")
            .field("root", &self.0.root)
            .field("pieces", &self.0.pieces)
            .field("bytes", &self.0.bytes)
            .field("files", &self.0.files)
            .finish_non_exhaustive()
    }
}
