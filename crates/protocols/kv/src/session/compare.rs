//! Range reconciliation: what is found to differ, from the top down.
//!
//! Each side keeps what the other has claimed of a node until it has seen what is in it, which must add
//! up to the claim.
//!
//! | a node is | because | until |
//! |---|---|---|
//! | `todo` | this side has found that it differs | it is opened: a row, or its items if it is small |
//! | `awaiting` | this side has sent its row | the other side answers: a row, or its items |
//! | `expected` | the other side has found that it differs | the other side opens it |
//! | an answer | the other side has sent its row | this side's next turn |
//! | a job | the other side has sent its items | this side's next turn |

use std::collections::HashMap;

use peerage_wire::kv::frames::{Items, Row};

use super::{
    Lie, SessionError,
    bounds::{MAX_COMPARISONS, MAX_PENDING, PENDING_TARGET},
    convert::{node_of, part_of, parts_of, total, wire_node},
    ledger::Ledger,
};
use crate::{Item, KeyHash, Node, Summary};

/// A node, and what both have of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Differing {
    pub(super) node: Node,
    pub(super) ours: Summary,
    pub(super) theirs: Summary,
}

/// A node of which the other side has told all.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) node: Node,
    pub(super) ours: u64,
    pub(super) theirs: Vec<Item>,
}

/// Why an entry is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Because {
    /// The other side has asked for it, and has nothing under the key.
    Wanted,
    /// The other side has nothing under the key.
    Lacking,
    /// The other side has something else under the key.
    Different,
}

/// What the other side must have of a node.
#[derive(Debug, Clone, Copy)]
enum Claim {
    /// Of the root: this digest.
    Digest([u8; 16]),
    /// This.
    Summary(Summary),
}

#[derive(Debug)]
struct Awaited {
    ours: [Summary; 16],
    claim: Claim,
}

/// A comparison under way. Pure.
#[derive(Debug, Default)]
pub(super) struct Compare {
    pub(super) todo: Vec<Differing>,
    awaiting: HashMap<Node, Awaited>,
    expected: HashMap<Node, Differing>,
    /// Rows of the other side that are to be answered.
    pub(super) answers: Vec<(Node, [Summary; 16])>,
    /// Nodes whose differences are to be sent.
    pub(super) jobs: Vec<Job>,
    /// Entries that are to be sent.
    pub(super) wants: Vec<(KeyHash, Because)>,
    /// What the other side owes.
    pub(super) ledger: Ledger,
    /// Comparisons that were begun.
    begun: u32,
}

/// What a turn has said about ranges.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) rows: Vec<Row>,
    pub(super) items: Vec<(Node, Vec<Item>)>,
    pub(super) want: Vec<KeyHash>,
    pub(super) gone: Vec<KeyHash>,
    /// Items of the last node go on in the next frame.
    pub(super) unfinished: Option<Node>,
}

/// What matters of the other side when its turn is judged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Judge {
    /// Of all that it compares.
    pub(super) digest: [u8; 16],
    /// Of all that this side compares.
    pub(super) ours: Summary,
    /// It has sent enough.
    pub(super) cut: bool,
    /// It was away too long: it may withhold what was deleted meanwhile.
    pub(super) stale: bool,
}

impl Said {
    /// How many items there are.
    pub(super) fn len(&self) -> usize {
        self.items.iter().map(|(_, items)| items.len()).sum()
    }

    /// Takes the items of a frame.
    pub(super) fn on_items(&mut self, frame: Items) -> Result<(), SessionError> {
        let node = node_of(frame.node);
        let items =
            frame.items.iter().map(|item| Item { hash: item.hash, fingerprint: item.fingerprint });
        match self.unfinished {
            None => self.items.push((node, items.collect())),
            Some(unfinished) if unfinished == node => {
                let (_, list) = self.items.last_mut().expect("it was begun");
                let is_behind =
                    list.last().map(|last| last.hash) < frame.items.first().map(|i| i.hash);
                if !is_behind {
                    return Err(SessionError::OutOfTurn);
                }
                list.extend(items);
            }
            Some(_) => return Err(SessionError::OutOfTurn),
        }
        self.unfinished = frame.more.then_some(node);
        Ok(())
    }
}

