//! Who is known: the newest of what users have signed, as much as there is room for. Pure.

mod compare;
mod evict;
mod row;
mod scan;
mod shelves;
mod tellers;
#[cfg(test)]
mod tests;
pub(crate) mod text;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::{BuildHasher as _, RandomState},
};

use peerage_api::users::{Event, User};
use peerage_types::{Handle, PeerId, UnixMillis, UserId};
use peerage_wire::identity::{Bundle, Presence, Profile, RecordError, Signed, Succession};

pub(crate) use compare::Diff;
pub use compare::Digest;
pub(crate) use scan::Top;

use crate::bounds::{MAX_KNOWN, MAX_KNOWN_BYTES, MAX_NAMED};

use row::Row;
use shelves::Shelves;
use tellers::Tellers;
use text::Haystack;

/// Who tells something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// This node, of a user who lives here.
    Own,
    /// A peer, which is counted for it.
    Peer(PeerId),
}

/// What came of a merge.
#[derive(Debug, Default, PartialEq)]
pub struct Outcome {
    /// Something was new, and is worth telling others.
    pub changed: bool,
    /// What readers of events are told.
    pub events: Vec<Event>,
    /// Users that made room.
    pub evicted: Vec<UserId>,
    /// The first reason why something was not taken, unless it was merely known or too old.
    pub error: Option<RecordError>,
}

/// How much is kept.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Users.
    pub users: usize,
    /// Their signed bytes, and what the search looks at.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { users: MAX_KNOWN, bytes: MAX_KNOWN_BYTES }
    }
}

/// Everybody who is known.
///
/// | what comes | counts if |
/// |---|---|
/// | profile | the key is valid, the date is not ahead, it commits to the recovery key that is known, and its `seq` is higher, or the same with a larger hash |
/// | succession | it is the first, and its key is the one the profile commits to |
/// | presence | the key is valid, the dates are neither ahead nor over, and its `seq` is the highest for its node |
///
/// That somebody is here is believed of nobody but this node itself: what another one still tells
/// may be from before a crash. It is believed no longer when the node seems to be gone: see
/// [`Known::doubt`].
///
/// Merging the same in any order ends the same, but for successions: the first stays.
#[derive(Debug)]
pub struct Known {
    node: PeerId,
    limits: Limits,
    rows: BTreeMap<UserId, Row>,
    bytes: usize,
    /// Users of this node.
    own: BTreeSet<UserId>,
    /// By the hash of the handle's normal form.
    handles: BTreeSet<(u64, UserId)>,
    hasher: RandomState,
    shelves: Shelves,
    tellers: Tellers,
    pins: HashMap<UserId, u32>,
    /// Who has stated something about which node.
    guests: BTreeSet<(PeerId, UserId)>,
    /// When something expires.
    deadlines: BTreeSet<(UnixMillis, UserId)>,
    digests: Vec<Option<Digest>>,
    changes: u64,
}

impl Known {
    /// Nobody; `node` is this one.
    #[must_use]
    pub fn new(node: PeerId, limits: Limits) -> Self {
        Self {
            node,
            limits,
            rows: BTreeMap::new(),
            bytes: 0,
            own: BTreeSet::new(),
            handles: BTreeSet::new(),
            hasher: RandomState::new(),
            shelves: Shelves::default(),
            tellers: Tellers::default(),
            pins: HashMap::new(),
            guests: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            digests: vec![None; peerage_wire::identity::frames::BUCKETS],
            changes: 0,
        }
    }

    /// Users that are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether nobody is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Users of this node among them.
    #[must_use]
    pub fn own_len(&self) -> usize {
        self.own.len()
    }

