//! Which contacts a query means.

use icu_normalizer::ComposingNormalizerBorrowed;
use peerage_api::contacts::{ContactQuery, ContactsError};
use peerage_api::users::MAX_QUERY_BYTES;

use super::row::{Row, bad};

/// A query with its texts folded.
#[derive(Debug)]
pub(crate) struct Query {
    query: ContactQuery,
    text: String,
    location: String,
}

impl Query {
    /// # Errors
    /// [`ContactsError::BadField`] for an overlong text.
    pub(crate) fn new(query: ContactQuery) -> Result<Self, ContactsError> {
        let text = checked("text", query.text.as_deref())?;
        let location = checked("location", query.location.as_deref())?;
        Ok(Self { query, text, location })
    }

    /// Whether every part holds; `text` is [`searchable`] of the row, `is_verified` what counts of
    /// its verification.
    pub(crate) fn matches(&self, row: &Row, text: &str, is_verified: bool) -> bool {
        let query = &self.query;
        let own = || row.location.as_deref().map(fold).unwrap_or_default();
        query.trust_min.is_none_or(|min| row.trust >= min)
            && query.trust_max.is_none_or(|max| row.trust <= max)
            && query.met.is_none_or(|met| row.met == met)
            && query.verified.is_none_or(|verified| is_verified == verified)
            && query.blocked.is_none_or(|blocked| row.blocked == blocked)
            && query.tags_all.is_subset(&row.tags)
            && (query.tags_any.is_empty() || !query.tags_any.is_disjoint(&row.tags))
            && query.tags_none.is_disjoint(&row.tags)
            && (self.location.is_empty() || own().contains(&self.location))
            && text.contains(&self.text)
    }
}

fn checked(field: &str, text: Option<&str>) -> Result<String, ContactsError> {
    let text = text.unwrap_or_default();
    match text.len() {
        _ if text.contains('\0') => Err(bad(field, "has control characters")),
        0..=MAX_QUERY_BYTES => Ok(fold(text)),
        _ => Err(bad(field, format!("is longer than {MAX_QUERY_BYTES} bytes"))),
    }
}

/// All text of a row in which one can search, folded.
pub(crate) fn searchable(row: &Row) -> String {
    let handle = row.seen.handle.as_ref().map(|handle| handle.as_str());
    let texts = [&row.nick, &row.seen.display_name, &row.location, &row.notes];
    let texts = texts.into_iter().flatten().chain(&row.tags).map(String::as_str).chain(handle);
    // No query spans two of them: none has a NUL.
    texts.map(fold).collect::<Vec<_>>().join("\0")
}

/// Text without what does not matter: case, Unicode form, compatibility variants.
pub(crate) fn fold(text: &str) -> String {
    let nfkc = ComposingNormalizerBorrowed::new_nfkc();
    let lower = |c: char| match c {
        'ς' => 'σ'.to_lowercase(),
        c => c.to_lowercase(),
    };
    let lowered: String = nfkc.normalize(text).chars().flat_map(lower).collect();
    nfkc.normalize(&lowered).into_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use peerage_types::{Handle, UnixMillis, UserId};

    use super::*;

    fn row() -> Row {
        let mut row = Row::new(UserId([1; 32]), UnixMillis(0));
        row.nick = Some("Zoë Müller".into());
        row.location = Some("Köln, Südstadt".into());
        row.notes = Some("Plays the ﬂute.\nMet in ΟΔΟΣ 7".into());
        row.tags = tags(&["band", "Friend"]);
        row.seen.handle = Some(Handle::new("zoe.m").unwrap());
        row.seen.display_name = Some("Zo".into());
        row.trust = -20;
        row.met = true;
        row
    }

    fn tags(tags: &[&str]) -> BTreeSet<String> {
        tags.iter().map(ToString::to_string).collect()
    }

    fn matches(query: ContactQuery) -> bool {
        Query::new(query).unwrap().matches(&row(), &searchable(&row()), row().verified)
    }

    fn text(text: &str) -> ContactQuery {
        ContactQuery { text: Some(text.into()), ..ContactQuery::default() }
    }

    #[test]
    fn text_is_found_wherever_it_is_whatever_its_case_and_form() {
        for found in [
            "zoë",
            "ZOE\u{308}",
            "mÜLLER",
            "südstadt",
            "flute",
            "BAND",
            "friend",
            "zoe.M",
            "οδος",
            "",
            "ｚｏｅ．ｍ",
        ] {
            assert!(matches(text(found)), "{found}");
        }
        for missing in ["zoe müller", "bob", "bandfriend", "band\nfriend"] {
            assert!(!matches(text(missing)), "{missing}");
        }
        for refused in ["x".repeat(257), "zo\0k".into()] {
            assert!(Query::new(text(&refused)).is_err());
        }
    }

    #[test]
    fn every_part_must_hold() {
        let none = ContactQuery::default;
        let cases = [
            (ContactQuery { trust_min: Some(-20), trust_max: Some(-20), ..none() }, true),
            (ContactQuery { trust_min: Some(-19), ..none() }, false),
            (ContactQuery { trust_max: Some(-21), ..none() }, false),
            (ContactQuery { trust_min: Some(20), ..none() }, false),
            (ContactQuery { met: Some(true), ..none() }, true),
            (ContactQuery { met: Some(false), ..none() }, false),
            (ContactQuery { met: Some(true), text: Some("bob".into()), ..none() }, false),
            (ContactQuery { verified: Some(true), ..none() }, false),
            (ContactQuery { blocked: Some(false), ..none() }, true),
            (ContactQuery { blocked: Some(true), ..none() }, false),
            (ContactQuery { location: Some("kÖLN".into()), ..none() }, true),
            (ContactQuery { location: Some("flute".into()), ..none() }, false),
            (ContactQuery { tags_all: tags(&["band", "Friend"]), ..none() }, true),
            (ContactQuery { tags_all: tags(&["band", "foe"]), ..none() }, false),
            (ContactQuery { tags_any: tags(&["band", "foe"]), ..none() }, true),
            (ContactQuery { tags_any: tags(&["foe"]), ..none() }, false),
            (ContactQuery { tags_none: tags(&["foe"]), ..none() }, true),
            (ContactQuery { tags_none: tags(&["foe", "band"]), ..none() }, false),
        ];
        for (query, expected) in cases {
            assert_eq!(matches(query.clone()), expected, "{query:?}");
        }
    }
}
