//! What the search looks at.

use icu_normalizer::ComposingNormalizerBorrowed;
use peerage_api::users::{Attribute, MAX_QUERY_BYTES, Matching, UsersError};
use peerage_types::UserId;
use peerage_wire::identity::Profile;

use crate::bounds::MAX_HAYSTACK_BYTES;

/// Between entries of a field, which have no control characters but line ends and tabs.
const SEPARATOR: char = '\u{1f}';

/// Texts of a user in their normal form: NFKC, lower case.
///
/// One string: id, handle, name, services, bio, with a separator behind every entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Haystack {
    text: Box<str>,
    /// Where handle, name, services and bio begin.
    starts: [u16; 4],
}

/// The form in which texts are compared.
pub(crate) fn normal(text: &str) -> String {
    let nfkc = ComposingNormalizerBorrowed::new_nfkc();
    let lower = nfkc.normalize(text).to_lowercase();
    match nfkc.is_normalized(&lower) {
        true => lower,
        false => nfkc.normalize(&lower).into_owned(),
    }
}

impl Haystack {
    pub(crate) fn new(profile: &Profile) -> Self {
        let mut text = String::new();
        let mut add = |entry: &str| {
            let entry = normal(entry);
            if text.len() + entry.len() < MAX_HAYSTACK_BYTES {
                text.push_str(&entry);
                text.push(SEPARATOR);
            }
            // Fits: MAX_HAYSTACK_BYTES is below 64 KiB.
            u16::try_from(text.len()).unwrap_or(u16::MAX)
        };
        let handle = add(&profile.user.to_string());
        let name = profile.handle.as_ref().map_or(handle, |handle| add(handle.as_str()));
        let services = profile.display_name.as_ref().map_or(name, |name| add(name));
        let names = profile.services.iter();
        let bio = names.fold(services, |_, service| add(service.as_str()));
        for (topic, about) in &profile.bio {
            add(topic);
            add(about);
        }
        Self { text: text.into(), starts: [handle, name, services, bio] }
    }

    pub(crate) fn len(&self) -> usize {
        self.text.len()
    }

    fn field(&self, attribute: Attribute) -> &str {
        let [handle, name, services, bio] = self.starts.map(usize::from);
        match attribute {
            Attribute::Any => &self.text,
            Attribute::Id => &self.text[..handle],
            Attribute::Handle => &self.text[handle..name],
            Attribute::Name => &self.text[name..services],
            Attribute::Service => &self.text[services..bio],
            Attribute::Bio => &self.text[bio..],
        }
    }

    /// The handle in its normal form; empty without one.
    pub(crate) fn handle(&self) -> &str {
        self.field(Attribute::Handle).trim_end_matches(SEPARATOR)
    }
}

/// A search, ready to be compared with many.
#[derive(Debug)]
pub(crate) struct Query {
    needle: String,
    finder: memchr::memmem::Finder<'static>,
    attribute: Attribute,
    matching: Matching,
    /// Whether it is the beginning of few ids.
    is_id: bool,
}

/// How well a user matches; less is better.
pub(crate) type Rank = u8;

/// Fields with the ranks of an exact match, of a beginning and of a part.
const RANKS: [(Attribute, [Rank; 3]); 5] = [
    (Attribute::Handle, [0, 1, 4]),
    (Attribute::Name, [2, 3, 5]),
    (Attribute::Service, [6, 7, 8]),
    (Attribute::Bio, [9, 10, 11]),
    (Attribute::Id, [12, 13, 14]),
];

/// Letters of an id, `user1` included, with which it is found among everything else.
const MIN_ID: usize = 9;

impl Query {
    pub(crate) fn new(
        text: &str,
        attribute: Attribute,
        matching: Matching,
    ) -> Result<Self, UsersError> {
        let bad = |reason: String| UsersError::BadField { field: "text".into(), reason };
        let needle = normal(text.trim());
        match needle.len() {
            _ if text.len() > MAX_QUERY_BYTES => {
                return Err(bad(format!(
                    "has {} bytes; the most is {MAX_QUERY_BYTES}",
                    text.len()
                )));
            }
            0 => return Err(bad("is empty".into())),
            _ if needle.contains(SEPARATOR) => return Err(bad("has control characters".into())),
            _ => {}
        }
        let finder = memchr::memmem::Finder::new(needle.as_bytes()).into_owned();
        let is_id = needle.starts_with("user1") && needle.len() >= MIN_ID;
        Ok(Self { needle, finder, attribute, matching, is_id })
    }

    /// How well it matches, if it does.
    pub(crate) fn rank(&self, hay: &Haystack) -> Option<Rank> {
        // Most users do not match at all: one look over everything.
        self.finder.find(hay.field(self.attribute).as_bytes())?;
        let asked = |field| match self.attribute {
            // By chance some id has any few letters in it, and all have the first ones.
            Attribute::Any => field != Attribute::Id || self.is_id,
            attribute => attribute == field,
        };
        let fields = RANKS.iter().filter(|(field, _)| asked(*field));
        fields.filter_map(|(field, ranks)| self.rank_in(hay.field(*field), ranks)).min()
    }

    fn rank_in(&self, field: &str, [exact, prefix, part]: &[Rank; 3]) -> Option<Rank> {
        self.finder.find(field.as_bytes())?;
        let entries = || field.split_terminator(SEPARATOR);
        match self.matching {
            _ if entries().any(|entry| entry == self.needle) => Some(*exact),
            Matching::Exact => None,
            _ if entries().any(|entry| entry.starts_with(&self.needle)) => Some(*prefix),
            Matching::Prefix => None,
            Matching::Contains => Some(*part),
        }
    }
}

/// A place in the results of a search: what comes behind it is the next page, whatever has changed.
pub(crate) type Place = (Rank, UserId);

pub(crate) fn show_place((rank, user): Place) -> String {
    format!("{rank}.{user}")
}

pub(crate) fn read_place(text: &str) -> Result<Place, UsersError> {
    let place = text
        .split_once('.')
        .and_then(|(rank, user)| Some((rank.parse().ok()?, user.parse().ok()?)));
    place.ok_or_else(no_page)
}

pub(crate) fn no_page() -> UsersError {
    let reason = "is not what a page before has given as `next`".into();
    UsersError::BadField { field: "after".into(), reason }
}