    /// Users of this node, by id.
    pub fn own(&self) -> impl Iterator<Item = UserId> + '_ {
        self.own.iter().copied()
    }

    /// What counts towards [`Limits::bytes`].
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes verified records, as far as they count.
    pub fn merge(&mut self, bundle: &Bundle, source: Source, now: UnixMillis) -> Outcome {
        let mut outcome = Outcome::default();
        let Some(user) = bundle.user() else { return outcome };
        self.expire(user, now, &mut outcome.events);
        if !self.rows.contains_key(&user)
            && let Err(error) = self.admit(user, bundle, source, now, &mut outcome)
        {
            outcome.note(error);
            return outcome;
        }
        let digest = self.digests[usize::from(user.0[0])];
        let Some(mut row) = self.take(user) else { return outcome };
        let before = outcome.changed;
        if let Some(profile) = bundle.profile.as_ref().filter(|_| !before) {
            let taken = take_profile(&mut row, profile, now);
            if taken.is_ok() {
                let hay = Haystack::new(profile);
                let place = self.shelves.replace(user, row.text.0, &hay);
                self.index(user, &mut row, place, &hay);
            }
            outcome.took(taken, || Event::Changed { user, seq: profile.seq });
        }
        if let Some(succession) = bundle.succession.as_ref().filter(|s| s.user == user) {
            let taken = take_succession(&mut row, succession, now);
            let successor = succession.successor;
            outcome.took(taken, || Event::Revoked { user, successor });
        }
        for presence in bundle.presences.iter().filter(|presence| presence.user == user) {
            let is_stale = presence.node == self.node && presence.is_online(now);
            if source == Source::Own || !is_stale {
                take_presence(&mut row, presence, now, &mut outcome);
            }
        }
        self.attribute(user, &mut row, source, outcome.changed);
        if outcome.changed {
            row.see(now);
            self.changes += 1;
            row.touched = self.changes;
        }
        self.put(user, row, now);
        if !outcome.changed {
            self.digests[usize::from(user.0[0])] = digest;
        }
        self.make_room(source, 0, 0, Some(user), &mut outcome.evicted);
        outcome
    }

    /// A user that was not known.
    fn admit(
        &mut self,
        user: UserId,
        bundle: &Bundle,
        source: Source,
        now: UnixMillis,
        outcome: &mut Outcome,
    ) -> Result<(), RecordError> {
        // Nothing else can be checked without a profile.
        let profile = bundle.profile.as_ref().ok_or(RecordError::Stale)?;
        profile.check_time(now)?;
        let (mut row, hay) = (Row::new(profile), Haystack::new(profile));
        row.text.1 = hay.text.len();
        if !self.make_room(source, 1, row.bytes(), None, &mut outcome.evicted) {
            return Err(RecordError::Stale);
        }
        let place = self.shelves.add(user, &hay);
        self.index(user, &mut row, place, &hay);
        row.teller = self.teller(source);
        if row.teller.is_none() {
            self.own.insert(user);
        }
        self.changes += 1;
        row.touched = self.changes;
        self.put(user, row, now);
        outcome.took(Ok(()), || Event::Changed { user, seq: profile.seq });
        Ok(())
    }

    /// Drops what has expired by now. Returns the users it was about, and what readers of events
    /// are told.
    pub fn sweep(&mut self, now: UnixMillis) -> (Vec<UserId>, Vec<Event>) {
        let (mut users, mut events) = (Vec::new(), Vec::new());
        while let Some((_, user)) = self.deadlines.first().copied().filter(|(due, _)| *due <= now) {
            self.expire(user, now, &mut events);
            users.push(user);
        }
        (users, events)
    }

    /// When [`Known::sweep`] has something to do.
    #[must_use]
    pub fn deadline(&self) -> Option<UnixMillis> {
        self.deadlines.first().map(|(due, _)| *due)
    }

    fn expire(&mut self, user: UserId, now: UnixMillis, events: &mut Vec<Event>) {
        let due = self.rows.get(&user).and_then(|row| row.due).filter(|due| *due <= now);
        let Some((due, mut row)) = due.and_then(|due| Some((due, self.take(user)?))) else {
            return;
        };
        let before = UnixMillis(due.0.saturating_sub(1));
        let ended = row.presences().iter().filter(|p| p.is_online(before) && !p.is_online(now));
        events.extend(ended.map(|stated| Event::Offline { user, node: stated.signed.node }));
        row.see(now);
        row.sweep(now);
        self.put(user, row, now);
    }

    /// A node that was there at `seen` seems to be gone: that users are there is believed until
    /// `until` at most, unless they state it anew. Returns what readers of events are told.
    pub fn doubt(&mut self, node: PeerId, seen: UnixMillis, until: UnixMillis) -> Vec<Event> {
        let mut events = Vec::new();
        let all = (node, UserId([0; 32]))..=(node, UserId([0xff; 32]));
        let guests: Vec<_> = self.guests.range(all).map(|(_, user)| *user).collect();
        for user in guests {
            let Some(mut row) = self.take(user) else { continue };
            let before = row.is_online_at(&node, seen);
            row.doubt(&node, until, seen);
            if before && !row.is_online_at(&node, seen) {
                events.push(Event::Offline { user, node });
            }
            self.put(user, row, seen);
        }
        events
    }

    /// What is known of a user, as it is shown.
    #[must_use]
    pub fn shown(&self, user: &UserId, now: UnixMillis) -> Option<User> {
        self.rows.get(user).map(|row| row.shown(now))
    }

    /// Everything that a user has signed and that counts, as it travels.
    #[must_use]
    pub fn bundle(&self, user: &UserId) -> Option<Bundle> {
        self.rows.get(user).map(Row::bundle)
    }

    /// The same with what else is to be stored: who told it, unless it is a user of this node, and
    /// when it was last seen.
    ///
    /// Who is here is seen now: should this process be killed, the next one knows no later time.
    pub(crate) fn stored(
        &self,
        user: &UserId,
        now: UnixMillis,
    ) -> Option<(Bundle, Option<PeerId>, UnixMillis)> {
        let row = self.rows.get(user)?;
        let teller = row.teller.map(|teller| self.tellers.peer(teller));
        let here = Some(now).filter(|now| row.is_online_at(&self.node, *now));
        Some((row.bundle(), teller, row.last_seen.max(here).unwrap_or_default()))
    }

    /// Users of this node who are here.
    pub(crate) fn here(&self, now: UnixMillis) -> Vec<UserId> {
        let is_here = |user: &UserId| {
            self.rows.get(user).is_some_and(|row| row.is_online_at(&self.node, now))
        };
        self.own().filter(is_here).collect()
    }

    /// What a former run knew of when a user was last online.
    pub(crate) fn set_last_seen(&mut self, user: &UserId, at: UnixMillis) {
        if let Some(row) = self.rows.get_mut(user) {
            row.last_seen = row.last_seen.max(Some(at).filter(|at| at.0 > 0));
        }
    }

    /// The newest valid profile of a user.
    #[must_use]
    pub fn profile(&self, user: &UserId) -> Option<Signed<Profile>> {
        self.rows.get(user).map(Row::profile)
    }

    /// What became of a user's key: `None` while it is valid, `Some(None)` when it was revoked,
    /// `Some(Some(successor))` when it moved.
    #[must_use]
    pub fn fate(&self, user: &UserId) -> Option<Option<UserId>> {
        let succession = self.rows.get(user)?.succession()?;
        Some(succession.successor)
    }

    /// Whether some node says that the user is logged in there.
    #[must_use]
    pub fn is_online(&self, user: &UserId, now: UnixMillis) -> bool {
        self.rows.get(user).is_some_and(|row| row.is_online(now))
    }

    /// Users whose handle looks the same, up to [`MAX_NAMED`].
    #[must_use]
    pub fn named(&self, handle: &Handle) -> Vec<UserId> {
        let normal = text::normal(handle.as_str());
        let hash = self.hasher.hash_one(&*normal);
        let range = (hash, UserId([0; 32]))..=(hash, UserId([0xff; 32]));
        let users = self.handles.range(range).map(|(_, user)| *user);
        let called = |user: &UserId| self.profile(user)?.handle.clone();
        let same = |user: &UserId| called(user).is_some_and(|h| text::normal(h.as_str()) == normal);
        users.filter(same).take(MAX_NAMED).collect()
    }

    /// Takes a row out of everything that is derived from it.
    fn take(&mut self, user: UserId) -> Option<Row> {
        let row = self.rows.remove(&user)?;
        self.bytes -= row.bytes();
        if let Some(due) = row.due {
            self.deadlines.remove(&(due, user));
        }
        if let Some(teller) = row.teller {
            self.tellers.withdraw(teller, user, row.touched, row.bytes());
        }
        row.nodes().for_each(|node| _ = self.guests.remove(&(node, user)));
        self.digests[usize::from(user.0[0])] = None;
        Some(row)
    }

    /// Puts a row back.
    fn put(&mut self, user: UserId, mut row: Row, now: UnixMillis) {
        row.due = row.next_due(now);
        self.bytes += row.bytes();
        if let Some(due) = row.due {
            self.deadlines.insert((due, user));
        }
        if let Some(teller) = row.teller.filter(|_| !self.pins.contains_key(&user)) {
            self.tellers.offer(teller, user, row.touched, row.bytes());
        }
        self.guests.extend(row.nodes().map(|node| (node, user)));
        self.digests[usize::from(user.0[0])] = None;
        self.rows.insert(user, row);
    }

    /// Notes where the text of a row is, which is taken out, and finds it by its handle.
    fn index(&mut self, user: UserId, row: &mut Row, place: shelves::Place, hay: &Haystack) {
        row.handle.into_iter().for_each(|old| _ = self.handles.remove(&(old, user)));
        row.handle = hay.handle().map(|handle| self.hasher.hash_one(handle));
        row.handle.into_iter().for_each(|new| _ = self.handles.insert((new, user)));
        row.text = (place, hay.text.len());
    }
}