impl Compare {
    /// Whether neither side has anything to do.
    pub(super) fn is_idle(&self) -> bool {
        let is_ours_done = self.todo.is_empty() && self.answers.is_empty() && self.jobs.is_empty();
        let is_theirs_done = self.awaiting.is_empty() && self.expected.is_empty();
        is_ours_done && is_theirs_done && self.wants.is_empty() && self.ledger.is_empty()
    }

    /// Whether another comparison may begin.
    pub(super) fn may_begin(&self) -> bool {
        self.begun < MAX_COMPARISONS
    }

    /// This side begins with its row of the root.
    pub(super) fn begin(&mut self, ours: [Summary; 16], digest: [u8; 16]) {
        self.begun += 1;
        self.awaiting.insert(Node::ROOT, Awaited { ours, claim: Claim::Digest(digest) });
    }

    /// This side begins by sending everything: the other one has nothing.
    pub(super) fn begin_with_all(&mut self, ours: u64) {
        self.begun += 1;
        self.jobs.push(Job { node: Node::ROOT, ours, theirs: Vec::new() });
    }

    /// This side opens a node with its row.
    pub(super) fn opened(&mut self, node: &Differing, ours: [Summary; 16]) {
        let claim = Claim::Summary(node.theirs);
        self.awaiting.insert(node.node, Awaited { ours, claim });
    }

    /// This side opens a node with all its items.
    pub(super) fn told(&mut self, node: &Differing, items: &[Item]) {
        self.ledger.list(items);
        self.ledger.balance(node.node, &node.ours, &node.theirs);
    }

    /// This side has found, by comparing its row with the other's, where they differ; gives its answer.
    pub(super) fn answer(
        &mut self,
        node: Node,
        ours: &[Summary; 16],
        theirs: &[Summary; 16],
    ) -> Row {
        let mut parts = Vec::new();
        for differing in differences(node, ours, theirs) {
            let nibble = (differing.node.prefix & 0xf) as u8;
            parts.push((nibble, part_of(&differing.ours)));
            if differing.theirs.count == 0 {
                let (node, ours) = (differing.node, differing.ours.count);
                self.jobs.push(Job { node, ours, theirs: Vec::new() });
            } else if differing.ours.count == 0 {
                // They see that we have nothing.
                self.ledger.balance(differing.node, &differing.ours, &differing.theirs);
            } else {
                self.todo.push(differing);
            }
        }
        Row { node: wire_node(node), answer: true, parts }
    }

    /// The level of the deepest node that the other side is to open, if it has many.
    pub(super) fn gate(&self) -> u8 {
        if self.expected.len() < PENDING_TARGET {
            return 0;
        }
        self.expected.keys().map(|node| node.level).max().unwrap_or(0)
    }

    /// Takes what the other side has said in its turn; entries went through the ledger before.
    pub(super) fn on_turn(&mut self, said: Said, judge: &Judge) -> Result<(), SessionError> {
        if said.unfinished.is_some() {
            return Err(SessionError::OutOfTurn);
        }
        let was_expecting = !self.expected.is_empty();
        // Otherwise it may wait until we have opened deeper ones.
        let may_open = self.todo.len() < PENDING_TARGET;
        let is_silent = said.rows.is_empty() && said.items.is_empty();
        for hash in said.want {
            let has_other = self.ledger.on_want(&hash)?;
            let because = if has_other { Because::Different } else { Because::Wanted };
            self.wants.push((hash, because));
        }
        for hash in &said.gone {
            if !judge.stale {
                return Err(Lie::Promise.into());
            }
            self.ledger.on_gone(hash)?;
        }
        self.ledger.settle(judge.cut, judge.stale)?;
        said.rows.iter().try_for_each(|row| self.on_row(row, judge))?;
        said.items.into_iter().try_for_each(|(node, items)| self.on_items(node, items, judge))?;
        if judge.cut {
            // Nothing more will be answered.
            self.forget();
        } else if !self.awaiting.is_empty() || (was_expecting && is_silent && may_open) {
            return Err(Lie::Silence.into());
        }
        let pending = self.expected.len() + self.todo.len() + self.awaiting.len();
        if pending > MAX_PENDING { Err(SessionError::TooMuch("nodes")) } else { Ok(()) }
    }

