//! What a side sends: its feed, answers to what it was asked, and what it found to differ.

use futures::{AsyncRead, AsyncWrite, future::try_join};
use peerage_api::kv::KvError;
use peerage_types::UnixMillis;
use peerage_wire::kv::{
    Fingerprint, MAX_INLINE_BYTES,
    frames::{self, FRAME_TARGET, Frame, MAX_HASHES, MAX_ITEMS, Row, pack},
};

use super::{
    SessionError,
    bounds::{CHUNK_BYTES, CHUNK_ENTRIES, MAX_LARGE, NODE_AT_ONCE, SMALL_NODE, TURN_TARGET},
    compare::{Because, Differing, Job},
    convert::{row_of, shown, total, wire_item, wire_node},
    side::Side,
};
use crate::{Cursor, Item, KeyHash, LEAF_LEVEL, Node, Outgoing, Summary, View};

/// What was found to have been deleted while this side was away.
#[derive(Debug, Default)]
pub(super) struct Withheld {
    dead: Vec<(KeyHash, Fingerprint)>,
    gone: Vec<KeyHash>,
}

impl<S: AsyncRead + AsyncWrite + Unpin, N: Fn() -> UnixMillis + Sync> Side<S, N> {
    /// Sends the feed behind where the other side has taken it over. Tells whether anything was sent.
    pub(super) async fn feed(&mut self) -> Result<bool, SessionError> {
        let Some((view, theirs)) = self.view.clone().zip(self.theirs.state) else {
            return Ok(false);
        };
        let is_empty = theirs.count == 0;
        let from = self.theirs.cursor.filter(|_| !is_empty).map_or(0, |cursor| cursor.seq);
        // A replica that was lost has nothing of what it once told.
        let known = self.row.and_then(|row| row.cursor);
        let is_same_feed = |cursor: Cursor| !is_empty && cursor.epoch == theirs.epoch;
        let skip = known.is_some_and(is_same_feed).then_some(self.peer);
        let (before, mut large) = (self.sent, 0);
        let (mut entries, mut through) = view.since(from, skip, CHUNK_BYTES).await?;
        loop {
            large += entries.iter().filter(|entry| is_large(entry)).count();
            if !self.has_room() || large > MAX_LARGE / 2 {
                self.cut = through < view.head() || self.sent > before;
            }
            let is_last = through >= view.head() || self.cut;
            if is_last {
                self.send(&entries, &view, through).await?;
                return Ok(self.sent > before);
            }
            let next = view.since(through, skip, CHUNK_BYTES);
            let next = async { Ok::<_, SessionError>(next.await?) };
            let ((), next) = try_join(self.send(&entries, &view, through), next).await?;
            (entries, through) = next;
        }
    }

    async fn send(
        &mut self,
        entries: &[Outgoing],
        view: &View,
        through: u64,
    ) -> Result<(), SessionError> {
        if !entries.is_empty() {
            self.send_entries(entries, view).await?;
            self.line.say(&Frame::Through(through)).await?;
        }
        Ok(())
    }

    async fn send_entries(
        &mut self,
        entries: &[Outgoing],
        view: &View,
    ) -> Result<(), SessionError> {
        let shown: Vec<_> = entries.iter().map(shown).collect();
        for body in pack(&shown) {
            self.line.say(&Frame::Entries(body.into())).await?;
        }
        self.sent += entries.len() as u64;
        self.has_taught |= !entries.is_empty();
        self.served = Some(view.clone());
        Ok(())
    }

    fn has_room(&self) -> bool {
        self.line.sent < self.bounds.sent
    }

