//! What is kept of a contact, sealed.
//!
//! ```text
//! key      master.derive("peerage 2026 contacts")
//! place    sixteen zeroes
//! name     key.name(contact's id)
//! row      sealed with key, bound to all 49 bytes of where it is: 0x01, CBOR map of `Row`
//! ```

use std::collections::BTreeSet;

use peerage_api::{
    contacts::{
        ContactChange, ContactsError, MAX_NOTES_BYTES, MAX_SHORT_BYTES, MAX_TAG_BYTES, MAX_TAGS,
        MAX_TRUST,
    },
    users::Update,
};
use peerage_store::{AccountChange, AccountId, SealKey, SealedKey, SealedKind};
use peerage_types::{Handle, UnixMillis, UserId};
use peerage_wire::identity::Profile;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

const VERSION: u8 = 1;
/// All contacts of an account are read together.
pub(crate) const PLACE: [u8; 16] = [0; 16];

/// An entry of the book. At most 8 KiB of notes, 32 tags of 64 bytes and three short texts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) contact: UserId,
    #[serde(default)]
    pub(crate) nick: Option<String>,
    #[serde(default)]
    pub(crate) trust: i8,
    #[serde(default)]
    pub(crate) met: bool,
    #[serde(default)]
    pub(crate) location: Option<String>,
    #[serde(default)]
    pub(crate) notes: Option<String>,
    #[serde(default)]
    pub(crate) tags: BTreeSet<String>,
    #[serde(default)]
    pub(crate) verified: bool,
    #[serde(default)]
    pub(crate) blocked: bool,
    pub(crate) added: UnixMillis,
    pub(crate) updated: UnixMillis,
    #[serde(default)]
    pub(crate) moved_from: Option<UserId>,
    /// Its keys before that one: whoever is blocked is so by all of them.
    #[serde(default)]
    pub(crate) earlier: Vec<UserId>,
    #[serde(default)]
    pub(crate) seen: Seen,
}

/// Keys of a contact that are remembered beside the last two: 32 bytes each. Older ones were
/// revoked long ago, and show themselves at worst as such.
pub(crate) const MAX_EARLIER: usize = 32;

/// What a contact called itself when its profile was last seen: for when nobody remembers it. Only
/// ever taken from a verified profile; the whole of one would be up to 14 KiB for each contact.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub(crate) handle: Option<Handle>,
    pub(crate) display_name: Option<String>,
}

impl From<&Profile> for Seen {
    fn from(profile: &Profile) -> Self {
        Self { handle: profile.handle.clone(), display_name: profile.display_name.clone() }
    }
}

impl Row {
    pub(crate) fn new(contact: UserId, now: UnixMillis) -> Self {
        Self {
            contact,
            nick: None,
            trust: 0,
            met: false,
            location: None,
            notes: None,
            tags: BTreeSet::new(),
            verified: false,
            blocked: false,
            added: now,
            updated: now,
            moved_from: None,
            earlier: Vec::new(),
            seen: Seen::default(),
        }
    }

    /// The row with a change.
    ///
    /// # Errors
    /// [`ContactsError::BadField`], [`ContactsError::TooMany`].
    pub(crate) fn changed(mut self, change: ContactChange) -> Result<Self, ContactsError> {
        check(&change)?;
        change.nick.apply(&mut self.nick);
        change.location.apply(&mut self.location);
        change.notes.apply(&mut self.notes);
        apply_or_default(change.trust, &mut self.trust);
        apply_or_default(change.met, &mut self.met);
        self.tags.retain(|tag| !change.tags_remove.contains(tag));
        self.tags.extend(change.tags_add);
        match self.tags.len() {
            0..=MAX_TAGS => Ok(self),
            _ => Err(ContactsError::TooMany { what: "tags".into(), max: MAX_TAGS as u64 }),
        }
    }

    /// The row of the key that took the place of this one's.
    pub(crate) fn moved(self, to: UserId, now: UnixMillis) -> Self {
        let past = std::iter::once(self.contact).chain(self.past()).collect();
        Self { contact: to, verified: false, updated: now, ..self }.with_past(past)
    }

