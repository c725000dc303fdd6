//! What is kept of one user.

use peerage_api::users::User;
use peerage_types::{ContentHash, PeerId, UnixMillis, UserId};
use peerage_wire::identity::{
    Bundle, Kept, MAX_NODES, MAX_PRESENCE, Presence, Profile, RecordError, Signed, Succession,
    frames::Entry,
};

use super::{shelves::Place, tellers::Teller};

/// What is kept of one user: signed bytes and little else.
#[derive(Debug)]
pub(crate) struct Row {
    profile: Kept<Profile>,
    hash: [u8; 32],
    seq: u64,
    recovery: ContentHash,
    succession: Option<Box<Kept<Succession>>>,
    /// Newest first.
    presences: Vec<Stated>,
    /// Where the text is that is searched, and its length.
    pub(crate) text: (Place, usize),
    /// A hash of the handle's normal form.
    pub(crate) handle: Option<u64>,
    pub(crate) last_seen: Option<UnixMillis>,
    /// Who told it; `None` of users of this node.
    pub(crate) teller: Option<Teller>,
    /// Rises with each change of any user.
    pub(crate) touched: u64,
    /// When something of it expires.
    pub(crate) due: Option<UnixMillis>,
}

/// What a user has signed about a node, and how long that is believed.
#[derive(Debug, Clone)]
pub(crate) struct Stated {
    pub(crate) signed: Signed<Presence>,
    /// Sooner than it expires when the node seems to be gone.
    until: UnixMillis,
}

impl Stated {
    pub(crate) fn is_online(&self, now: UnixMillis) -> bool {
        self.signed.is_online(now) && self.until > now
    }
}

impl Row {
    pub(crate) fn new(profile: &Signed<Profile>) -> Self {
        Self {
            profile: profile.keep(),
            hash: hash(profile),
            seq: profile.seq,
            recovery: profile.recovery,
            succession: None,
            presences: Vec::new(),
            text: (0, 0),
            handle: None,
            last_seen: None,
            teller: None,
            touched: 0,
            due: None,
        }
    }

    /// A later `seq` counts; of two with the same, all nodes choose the same.
    pub(crate) fn is_older_than(&self, profile: &Signed<Profile>) -> bool {
        let newer = self.seq < profile.seq;
        newer || self.seq == profile.seq && self.hash < hash(profile)
    }

    pub(crate) fn set_profile(&mut self, profile: &Signed<Profile>) {
        self.profile = profile.keep();
        (self.hash, self.seq) = (hash(profile), profile.seq);
    }

    pub(crate) fn profile(&self) -> Signed<Profile> {
        self.profile.open()
    }

    pub(crate) fn recovery(&self) -> &ContentHash {
        &self.recovery
    }

    pub(crate) fn is_revoked(&self) -> bool {
        self.succession.is_some()
    }

    pub(crate) fn succession(&self) -> Option<Signed<Succession>> {
        self.succession.as_ref().map(|succession| succession.open())
    }

    /// Final: where the user is no longer matters, but that it was there until `now`.
    pub(crate) fn set_succession(&mut self, succession: &Signed<Succession>, now: UnixMillis) {
        self.see(now);
        if self.is_online(now) {
            self.last_seen = self.last_seen.max(Some(now));
        }
        self.succession = Some(Box::new(succession.keep()));
        self.presences.clear();
    }

    pub(crate) fn presence(&self, node: &PeerId) -> Option<&Signed<Presence>> {
        self.stated(node).map(|stated| &stated.signed)
    }

    fn stated(&self, node: &PeerId) -> Option<&Stated> {
        self.presences.iter().find(|stated| stated.signed.node == *node)
    }

    /// Takes a newer statement about its node. Returns the nodes that made room; its own is among
    /// them when it is older than all that are kept.
    pub(crate) fn set_presence(&mut self, presence: &Signed<Presence>) -> Vec<Stated> {
        self.presences.retain(|old| old.signed.node != presence.node);
        self.presences.push(Stated { signed: presence.clone(), until: presence.expires });
        self.presences.sort_by_key(|p| (std::cmp::Reverse(p.signed.issued), p.signed.node));
        self.presences.split_off(self.presences.len().min(MAX_NODES))
    }

