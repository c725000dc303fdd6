//! Where symbolic links may lead.

use crate::files::path::{RelPath, RelRef};

/// The target as a manifest holds it, if it stays within the tree: `.` and doubled slashes removed.
///
/// `within` is how many leading components of the path of the link its target may not leave: 0 in
/// a directory, 1 in a bundle.
#[must_use]
pub fn link_target(link: RelRef<'_>, target: &str, within: usize) -> Option<String> {
    if target.starts_with('/') {
        return None;
    }
    let kept: Vec<&str> = target.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    let target = kept.join("/");
    is_inside(link, &target, within).then_some(target)
}

/// Whether a target of canonical form stays within the tree.
///
/// `..` is allowed in front only: there it leaves directories that exist as such in the tree, while
/// behind a name it would leave whatever that name links to.
pub(super) fn is_inside(link: RelRef<'_>, target: &str, within: usize) -> bool {
    let ups = target.split('/').take_while(|part| *part == "..").count();
    let rest = target.splitn(ups + 1, '/').nth(ups);
    let here = link.depth() - 1;
    let Some(top) = here.checked_sub(ups) else { return false };
    match rest {
        // Only `..`: a directory above, which must not be above the tree.
        None => ups > 0 && top >= within,
        Some(rest) => top >= within && RelPath::parse(rest).is_ok(),
    }
}
