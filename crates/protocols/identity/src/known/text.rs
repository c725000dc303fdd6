//! What the search looks at, and how it ranks.

use icu_normalizer::ComposingNormalizerBorrowed;
use memchr::{memchr, memmem::Finder};
use peerage_api::users::{Attribute, MAX_QUERY_BYTES, Matching, UsersError};
use peerage_types::UserId;
use peerage_wire::identity::Profile;

use super::shelves::{Shelf, Span};
use crate::bounds::MAX_HAYSTACK_BYTES;

/// Behind every entry of a field; no text has it.
const SEPARATOR: u8 = 0x1f;

/// Fields of a text.
pub(crate) const FIELDS: usize = 5;

/// How well a user matches; less is better.
pub(crate) type Rank = u8;

/// Fields in the order of the text, with the ranks of an exact match, of a beginning and of a part.
/// No rank of a field is better than the best of the field before.
const RANKS: [(Attribute, [Rank; 3]); FIELDS] = [
    (Attribute::Handle, [0, 1, 4]),
    (Attribute::Name, [2, 3, 5]),
    (Attribute::Service, [6, 7, 8]),
    (Attribute::Bio, [9, 10, 11]),
    (Attribute::Id, [12, 13, 14]),
];

/// Texts of a user in their normal form: NFKC, lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Haystack {
    /// Handle, name, services, bio and id, with [`SEPARATOR`] behind every entry.
    pub(crate) text: String,
    /// Where each field ends.
    pub(crate) ends: [u16; FIELDS],
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
        let id = profile.user.to_string();
        let mut text = String::new();
        let mut add = |entries: &mut dyn Iterator<Item = &str>| {
            for entry in entries {
                let entry = normal(entry);
                // The id, which comes last, always fits.
                if text.len() + entry.len() + id.len() + 2 <= MAX_HAYSTACK_BYTES {
                    text.push_str(&entry);
                    text.push(char::from(SEPARATOR));
                }
            }
            u16::try_from(text.len()).expect("MAX_HAYSTACK_BYTES is below 64 KiB")
        };
        let handle = add(&mut profile.handle.iter().map(|handle| handle.as_str()));
        let name = add(&mut profile.display_name.iter().map(String::as_str));
        let services = add(&mut profile.services.iter().map(|service| service.as_str()));
        let bio = profile.bio.iter();
        let bio = add(&mut bio.flat_map(|(topic, about)| [topic.as_str(), about.as_str()]));
        let id = {
            text.push_str(&id);
            text.push(char::from(SEPARATOR));
            u16::try_from(text.len()).expect("MAX_HAYSTACK_BYTES is below 64 KiB")
        };
        Self { text, ends: [handle, name, services, bio, id] }
    }

    /// The handle in its normal form, if there is one.
    pub(crate) fn handle(&self) -> Option<&str> {
        self.text[..usize::from(self.ends[0])].strip_suffix(char::from(SEPARATOR))
    }
}

/// A search, ready to be compared with many.
#[derive(Debug)]
pub(crate) struct Query {
    needle: Vec<u8>,
    finder: Finder<'static>,
    matching: Matching,
    /// The first and the last field that is looked at.
    fields: (usize, usize),
}

/// Letters of an id, `user1` included, with which it is found among everything else.
const MIN_ID: usize = 9;

impl Query {
    pub(crate) fn new(
        text: &str,
        attribute: Attribute,
        matching: Matching,
    ) -> Result<Self, UsersError> {
        let bad = |reason: String| UsersError::BadField { field: "text".into(), reason };
        if text.len() > MAX_QUERY_BYTES {
            return Err(bad(format!("has {} bytes; the most is {MAX_QUERY_BYTES}", text.len())));
        }
        let needle = normal(text.trim()).into_bytes();
        match needle.is_empty() {
            true => return Err(bad("is empty".into())),
            _ if needle.contains(&SEPARATOR) => return Err(bad("has control characters".into())),
            false => {}
        }
        // By chance some id has any few letters in it, and all have the first ones.
        let is_id = needle.starts_with(b"user1") && needle.len() >= MIN_ID;
        let fields = match RANKS.iter().position(|(field, _)| *field == attribute) {
            Some(field) => (field, field),
            None if is_id => (0, FIELDS - 1),
            None => (0, FIELDS - 2),
        };
        let finder = Finder::new(&needle).into_owned();
        Ok(Self { needle, finder, matching, fields })
    }

    /// Tells of each user on a shelf that matches, and how well.
    pub(crate) fn search(&self, shelf: &Shelf, mut found: impl FnMut(Rank, UserId)) {
        let (text, mut spans) = (shelf.text(), shelf.spans());
        let (mut from, mut best) = (0, None);
        while let Some(at) = self.finder.find(&text[from..]).map(|at| from + at) {
            while let [span, rest @ ..] = spans
                && span.end() <= at
            {
                best.take().into_iter().for_each(|rank| found(rank, span.user));
                spans = rest;
            }
            let Some(span) = spans.first() else { return };
            from = self.look(text, span, at, &mut best);
        }
        if let Some((span, rank)) = spans.first().zip(best) {
            found(rank, span.user);
        }
    }

    /// What the needle at one place means; returns where it is worth to look on.
    fn look(&self, text: &[u8], span: &Span, at: usize, best: &mut Option<Rank>) -> usize {
        let (field, (first, last)) = (span.field(at), self.fields);
        let [exact, prefix, part] = RANKS[field].1;
        match field {
            _ if field < first => return span.field_start(first),
            _ if field > last || best.is_some_and(|best| best < exact) => return span.end(),
            _ => {}
        }
        let begins = at == span.start() || text[at - 1] == SEPARATOR;
        let ends = text[at + self.needle.len()] == SEPARATOR;
        let rank = match self.matching {
            _ if begins && ends => Some(exact),
            Matching::Exact => None,
            _ if begins => Some(prefix),
            Matching::Prefix => None,
            Matching::Contains => Some(part),
        };
        *best = [*best, rank].into_iter().flatten().min();
        // What follows in the same entry is no beginning.
        let rest = memchr(SEPARATOR, &text[at..]).map_or(text.len(), |end| at + end);
        rest.min(span.end())
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