    /// Believes what is stated about a node no longer than this, unless it is stated anew; at
    /// `seen` the node was there.
    pub(crate) fn doubt(&mut self, node: &PeerId, until: UnixMillis, seen: UnixMillis) {
        for stated in self.presences.iter_mut().filter(|stated| stated.signed.node == *node) {
            if stated.is_online(seen) {
                self.last_seen = self.last_seen.max(Some(seen));
            }
            stated.until = stated.until.min(until);
        }
    }

    /// Drops statements that could no longer take back an older one.
    pub(crate) fn sweep(&mut self, now: UnixMillis) -> bool {
        let before = self.presences.len();
        let expired = |stated: &Stated| stated.signed.check_time(now) == Err(RecordError::Expired);
        self.presences.retain(|stated| !expired(stated));
        self.presences.len() < before
    }

    /// When it is no longer online somewhere, or a statement need no longer be kept.
    pub(crate) fn next_due(&self, now: UnixMillis) -> Option<UnixMillis> {
        let due = self.presences.iter().map(|stated| match stated.is_online(now) {
            true => stated.until,
            false => stated.signed.expires.max(stated.signed.issued.plus(MAX_PRESENCE)),
        });
        due.min()
    }

    pub(crate) fn presences(&self) -> &[Stated] {
        &self.presences
    }

    /// Nodes about which something is stated.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = PeerId> + '_ {
        self.presences.iter().map(|stated| stated.signed.node)
    }

    pub(crate) fn is_online(&self, now: UnixMillis) -> bool {
        self.presences.iter().any(|stated| stated.is_online(now))
    }

    pub(crate) fn is_online_at(&self, node: &PeerId, now: UnixMillis) -> bool {
        self.stated(node).is_some_and(|stated| stated.is_online(now))
    }

    /// Notes when the user was last there: it was when it signed something about it.
    pub(crate) fn see(&mut self, now: UnixMillis) {
        let seen = self.presences.iter().map(|stated| stated.signed.issued.min(now));
        self.last_seen = seen.chain(self.last_seen).max();
    }

    /// Everything, as it travels.
    pub(crate) fn bundle(&self) -> Bundle {
        Bundle {
            profile: Some(self.profile.open()),
            succession: self.succession(),
            presences: self.presences.iter().map(|stated| stated.signed.clone()).collect(),
        }
    }

    /// What counts towards the limit of bytes.
    pub(crate) fn bytes(&self) -> usize {
        let presences: usize = self.presences.iter().map(|p| p.signed.bytes().len()).sum();
        let succession = self.succession.as_ref().map_or(0, |s| s.bytes().len());
        self.profile.bytes().len() + succession + presences + self.text.1
    }

    pub(crate) fn entry(&self, user: UserId) -> Entry {
        let Some(seq) = (!self.is_revoked()).then_some(self.seq) else {
            // Nothing else about a key that is no longer valid is worth a word.
            return Entry { user, seq: u64::MAX, profile: [0; 4], rest: [0; 8] };
        };
        let [a, b, c, d, ..] = self.hash;
        Entry { user, seq, profile: [a, b, c, d], rest: self.rest() }
    }

    fn rest(&self) -> [u8; 8] {
        if self.presences.is_empty() {
            return [0; 8];
        }
        let mut sum = blake3::Hasher::new();
        for Stated { signed: presence, .. } in &self.presences {
            sum.update(&presence.node.to_bytes()).update(&presence.seq.to_be_bytes());
        }
        let mut rest = [0; 8];
        rest.copy_from_slice(&sum.finalize().as_bytes()[..8]);
        rest
    }

    pub(crate) fn shown(&self, now: UnixMillis) -> User {
        let profile = self.profile.open().record().clone();
        let online = self.presences.iter().filter(|stated| stated.is_online(now));
        let nodes: Vec<_> = online.map(|stated| stated.signed.node).collect();
        User {
            user: profile.user,
            handle: profile.handle,
            display_name: profile.display_name,
            bio: profile.bio,
            avatar: profile.avatar,
            services: profile.services,
            mailboxes: profile.mailboxes,
            seq: profile.seq,
            updated_ms: profile.updated,
            // A key that has moved lives nowhere; one that was revoked still does.
            local: self.teller.is_none()
                && self.succession().is_none_or(|succession| succession.successor.is_none()),
            online: !nodes.is_empty(),
            last_seen_ms: self.last_seen,
            nodes,
            revoked: self.is_revoked(),
            successor: self.succession().and_then(|succession| succession.successor),
        }
    }
}

fn hash(profile: &Signed<Profile>) -> [u8; 32] {
    *blake3::hash(profile.bytes()).as_bytes()
}
