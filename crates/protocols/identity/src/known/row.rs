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
    presences: Vec<Signed<Presence>>,
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

    /// Final: where the user is no longer matters.
    pub(crate) fn set_succession(&mut self, succession: &Signed<Succession>) {
        self.succession = Some(Box::new(succession.keep()));
        self.presences.clear();
    }

    pub(crate) fn presence(&self, node: &PeerId) -> Option<&Signed<Presence>> {
        self.presences.iter().find(|presence| presence.node == *node)
    }

    /// Takes a newer statement about its node. Returns the nodes that made room; its own is among
    /// them when it is older than all that are kept.
    pub(crate) fn set_presence(&mut self, presence: &Signed<Presence>) -> Vec<Signed<Presence>> {
        self.presences.retain(|old| old.node != presence.node);
        self.presences.push(presence.clone());
        self.presences.sort_by_key(|p| (std::cmp::Reverse(p.issued), p.node));
        self.presences.split_off(self.presences.len().min(MAX_NODES))
    }

    /// Drops statements that could no longer take back an older one.
    pub(crate) fn sweep(&mut self, now: UnixMillis) -> bool {
        let before = self.presences.len();
        self.presences.retain(|presence| presence.check_time(now) != Err(RecordError::Expired));
        self.presences.len() < before
    }

    /// When it is no longer online somewhere, or a statement need no longer be kept.
    pub(crate) fn next_due(&self, now: UnixMillis) -> Option<UnixMillis> {
        let due = self.presences.iter().map(|presence| match presence.is_online(now) {
            true => presence.expires,
            false => presence.issued.plus(MAX_PRESENCE),
        });
        due.min()
    }

    pub(crate) fn presences(&self) -> &[Signed<Presence>] {
        &self.presences
    }

    pub(crate) fn is_online(&self, now: UnixMillis) -> bool {
        self.presences.iter().any(|presence| presence.is_online(now))
    }

    /// Notes when the user was online, as far as the statements tell.
    pub(crate) fn see(&mut self, now: UnixMillis) {
        let seen = self.presences.iter().map(|p| match p.expires > p.issued {
            true => p.expires.min(now),
            false => p.issued.min(now),
        });
        self.last_seen = seen.chain(self.last_seen).max();
    }

    /// Everything, as it travels.
    pub(crate) fn bundle(&self) -> Bundle {
        Bundle {
            profile: Some(self.profile.open()),
            succession: self.succession(),
            presences: self.presences.clone(),
        }
    }

    /// What counts towards the limit of bytes.
    pub(crate) fn bytes(&self) -> usize {
        let presences: usize = self.presences.iter().map(|presence| presence.bytes().len()).sum();
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
        for presence in &self.presences {
            sum.update(&presence.node.to_bytes()).update(&presence.seq.to_be_bytes());
        }
        let mut rest = [0; 8];
        rest.copy_from_slice(&sum.finalize().as_bytes()[..8]);
        rest
    }

    pub(crate) fn shown(&self, now: UnixMillis) -> User {
        let profile = self.profile.open().record().clone();
        let online = |presence: &&Signed<Presence>| presence.is_online(now);
        let nodes: Vec<_> = self.presences.iter().filter(online).map(|p| p.node).collect();
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
            local: self.teller.is_none() && self.succession.is_none(),
            online: !nodes.is_empty(),
            last_seen_ms: if nodes.is_empty() { self.last_seen } else { Some(now) },
            nodes,
            revoked: self.is_revoked(),
            successor: self.succession().and_then(|succession| succession.successor),
        }
    }
}

fn hash(profile: &Signed<Profile>) -> [u8; 32] {
    *blake3::hash(profile.bytes()).as_bytes()
}