    /// The row with other keys in its past, the last one first.
    pub(crate) fn with_past(self, past: Vec<UserId>) -> Self {
        let mut past = past.into_iter().filter(|key| *key != self.contact);
        let moved_from = past.next();
        let mut earlier: Vec<_> = past.filter(|key| Some(*key) != moved_from).collect();
        earlier.truncate(MAX_EARLIER);
        Self { moved_from, earlier, ..self }
    }

    /// Keys that it had before, the last one first.
    pub(crate) fn past(&self) -> impl Iterator<Item = UserId> + '_ {
        self.moved_from.into_iter().chain(self.earlier.iter().copied())
    }
}

fn apply_or_default<T: Default>(update: Update<T>, field: &mut T) {
    match update {
        Update::Ignore => {}
        Update::Set(value) => *field = value,
        Update::Unset => *field = T::default(),
    }
}

fn check(change: &ContactChange) -> Result<(), ContactsError> {
    if let Update::Set(trust) = change.trust
        && !(-MAX_TRUST..=MAX_TRUST).contains(&trust)
    {
        return Err(bad("trust", format!("is not within -{MAX_TRUST} to {MAX_TRUST}")));
    }
    check_text("nick", &change.nick, MAX_SHORT_BYTES, char::is_control)?;
    check_text("location", &change.location, MAX_SHORT_BYTES, char::is_control)?;
    let lines = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    check_text("notes", &change.notes, MAX_NOTES_BYTES, lines)?;
    change.tags_add.iter().try_for_each(|tag| match tag.len() {
        0 => Err(bad("tag", "is empty")),
        _ if tag.len() > MAX_TAG_BYTES => Err(too_long("tag", MAX_TAG_BYTES)),
        _ if tag.contains(char::is_control) => Err(bad("tag", "has control characters")),
        _ => Ok(()),
    })
}

fn check_text(
    field: &str,
    update: &Update<String>,
    max: usize,
    is_bad: impl Fn(char) -> bool,
) -> Result<(), ContactsError> {
    match update {
        Update::Ignore | Update::Unset => Ok(()),
        Update::Set(text) if text.is_empty() => Err(bad(field, "is empty; unset it instead")),
        Update::Set(text) if text.len() > max => Err(too_long(field, max)),
        Update::Set(text) if text.contains(is_bad) => Err(bad(field, "has control characters")),
        Update::Set(_) => Ok(()),
    }
}

fn too_long(field: &str, max: usize) -> ContactsError {
    bad(field, format!("is longer than {max} bytes"))
}

pub(crate) fn bad(field: &str, reason: impl Into<String>) -> ContactsError {
    ContactsError::BadField { field: field.into(), reason: reason.into() }
}

/// Where the rows of a book are, and the key that opens them.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) account: AccountId,
    key: SealKey,
}

impl Keys {
    pub(crate) fn new(account: AccountId, master: &SealKey) -> Self {
        Self { account, key: master.derive("peerage 2026 contacts") }
    }

    pub(crate) fn at(&self, contact: &UserId) -> SealedKey {
        let name = self.key.name(contact.as_bytes());
        SealedKey { account: self.account, kind: SealedKind::Contact, place: PLACE, name }
    }

    /// Nothing if it does not open.
    pub(crate) fn open(&self, at: &SealedKey, sealed: &[u8]) -> Option<Row> {
        let plain = self.key.open(&at.to_bytes(), sealed).ok()?;
        match plain.split_first() {
            Some((&VERSION, row)) => cbor4ii::serde::from_slice(row).ok(),
            _ => None,
        }
    }

    pub(crate) fn seal(&self, contact: &UserId, row: Option<&Row>) -> AccountChange {
        let at = self.at(contact);
        AccountChange::Sealed(at, row.map(|row| self.key.seal(&at.to_bytes(), &encode(row)).into()))
    }
}

