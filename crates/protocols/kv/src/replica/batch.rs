//! Many versions in one transaction: all checks first, then the rows of each table in their order.

use std::cmp::Reverse;

use peerage_api::kv::KvError;
use peerage_store::{KvRead as _, KvTable, KvTxn, StoreError};
use peerage_types::{Expected, Hlc, Space, UnixMillis};
use peerage_wire::kv::Kind;

use super::{
    edit::{Candidate, Edit, Place},
    peers,
};
use crate::{
    Cursor, Limits,
    rows::{self, Counters, Row},
};

/// What must be true of a key for the batch to be applied.
#[derive(Clone, Debug)]
pub(super) struct Check {
    /// Which candidate it is about.
    pub(super) at: usize,
    pub(super) expect: Option<Expected>,
    pub(super) needs: Needs,
}

/// What there must be of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    Nothing,
    /// An entry that can be read.
    Entry,
    /// An entry, or what is left of one.
    Trace,
}

impl Needs {
    fn are_met(self, row: Option<&Row>, live: Option<&Row>) -> bool {
        match self {
            Self::Nothing => true,
            Self::Entry => live.is_some(),
            Self::Trace => row.is_some_and(|row| row.entry().kind != Kind::Purge),
        }
    }
}

/// What to do with candidates that do not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Written here: all or none.
    Local,
    /// Written elsewhere: each by itself.
    Remote { from: [u8; 8] },
}

/// A batch, ready to be written. At most one candidate of each key.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) place: Place,
    pub(super) space: Space,
    pub(super) mode: Mode,
    pub(super) limits: Limits,
    pub(super) now: UnixMillis,
    /// The clock after it.
    pub(super) high: Hlc,
    pub(super) checks: Vec<Check>,
    /// In the order of their sequence numbers.
    pub(super) candidates: Vec<Candidate>,
    pub(super) orders: Orders,
    /// The peer whose feed it was taken from, as in the key of its row, and how far.
    pub(super) cursor: Option<(Vec<u8>, Cursor)>,
}

/// In which order the candidates are in the tables.
#[derive(Debug, Default)]
pub(super) struct Orders {
    key: Vec<u32>,
    hash: Vec<u32>,
}

impl Orders {
    pub(super) fn of(candidates: &[Candidate]) -> Self {
        let count = candidates.len() as u32;
        let (mut key, mut hash): (Vec<_>, Vec<_>) = ((0..count).collect(), (0..count).collect());
        key.sort_unstable_by_key(|at| candidates[*at as usize].key());
        hash.sort_unstable_by_key(|at| candidates[*at as usize].hash);
        Self { key, hash }
    }
}

/// What became of a batch.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    /// Of each candidate its sequence number; 0: what was there is later.
    pub(super) seqs: Vec<u64>,
    pub(super) refused: u64,
}

/// What the candidates meet.
struct Plan {
    /// By candidate: nothing if it is not taken.
    olds: Vec<Option<Option<Row>>>,
    refused: u64,
}

/// What a transaction gives: the counters after it and its result, or why nothing was written.
pub(super) type Verdict<T> = Result<(Counters, T), KvError>;

impl Batch {
    pub(super) fn write(&self, txn: &mut KvTxn<'_>) -> Result<Verdict<Outcome>, StoreError> {
        let Some(mut edit) = Edit::begin(txn, self.place)? else {
            return Ok(Err(KvError::NoSuchSpace { space: self.space }));
        };
        let Plan { olds, refused } = match self.plan(&mut edit)? {
            Ok(plan) => plan,
            Err(error) => return Ok(Err(error)),
        };
        let seqs: Vec<_> =
            olds.iter().map(|old| old.as_ref().map_or(0, |_| edit.next_seq())).collect();
        self.write_rows(&mut edit, &olds, &seqs)?;
        let counters = edit.finish()?;
        self.write_clock(txn)?;
        if let Some((key, cursor)) = &self.cursor {
            peers::put_cursor(txn, self.place.no, key, *cursor)?;
        }
        Ok(Ok((counters, Outcome { seqs, refused })))
    }