    /// Ends the comparison.
    pub(super) fn forget(&mut self) {
        *self = Self { begun: MAX_COMPARISONS, ..Self::default() };
    }

    fn on_row(&mut self, row: &Row, judge: &Judge) -> Result<(), SessionError> {
        let node = node_of(row.node);
        if row.answer {
            let Awaited { ours, claim } =
                self.awaiting.remove(&node).ok_or(SessionError::OutOfTurn)?;
            let mut theirs = ours;
            for (nibble, part) in parts_of(row) {
                theirs[usize::from(nibble)] = part;
            }
            claim.check(&total(&theirs))?;
            return self.on_answer(node, &ours, &theirs, row.parts.len());
        }
        let claim = self.claimed(node, judge)?;
        let mut theirs = [Summary::default(); 16];
        parts_of(row).for_each(|(nibble, part)| theirs[usize::from(nibble)] = part);
        claim.check(&total(&theirs))?;
        self.answers.push((node, theirs));
        Ok(())
    }

    /// What the other side has claimed of a node that it opens.
    fn claimed(&mut self, node: Node, judge: &Judge) -> Result<Claim, SessionError> {
        if let Some(expected) = self.expected.remove(&node) {
            return Ok(Claim::Summary(expected.theirs));
        }
        if node != Node::ROOT || !self.is_idle() || !self.may_begin() {
            return Err(SessionError::OutOfTurn);
        }
        self.begun += 1;
        Ok(Claim::Digest(judge.digest))
    }

    fn on_answer(
        &mut self,
        node: Node,
        ours: &[Summary; 16],
        theirs: &[Summary; 16],
        told: usize,
    ) -> Result<(), SessionError> {
        let differing: Vec<_> = differences(node, ours, theirs).collect();
        // Something must differ, and what was told to differ does.
        if differing.is_empty() || differing.len() != told {
            return Err(Lie::Node.into());
        }
        for differing in differing {
            if differing.theirs.count == 0 {
                let (node, ours) = (differing.node, differing.ours.count);
                self.jobs.push(Job { node, ours, theirs: Vec::new() });
            } else if differing.ours.count > 0 {
                self.expected.insert(differing.node, differing);
            }
            // Else it came in the same turn.
        }
        Ok(())
    }

    fn on_items(
        &mut self,
        node: Node,
        theirs: Vec<Item>,
        judge: &Judge,
    ) -> Result<(), SessionError> {
        let (claim, ours) = if let Some(expected) = self.expected.remove(&node) {
            (Claim::Summary(expected.theirs), expected.ours.count)
        } else if let Some(awaited) = self.awaiting.remove(&node) {
            (awaited.claim, total(&awaited.ours).count)
        } else {
            (self.claimed(node, judge)?, judge.ours.count)
        };
        let mut sum = Summary::default();
        theirs.iter().for_each(|item| sum.add(&item.fingerprint));
        claim.check(&sum)?;
        self.jobs.push(Job { node, ours, theirs });
        Ok(())
    }
}

impl Claim {
    fn check(self, found: &Summary) -> Result<(), SessionError> {
        let holds = match self {
            Self::Digest(digest) => found.digest() == digest,
            Self::Summary(summary) => summary == *found,
        };
        if holds { Ok(()) } else { Err(Lie::Node.into()) }
    }
}

/// The parts of a node in which two differ.
fn differences<'a>(
    node: Node,
    ours: &'a [Summary; 16],
    theirs: &'a [Summary; 16],
) -> impl Iterator<Item = Differing> + 'a {
    let both = (0..).zip(ours.iter().zip(theirs));
    both.filter(|(_, (ours, theirs))| ours != theirs).map(move |(nibble, (ours, theirs))| {
        let node = node.child(nibble).expect("rows are of nodes above the leaves");
        Differing { node, ours: *ours, theirs: *theirs }
    })
}
