//! How spaces and grants look.

use peerage_api::kv::{Grant, Rights, SpaceInfo, SpaceKind};

use super::super::{get::left, refusals, shapes};
use crate::output::{Table, bytes, printable, since};

/// What it is named by, everywhere.
pub(super) fn id(space: &SpaceInfo) -> String {
    space.space.map_or_else(|| "default".to_owned(), |id| id.to_string())
}

fn kind(kind: SpaceKind) -> &'static str {
    match kind {
        SpaceKind::Default => "default",
        SpaceKind::Owned => "owned",
        SpaceKind::Joined => "joined",
    }
}

fn rights(rights: Rights) -> &'static str {
    match rights {
        Rights::Write => "read, write",
        Rights::Read => "read",
    }
}

/// What this node may do, or why that is nothing.
fn rights_here(space: &SpaceInfo) -> String {
    let denied = || refusals::denied(space.access, space.revoked_ms).unwrap_or_default();
    space.rights.map_or_else(denied, |it| rights(it).to_owned())
}

pub(super) fn table(spaces: &[SpaceInfo]) -> String {
    let mut table = Table::new(["NAME", "KIND", "RIGHTS", "ENTRIES", "SIZE", "SPACE"]);
    for space in spaces {
        table.row([
            printable(&space.name),
            kind(space.kind).to_owned(),
            rights_here(space),
            space.entries.to_string(),
            bytes(space.bytes),
            id(space),
        ]);
    }
    // Below, one a line: few have been refused, and a column would part names and ids.
    let refused = |space: &SpaceInfo| {
        let last = space.last_refusal.as_ref()?;
        Some(format!("\n{}: {}", printable(&space.name), refusals::told(last)))
    };
    let refused: String = spaces.iter().filter_map(refused).collect();
    format!("{}{refused}", table.to_string().trim_end())
}

pub(super) fn about(space: &SpaceInfo) -> String {
    let mut table = Table::plain();
    let mut row = |name: &str, value: String| table.row([name.to_owned(), value]);
    row("space", id(space));
    row("name", printable(&space.name));
    row("kind", kind(space.kind).to_owned());
    row("rights here", rights_here(space));
    row("entries", space.entries.to_string());
    row("size", bytes(space.bytes));
    if let Some(last) = &space.last_refusal {
        row("last refusal", refusals::told(last));
    }
    match &space.grants[..] {
        [] => table.to_string(),
        grants => format!("{table}\n{}", listed(grants)),
    }
}

fn listed(grants: &[Grant]) -> String {
    let mut table = Table::new(["GRANT", "TO", "RIGHTS", "PREFIX", "VALID", "BY"]);
    for grant in grants {
        table.row([
            printable(&grant.id),
            grant.to.as_ref().map_or_else(|| "a ticket".to_owned(), ToString::to_string),
            rights(grant.rights).to_owned(),
            printable(&grant.prefix),
            validity(grant),
            grant.by.as_ref().map_or_else(|| "owner".to_owned(), shapes::who),
        ]);
    }
    table.to_string()
}

fn validity(grant: &Grant) -> String {
    let now = peerage_api::types::UnixMillis::now();
    match (grant.revoked_ms, grant.expires_ms) {
        (Some(revoked), _) => format!("revoked {}", since(revoked)),
        (None, Some(until)) if until <= now => format!("ended {}", since(until)),
        (None, Some(until)) => format!("ends {}", left(until)),
        (None, None) => "always".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use peerage_api::{
        kv::{Access, Denial, LastRefusal},
        types::{Author, PeerId, SpaceId, UnixMillis},
    };

    use super::*;

    fn grant(expires_ms: Option<u64>, revoked_ms: Option<u64>) -> Grant {
        Grant {
            id: "3f".repeat(16),
            to: Some(Author::Node([2; 32])),
            by: None,
            rights: Rights::Write,
            prefix: "a/\u{1b}".to_owned(),
            expires_ms: expires_ms.map(UnixMillis),
            revoked_ms: revoked_ms.map(UnixMillis),
            parent: None,
        }
    }

    #[test]
    fn a_space_is_shown_with_who_may_do_what() {
        let later = UnixMillis::now().0 + 90_500;
        let space = SpaceInfo {
            space: Some(SpaceId([1; 32])),
            name: "team\u{1b}".to_owned(),
            kind: SpaceKind::Owned,
            rights: Some(Rights::Write),
            access: Access::Granted,
            revoked_ms: None,
            last_refusal: None,
            entries: 5,
            bytes: 900,
            grants: vec![
                grant(None, None),
                grant(Some(later), None),
                grant(Some(1), None),
                Grant { to: None, ..grant(Some(later), Some(1)) },
            ],
        };
        let about = about(&space);
        for part in [
            "space1",
            "team\\u{1b}",
            "owned",
            "read, write",
            "900 B",
            "a/\\u{1b}",
            "always",
            "ends in 1m 30s",
            "ended ",
            "revoked ",
            "a ticket",
            "owner",
            "12D3KooW",
        ] {
            assert!(about.contains(part), "no {part}: {about}");
        }
        let bare = SpaceInfo { space: None, kind: SpaceKind::Default, ..space.clone() };
        let table = table(&[bare]);
        assert!(table.contains("read, write") && table.contains("default"), "{table}");
    }

    #[test]
    fn a_space_that_this_node_is_kept_out_of_is_shown_with_the_reason() {
        let (peer, at_ms) = (PeerId::random(), UnixMillis::now());
        let space = |access| SpaceInfo {
            space: Some(SpaceId([1; 32])),
            name: "team".to_owned(),
            kind: SpaceKind::Joined,
            rights: None,
            access,
            revoked_ms: Some(at_ms),
            last_refusal: Some(LastRefusal { peer, why: Denial::NoGrant, at_ms }),
            entries: 0,
            bytes: 0,
            grants: vec![],
        };
        for (access, word) in
            [(Access::None, "none yet"), (Access::Ended, "ended"), (Access::Revoked, "revoked 0s")]
        {
            for shown in [about(&space(access)), table(&[space(access)])] {
                assert!(shown.contains(word), "no {word}: {shown}");
                assert!(shown.contains(&format!("{peer} refused 0s ago: there is no")), "{shown}");
            }
        }
    }
}