    fn plan(&self, edit: &mut Edit<'_, '_>) -> Result<Result<Plan, KvError>, StoreError> {
        let mut olds: Vec<Option<Option<Row>>> = Vec::new();
        olds.resize_with(self.candidates.len(), || None);
        for at in self.by_key() {
            olds[at] = Some(edit.row(&self.candidates[at].entry().key)?);
        }
        for check in &self.checks {
            let row = olds[check.at].as_ref().and_then(Option::as_ref);
            if let Err(error) = self.check(check, row) {
                return Ok(Err(error));
            }
        }
        let mut refused = 0;
        for (candidate, found) in self.candidates.iter().zip(&mut olds) {
            let old = found.as_ref().and_then(Option::as_ref);
            if !wins(candidate, old) {
                *found = None;
                continue;
            }
            match (edit.account(candidate, old, &self.limits)?, self.mode) {
                (Ok(()), _) => {}
                (Err(over), Mode::Local) => {
                    let (what, max) = (over.what.into(), over.max);
                    return Ok(Err(KvError::Quota { space: self.space, what, max }));
                }
                (Err(_), Mode::Remote { .. }) => {
                    *found = None;
                    refused += 1;
                }
            }
        }
        Ok(Ok(Plan { olds, refused }))
    }

    fn check(&self, check: &Check, row: Option<&Row>) -> Result<(), KvError> {
        let live = row.filter(|row| !row.is_gone(self.now));
        let key = || self.candidates[check.at].entry().key.clone();
        let found = live.map_or(Expected::Absent, |row| {
            Expected::At(row.entry().revision(row.signed.fingerprint()))
        });
        match check.expect {
            Some(expected) if expected != found => {
                Err(KvError::Conflict { key: key(), expected, found })
            }
            _ if check.needs.are_met(row, live) => Ok(()),
            _ => Err(KvError::NotFound { space: self.space, key: key() }),
        }
    }

    fn write_rows(
        &self,
        edit: &mut Edit<'_, '_>,
        olds: &[Option<Option<Row>>],
        seqs: &[u64],
    ) -> Result<(), StoreError> {
        for at in self.by_key() {
            if let Some(old) = &olds[at] {
                edit.replace(&self.candidates[at], seqs[at], old.as_ref())?;
            }
        }
        let from = match self.mode {
            Mode::Local => [0; 8],
            Mode::Remote { from } => from,
        };
        let taken = |at: &usize| seqs[*at] > 0;
        for at in (0..self.candidates.len()).filter(taken) {
            edit.tell(seqs[at], from, self.candidates[at].key())?;
        }
        for at in self.orders.hash.iter().map(|at| *at as usize).filter(taken) {
            let candidate = &self.candidates[at];
            edit.leaf(&candidate.hash, seqs[at], candidate.signed.fingerprint())?;
        }
        Ok(())
    }

    fn by_key(&self) -> impl Iterator<Item = usize> + '_ {
        self.orders.key.iter().map(|at| *at as usize)
    }

    fn write_clock(&self, txn: &mut KvTxn<'_>) -> Result<(), StoreError> {
        let stored = txn.get_with(KvTable::Meta, &rows::CLOCK, |high| high.try_into().ok())?;
        let stored = stored.flatten().map_or(0, u64::from_be_bytes);
        if self.high.0 > stored {
            txn.put(KvTable::Meta, &rows::CLOCK, &self.high.0.to_be_bytes())?;
        }
        Ok(())
    }
}

fn wins(candidate: &Candidate, old: Option<&Row>) -> bool {
    let rank = candidate.entry().rank(candidate.signed.fingerprint());
    old.is_none_or(|old| rank > old.entry().rank(old.signed.fingerprint()))
}

/// Leaves of each key the candidate that wins, where it stands.
pub(super) fn only_winners(candidates: &mut Vec<Candidate>) -> usize {
    let before = candidates.len();
    let rank = |at: &u32| {
        let candidate = &candidates[*at as usize];
        candidate.entry().rank(candidate.signed.fingerprint())
    };
    let mut order: Vec<_> = (0..before as u32).collect();
    order.sort_unstable_by_key(|at| (candidates[*at as usize].key(), Reverse(rank(at))));
    let mut keep = vec![false; before];
    let mut last = None;
    for at in order {
        let key = candidates[at as usize].key();
        keep[at as usize] = last != Some(key);
        last = Some(key);
    }
    let mut keep = keep.into_iter();
    candidates.retain(|_| keep.next().unwrap_or_default());
    before - candidates.len()
}
