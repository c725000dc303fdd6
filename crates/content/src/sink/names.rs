//! Names as they are on disk: numbered where they would collide.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
};

use peerage_wire::files::{
    manifest::Manifest,
    path::{MAX_COMPONENT_BYTES, RelRef, collision_key},
};

/// The entries of a tree that are called differently on disk, by their path in the manifest.
///
/// None are where the destination tells all names apart. Where it takes some for one, all are told
/// apart that are one on any file system: which it takes for one exactly is known to it alone.
#[derive(Debug, Default)]
pub(super) struct Names(HashMap<Box<str>, Box<str>>);

impl Names {
    /// Resolves the collisions of a tree: the second of two such names gets ` (1)`.
    pub(super) fn of(manifest: &Manifest) -> Self {
        let mut renamed = HashMap::new();
        // The keys taken in the directories that the last entry is in, outermost first.
        let mut taken: Vec<HashSet<u128>> = vec![HashSet::new()];
        for entry in manifest.entries() {
            taken.truncate(entry.path.depth());
            while taken.len() < entry.path.depth() {
                taken.push(HashSet::new());
            }
            let Some(siblings) = taken.last_mut() else { continue };
            let name = entry.path.name();
            let free = (0..).map(|number| numbered(name, number)).find(|name| {
                // Half a hash takes less memory than names do.
                siblings.insert(short_hash(&collision_key(name)))
            });
            if let Some(free) = free.filter(|free| *free != name) {
                renamed.insert(entry.path.as_str().into(), free.into());
            }
        }
        Self(renamed)
    }

    /// Where a link leads on disk: its target with the names that entries on the way got. Behind
    /// another link on the way, names are left as they are.
    pub(super) fn target<'a>(&'a self, link: RelRef<'_>, target: &'a str) -> Cow<'a, str> {
        if self.0.is_empty() {
            return target.into();
        }
        let parent = link.parent().map(RelRef::as_str);
        let mut at: Vec<&str> = parent.into_iter().flat_map(|path| path.split('/')).collect();
        let parts = target.split('/').map(|part| {
            if part == ".." {
                at.pop();
                return part;
            }
            at.push(part);
            self.0.get(&*at.join("/")).map_or(part, |name| name)
        });
        parts.collect::<Vec<_>>().join("/").into()
    }

    /// What the last component of a path is called on disk.
    pub(super) fn on_disk<'a>(&'a self, path: RelRef<'a>) -> &'a str {
        match self.0.is_empty() {
            true => path.name(),
            false => self.0.get(path.as_str()).map_or(path.name(), |name| name),
        }
    }
}

fn short_hash(key: &str) -> u128 {
    let hash = blake3::hash(key.as_bytes());
    let half = hash.as_bytes().first_chunk().copied().unwrap_or_default();
    u128::from_le_bytes(half)
}

/// `name` for 0, otherwise with ` (number)` before its extension; never too long.
pub(crate) fn numbered(name: &str, number: u32) -> String {
    match number {
        0 => name.to_owned(),
        _ => with_suffix(name, &format!(" ({number})")),
    }
}

/// What content is called while it is received.
pub(super) fn staging(name: &str, number: u32) -> String {
    let name = numbered(name, number);
    let room = MAX_COMPONENT_BYTES - ".part".len();
    format!("{}.part", shortened(&name, room))
}

fn with_suffix(name: &str, suffix: &str) -> String {
    // A name such as `.profile` has no extension, nor has one with a long tail behind a dot.
    let (stem, extension) = match name.rfind('.') {
        Some(at) if at > 0 && name.len() - at <= 16 => name.split_at(at),
        _ => (name, ""),
    };
    let room = MAX_COMPONENT_BYTES - suffix.len() - extension.len();
    format!("{}{suffix}{extension}", shortened(stem, room))
}

/// The longest start of at most `room` bytes that ends between characters.
fn shortened(name: &str, room: usize) -> &str {
    &name[..name.floor_char_boundary(room)]
}

#[cfg(test)]
mod tests {
    use peerage_types::ContentHash;
    use peerage_wire::files::{
        manifest::{Entry, FileEntry, Kind, ManifestBuilder},
        path::check_name,
    };
    use proptest::prelude::*;

    use super::*;

    fn tree(paths: &[&str]) -> Manifest {
        let mut builder = ManifestBuilder::new(Some("tree")).unwrap();
        for path in paths {
            let kind = match path.strip_suffix('/') {
                Some(_) => Kind::Dir,
                None => Kind::File(FileEntry {
                    size: 1,
                    root: ContentHash([0; 32]),
                    executable: false,
                    modified: Default::default(),
                }),
            };
            let path = RelRef::parse(path.trim_end_matches('/')).unwrap();
            builder.push(Entry { path, kind }).unwrap();
        }
        builder.finish()
    }

    #[test]
    fn the_second_of_two_names_is_numbered_also_against_earlier_results() {
        let manifest = tree(&[
            "A", "A (1)", "B/", "B/x.txt", "a", "b/", "b/X.txt", "b/x.txt", "e\u{301}", "é",
        ]);
        let names = Names::of(&manifest);
        let on_disk: Vec<_> = manifest.entries().map(|entry| names.on_disk(entry.path)).collect();
        assert_eq!(
            on_disk,
            [
                "A",
                "A (1)",
                "B",
                "x.txt",
                "a (2)",
                "b (1)",
                "X.txt",
                "x (1).txt",
                "e\u{301}",
                "é (1)"
            ]
        );
    }

    #[test]
    fn links_lead_to_what_was_renamed() {
        let names = Names::of(&tree(&["A", "B/", "B/x", "a", "b/", "b/Y", "b/y"]));
        let target = |link, target| names.target(RelRef::parse(link).unwrap(), target).into_owned();
        assert_eq!(target("link", "a"), "a (1)");
        assert_eq!(target("link", "b/y"), "b (1)/y (1)");
        assert_eq!(target("B/link", "../b/Y"), "../b (1)/Y");
        assert_eq!(target("b/link", "y"), "y (1)");
        assert_eq!(target("b/c/link", ".."), "..");
        assert_eq!(target("b/c/link", "../../A/none"), "../../A/none");
        assert_eq!(Names::default().target(RelRef::parse("link").unwrap(), "a"), "a");
    }

    #[test]
    fn numbers_go_before_the_extension() {
        for (name, expected) in [
            ("a.txt", "a (1).txt"),
            ("a.tar.gz", "a.tar (1).gz"),
            ("a", "a (1)"),
            (".profile", ".profile (1)"),
            ("v1.0 and more than this", "v1.0 and more than this (1)"),
        ] {
            assert_eq!(numbered(name, 1), expected);
        }
        assert_eq!(staging("a.txt", 0), "a.txt.part");
        assert_eq!(staging("a.txt", 2), "a (2).txt.part");
    }

    proptest! {
        #[test]
        fn numbered_names_are_names(name in "[a-zé語. ()]{1,300}", number in 0u32..100_000) {
            prop_assume!(check_name(&name).is_ok());
            prop_assert_eq!(check_name(&numbered(&name, number)), Ok(()));
            prop_assert_eq!(check_name(&staging(&name, number)), Ok(()));
        }
    }
}