fn encode(row: &Row) -> Zeroizing<Vec<u8>> {
    let texts = [&row.nick, &row.location, &row.notes, &row.seen.display_name];
    let texts = texts.into_iter().flatten().chain(&row.tags).map(|text| text.len() + 8);
    // Room for all of it: growing would leave pieces of it in freed memory.
    let mut plain = Vec::with_capacity(texts.sum::<usize>() + 512);
    plain.push(VERSION);
    let plain = cbor4ii::serde::to_vec(plain, row).expect("text and numbers have a CBOR form");
    Zeroizing::new(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_000);
    const ALICE: UserId = UserId([1; 32]);

    fn row() -> Row {
        Row::new(ALICE, NOW)
    }

    fn tags(count: usize) -> BTreeSet<String> {
        (0..count).map(|at| format!("tag {at}")).collect()
    }

    #[test]
    fn trust_is_kept_as_it_was_given() {
        for trust in [-100, -1, 0, 1, 100] {
            let change = ContactChange { trust: Update::Set(trust), ..ContactChange::default() };
            assert_eq!(row().changed(change).unwrap().trust, trust);
        }
        for trust in [-128, -101, 101, 127] {
            let change = ContactChange { trust: Update::Set(trust), ..ContactChange::default() };
            let refused = row().changed(change).unwrap_err();
            assert!(matches!(refused, ContactsError::BadField { field, .. } if field == "trust"));
        }
        let unset = ContactChange { trust: Update::Unset, ..ContactChange::default() };
        assert_eq!(Row { trust: 50, ..row() }.changed(unset).unwrap().trust, 0);
    }

    #[test]
    fn fields_change_one_by_one() {
        let change = ContactChange {
            nick: Update::Set("Ally".into()),
            met: Update::Set(true),
            tags_add: tags(2),
            ..ContactChange::default()
        };
        let changed = row().changed(change).unwrap();
        let again = ContactChange {
            notes: Update::Set("two\nlines".into()),
            tags_remove: tags(1),
            tags_add: ["new".to_owned()].into(),
            ..ContactChange::default()
        };
        let changed = changed.changed(again).unwrap();
        assert_eq!((changed.nick.as_deref(), changed.met), (Some("Ally"), true));
        assert_eq!(changed.tags, ["new".to_owned(), "tag 1".to_owned()].into());
        assert_eq!(changed.clone().changed(ContactChange::default()).unwrap(), changed);
    }

    #[test]
    fn texts_and_tags_are_bounded() {
        let refused = |change: ContactChange| match row().changed(change).unwrap_err() {
            ContactsError::BadField { field, .. } => field,
            ContactsError::TooMany { what, .. } => what,
            other => panic!("{other}"),
        };
        let set = |len: usize| Update::Set("x".repeat(len));
        let none = ContactChange::default;
        assert_eq!(refused(ContactChange { nick: set(257), ..none() }), "nick");
        assert_eq!(refused(ContactChange { nick: set(0), ..none() }), "nick");
        assert_eq!(refused(ContactChange { location: set(257), ..none() }), "location");
        assert_eq!(refused(ContactChange { notes: set(8193), ..none() }), "notes");
        let escape = Update::Set("\x1b[2J".to_owned());
        assert_eq!(refused(ContactChange { notes: escape.clone(), ..none() }), "notes");
        assert_eq!(refused(ContactChange { nick: escape, ..none() }), "nick");
        assert_eq!(refused(ContactChange { tags_add: tags(33), ..none() }), "tags");
        assert_eq!(refused(ContactChange { tags_add: ["x".repeat(65)].into(), ..none() }), "tag");
        assert_eq!(refused(ContactChange { tags_add: [String::new()].into(), ..none() }), "tag");
        let most = ContactChange { nick: set(256), notes: set(8192), tags_add: tags(32), ..none() };
        let full = row().changed(most).unwrap();
        let swap = ContactChange {
            tags_add: ["new".to_owned()].into(),
            tags_remove: ["tag 0".to_owned()].into(),
            ..none()
        };
        assert!(full.changed(swap).is_ok());
    }

    #[test]
    fn a_row_opens_only_where_it_was_sealed() {
        let keys = Keys::new(AccountId([1; 16]), &SealKey::random());
        let row = Row { nick: Some("Ally".into()), trust: -7, ..row() };
        let AccountChange::Sealed(at, Some(sealed)) = keys.seal(&ALICE, Some(&row)) else {
            panic!("not sealed");
        };
        assert_eq!(keys.open(&at, &sealed), Some(row));
        assert_eq!(keys.open(&keys.at(&UserId([2; 32])), &sealed), None);
        assert_eq!(Keys::new(AccountId([1; 16]), &SealKey::random()).open(&at, &sealed), None);
    }
}