    /// Sends the values that were asked for, in the same order.
    pub(super) async fn answer_fetches(&mut self) -> Result<(), SessionError> {
        let fetches = std::mem::take(&mut self.fetches);
        let Some(view) = self.served.clone().filter(|_| !fetches.is_empty()) else {
            let nothing = fetches.is_empty();
            return if nothing { Ok(()) } else { Err(SessionError::OutOfTurn) };
        };
        for asks in fetches.chunks(CHUNK_ENTRIES) {
            let found = view.find(asks.iter().map(|(hash, _)| *hash).collect()).await?;
            for ((hash, fingerprint), entry) in asks.iter().zip(found) {
                let is_it = |entry: &Outgoing| entry.signed.fingerprint() == fingerprint;
                let entry = entry.filter(|it| is_it(it) && is_large(it));
                let entry = entry.ok_or(SessionError::OutOfTurn)?;
                if !self.has_room() {
                    self.cut = true;
                    return Ok(());
                }
                self.send_value(&view, *hash, entry.signed.entry().size as usize).await?;
            }
        }
        self.has_taught = true;
        Ok(())
    }

    async fn send_value(
        &mut self,
        view: &View,
        hash: KeyHash,
        size: usize,
    ) -> Result<(), SessionError> {
        let mut left = size;
        for number in 0.. {
            let Some(part) = view.value(hash, number).await?.filter(|part| !part.is_empty()) else {
                // It was there in this very snapshot.
                let reason = "a part of a value is missing".into();
                return Err(KvError::Store { reason }.into());
            };
            left = left.saturating_sub(part.len());
            let pieces = part.len().div_ceil(FRAME_TARGET);
            for piece in 0..pieces {
                let end = part.len().min((piece + 1) * FRAME_TARGET);
                let bytes = part.slice(piece * FRAME_TARGET..end);
                let last = left == 0 && piece + 1 == pieces;
                self.line.say(&Frame::Value { last, bytes }).await?;
            }
            if left == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Says what there is to say about ranges.
    pub(super) async fn reconcile(&mut self) -> Result<(), SessionError> {
        let Some(view) = self.view.clone().filter(|_| !self.cut) else { return Ok(()) };
        let wants = std::mem::take(&mut self.compare.wants);
        self.supply(&view, wants).await?;
        let mut used = self.answer_rows(&view).await?;
        self.do_jobs(&view).await?;
        self.bury().await?;
        while used < TURN_TARGET && !self.cut {
            let batch = self.next_opened(TURN_TARGET - used);
            if batch.is_empty() {
                break;
            }
            used += self.open(&view, batch).await?;
        }
        Ok(())
    }

    /// Answers rows of the other side; gives the bytes it took.
    async fn answer_rows(&mut self, view: &View) -> Result<usize, SessionError> {
        let answers = std::mem::take(&mut self.compare.answers);
        if answers.is_empty() {
            return Ok(0);
        }
        let ours = view.children(answers.iter().map(|(node, _)| *node).collect()).await?;
        let (mut rows, mut small) = (Vec::new(), Vec::new());
        for ((node, theirs), ours) in answers.into_iter().zip(&ours) {
            let (our_total, their_total) = (total(ours), total(&theirs));
            if our_total.count <= SMALL_NODE {
                small.push(Differing { node, ours: our_total, theirs: their_total });
            } else {
                rows.push(self.compare.answer(node, ours, &theirs));
            }
        }
        Ok(self.say_rows(rows).await? + self.tell_items(view, small).await?)
    }

    /// Chooses what to open next, the deepest first, until it takes some bytes.
    fn next_opened(&mut self, room: usize) -> Vec<Differing> {
        let gate = self.compare.gate();
        self.compare.todo.sort_by_key(|differing| differing.node.level);
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while bytes < room && batch.len() < CHUNK_ENTRIES {
            let Some(next) = self.compare.todo.pop_if(|next| next.node.level >= gate) else {
                break;
            };
            bytes += if is_small(&next) { 8 + 48 * next.ours.count as usize } else { 600 };
            batch.push(next);
        }
        batch
    }

    async fn open(&mut self, view: &View, batch: Vec<Differing>) -> Result<usize, SessionError> {
        let (small, large): (Vec<_>, Vec<_>) = batch.into_iter().partition(is_small);
        let mut rows = Vec::with_capacity(large.len());
        let ours = view.children(large.iter().map(|differing| differing.node).collect()).await?;
        for (differing, ours) in large.iter().zip(ours) {
            rows.push(row_of(differing.node, &ours));
            self.compare.opened(differing, ours);
        }
        Ok(self.say_rows(rows).await? + self.tell_items(view, small).await?)
    }

    async fn say_rows(&mut self, rows: Vec<Row>) -> Result<usize, SessionError> {
        let (mut frame, mut bytes, mut all) = (Vec::new(), 0, 0);
        for row in rows {
            bytes += row.len();
            frame.push(row);
            if bytes >= FRAME_TARGET - 1024 {
                self.line.say(&Frame::Rows(std::mem::take(&mut frame))).await?;
                all += std::mem::take(&mut bytes);
            }
        }
        if !frame.is_empty() {
            self.line.say(&Frame::Rows(frame)).await?;
        }
        Ok(all + bytes)
    }

    async fn tell_items(
        &mut self,
        view: &View,
        nodes: Vec<Differing>,
    ) -> Result<usize, SessionError> {
        if nodes.is_empty() {
            return Ok(0);
        }
        let lists = view.items(nodes.iter().map(|it| it.node).collect(), usize::MAX).await?;
        let mut bytes = 0;
        for (differing, items) in nodes.iter().zip(lists) {
            bytes += 8 + 48 * items.len();
            self.say_items(differing.node, &items).await?;
            self.compare.told(differing, &items);
        }
        Ok(bytes)
    }

    async fn say_items(&mut self, node: Node, items: &[Item]) -> Result<(), SessionError> {
        let node = wire_node(node);
        let frames = items.len().div_ceil(MAX_ITEMS).max(1);
        for frame in 0..frames {
            let end = items.len().min((frame + 1) * MAX_ITEMS);
            let items = items[frame * MAX_ITEMS..end].iter().map(wire_item).collect();
            let items = frames::Items { node, more: frame + 1 < frames, items };
            self.line.say(&Frame::Items(items)).await?;
        }
        Ok(())
    }

    /// Sends and asks for what differs in nodes of which the other side has told all.
    async fn do_jobs(&mut self, view: &View) -> Result<(), SessionError> {
        let mut wants = Vec::new();
        while !self.compare.jobs.is_empty() && !self.cut {
            let jobs = self.next_jobs(view).await?;
            let nodes = jobs.iter().map(|job| job.node).collect();
            let ours = view.items(nodes, usize::MAX).await?;
            let mut lacking = Vec::new();
            for (job, ours) in jobs.iter().zip(&ours) {
                differ(ours, &job.theirs, &mut lacking, &mut wants);
            }
            self.supply(view, lacking).await?;
        }
        for item in &wants {
            self.compare.ledger.want(item.hash, item.fingerprint);
        }
        for hashes in wants.chunks(MAX_HASHES) {
            let hashes = hashes.iter().map(|item| item.hash).collect();
            self.line.say(&Frame::Want(hashes)).await?;
        }
        Ok(())
    }

    /// Some jobs whose items can be read at once; larger nodes are cut.
    async fn next_jobs(&mut self, view: &View) -> Result<Vec<Job>, SessionError> {
        let (mut jobs, mut items) = (Vec::new(), 0);
        while items < NODE_AT_ONCE && jobs.len() < CHUNK_ENTRIES {
            let Some(job) = self.compare.jobs.pop() else { break };
            if job.ours <= NODE_AT_ONCE || job.node.level == LEAF_LEVEL {
                items += job.ours;
                jobs.push(job);
            } else {
                let parts = view.children(vec![job.node]).await?;
                self.compare.jobs.extend(parts.first().into_iter().flat_map(|it| cut(&job, it)));
            }
        }
        Ok(jobs)
    }

    /// Sends entries, unless they were deleted while this side was away.
    async fn supply(
        &mut self,
        view: &View,
        mut lacking: Vec<(KeyHash, Because)>,
    ) -> Result<(), SessionError> {
        let horizon = self.horizon();
        let mut large = 0;
        while !lacking.is_empty() && !self.cut {
            let chunk: Vec<_> = lacking.drain(..lacking.len().min(CHUNK_ENTRIES)).collect();
            let found = view.find(chunk.iter().map(|(hash, _)| *hash).collect()).await?;
            let mut entries = Vec::with_capacity(found.len());
            for ((hash, because), entry) in chunk.into_iter().zip(found) {
                let Some(entry) = entry else { continue };
                let is_behind = horizon.is_some_and(|horizon| horizon.is_before(&entry));
                let is_dead = because != Because::Different && is_behind;
                if !is_dead {
                    entries.push(entry);
                    continue;
                }
                self.withheld.dead.push((hash, *entry.signed.fingerprint()));
                if because == Because::Wanted {
                    self.withheld.gone.push(hash);
                }
            }
            // Those that were signed together go together.
            entries.sort_by_key(|it| (it.signed.proof().signature, it.signed.proof().place));
            large += entries.iter().filter(|entry| is_large(entry)).count();
            self.send_entries(&entries, view).await?;
            self.cut = !self.has_room() || large > MAX_LARGE / 2;
        }
        Ok(())
    }

    async fn bury(&mut self) -> Result<(), SessionError> {
        let Withheld { dead, gone } = std::mem::take(&mut self.withheld);
        for hashes in gone.chunks(MAX_HASHES) {
            self.line.say(&Frame::Gone(hashes.to_vec())).await?;
            self.has_taught = true;
        }
        if !dead.is_empty() {
            self.replica.bury(&self.space, dead).await?;
        }
        Ok(())
    }
}

/// Whether a node is told item by item.
fn is_small(differing: &Differing) -> bool {
    differing.ours.count <= SMALL_NODE || differing.node.level == LEAF_LEVEL
}

/// Whether the value of an entry is to be asked for.
fn is_large(entry: &Outgoing) -> bool {
    entry.value.is_none() && entry.signed.entry().size as usize > MAX_INLINE_BYTES
}

/// The parts of a job.
fn cut<'a>(job: &'a Job, parts: &'a [Summary; 16]) -> impl Iterator<Item = Job> + 'a {
    let parts = (0..16_u8).zip(parts).rev();
    parts.filter_map(|(nibble, ours)| {
        let node = job.node.child(nibble)?;
        let is_in = |item: &&Item| Node::of(&item.hash, node.level) == node;
        let theirs: Vec<_> = job.theirs.iter().filter(is_in).copied().collect();
        let is_empty = ours.count == 0 && theirs.is_empty();
        (!is_empty).then_some(Job { node, ours: ours.count, theirs })
    })
}

/// What the other side lacks of ours, and what we want of theirs; both in the order of the hashes.
fn differ(
    ours: &[Item],
    theirs: &[Item],
    lacking: &mut Vec<(KeyHash, Because)>,
    wants: &mut Vec<Item>,
) {
    let (mut ours, mut theirs) = (ours.iter().peekable(), theirs.iter().peekable());
    loop {
        match (ours.peek(), theirs.peek()) {
            (None, None) => return,
            (Some(our), their) if their.is_none_or(|their| our.hash < their.hash) => {
                lacking.extend(ours.next().map(|our| (our.hash, Because::Lacking)));
            }
            (our, Some(their)) if our.is_none_or(|our| their.hash < our.hash) => {
                wants.extend(theirs.next());
            }
            (Some(our), Some(their)) => {
                if our.fingerprint != their.fingerprint {
                    lacking.push((our.hash, Because::Different));
                    wants.push(**their);
                }
                ours.next();
                theirs.next();
            }
            // The guards above hold for whichever is alone.
            (Some(_), None) | (None, Some(_)) => return,
        }
    }
}