fn take_profile(
    row: &mut Row,
    profile: &Signed<Profile>,
    now: UnixMillis,
) -> Result<(), RecordError> {
    match () {
        () if profile.recovery != *row.recovery() => return Err(RecordError::Recovery),
        () if !row.is_older_than(profile) => return Err(RecordError::Stale),
        () if row.is_revoked() => return Err(RecordError::Revoked),
        () => profile.check_time(now)?,
    }
    row.set_profile(profile);
    Ok(())
}

fn take_succession(
    row: &mut Row,
    succession: &Signed<Succession>,
    now: UnixMillis,
) -> Result<(), RecordError> {
    succession.check_commitment(row.recovery())?;
    succession.check_time(now)?;
    if row.is_revoked() {
        return Err(RecordError::Stale);
    }
    row.set_succession(succession, now);
    Ok(())
}

fn take_presence(
    row: &mut Row,
    presence: &Signed<Presence>,
    now: UnixMillis,
    outcome: &mut Outcome,
) {
    let (user, node) = (presence.user, presence.node);
    let checked = match presence.check_time(now) {
        Ok(()) if row.is_revoked() => Err(RecordError::Revoked),
        Ok(()) if row.presence(&node).is_some_and(|old| old.seq >= presence.seq) => {
            Err(RecordError::Stale)
        }
        checked => checked,
    };
    if let Err(error) = checked {
        return outcome.note(error);
    }
    let before = row.is_online_at(&node, now);
    let gone = row.set_presence(presence);
    if gone.iter().any(|gone| gone.signed == *presence) {
        return outcome.note(RecordError::Stale);
    }
    outcome.changed = true;
    match (before, row.is_online_at(&node, now)) {
        (false, true) => outcome.events.push(Event::Online { user, node }),
        (true, false) => outcome.events.push(Event::Offline { user, node }),
        _ => {}
    }
    let gone = gone.iter().filter(|gone| gone.is_online(now));
    outcome.events.extend(gone.map(|gone| Event::Offline { user, node: gone.signed.node }));
}

impl Outcome {
    fn took(&mut self, taken: Result<(), RecordError>, event: impl FnOnce() -> Event) {
        match taken {
            Ok(()) => {
                self.changed = true;
                self.events.push(event());
            }
            Err(error) => self.note(error),
        }
    }

    fn note(&mut self, error: RecordError) {
        if !matches!(error, RecordError::Stale | RecordError::Expired) {
            self.error.get_or_insert(error);
        }
    }
}
