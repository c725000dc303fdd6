//! Content that is received into memory: manifests.

use bytes::Bytes;

use crate::{
    Bitfield, Corrupt, Plan, encoding,
    plan::{BLOCK_BYTES, Piece},
};

/// Verifies the pieces of a blob and puts them together in memory.
#[derive(Debug)]
pub struct Collector {
    plan: Plan,
    content: Vec<u8>,
    bits: Bitfield,
}

impl Collector {
    /// Starts with nothing; allocates [`Plan::bytes`], so check them first.
    ///
    /// For the plan of a blob: of a tree it collects nothing useful.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        let content = vec![0; usize::try_from(plan.bytes()).unwrap_or(usize::MAX)];
        let bits = Bitfield::new(plan.pieces());
        Self { plan, content, bits }
    }

    /// Which pieces are there.
    #[must_use]
    pub fn bits(&self) -> &Bitfield {
        &self.bits
    }

    /// Verifies a piece and keeps its content.
    ///
    /// # Errors
    /// [`Corrupt`]: nothing of it was kept.
    pub fn write_piece(&mut self, piece: u32, encoded: &[u8]) -> Result<(), Corrupt> {
        match self.plan.piece(piece) {
            Some(Piece::Block { file, block }) => {
                // The content is in memory, so the number fits.
                let mut at = (block * BLOCK_BYTES) as usize;
                for group in encoding::verify_block(file, block, encoded)? {
                    self.content[at..at + group.len()].copy_from_slice(&group);
                    at += group.len();
                }
            }
            Some(Piece::Pack(pack)) => {
                encoding::verify_pack(pack, encoded)?;
                self.content[..encoded.len()].copy_from_slice(encoded);
            }
            None => return Err(Corrupt { offset: 0 }),
        }
        self.bits.set(piece);
        Ok(())
    }

    /// The content; `None` while pieces are missing.
    #[must_use]
    pub fn finish(self) -> Option<Bytes> {
        self.bits.is_full().then(|| self.content.into())
    }
}
