//! Between what is sent and what is kept.

use peerage_wire::kv::frames as wire;

use crate::{Cursor, Item, Node, Outgoing, Summary, View};

pub(super) fn node_of(node: wire::Node) -> Node {
    Node { level: node.level, prefix: node.prefix }
}

pub(super) fn wire_node(node: Node) -> wire::Node {
    wire::Node { level: node.level, prefix: node.prefix }
}

pub(super) fn wire_item(item: &Item) -> wire::Item {
    wire::Item { hash: item.hash, fingerprint: item.fingerprint }
}

/// A space has fewer than 2^32 entries: each takes some 200 bytes of a disk.
pub(super) fn part_of(summary: &Summary) -> wire::Part {
    wire::Part { count: u32::try_from(summary.count).unwrap_or(u32::MAX), sum: summary.sum }
}

pub(super) fn parts_of(row: &wire::Row) -> impl Iterator<Item = (u8, Summary)> + '_ {
    let summary = |part: &wire::Part| Summary { count: u64::from(part.count), sum: part.sum };
    row.parts.iter().map(move |(nibble, part)| (*nibble, summary(part)))
}

/// The row of a node as it opens it.
pub(super) fn row_of(node: Node, parts: &[Summary; 16]) -> wire::Row {
    let parts = (0..).zip(parts).filter(|(_, part)| part.count > 0);
    let parts = parts.map(|(nibble, part)| (nibble, part_of(part))).collect();
    wire::Row { node: wire_node(node), answer: false, parts }
}

pub(super) fn total(parts: &[Summary; 16]) -> Summary {
    let mut total = Summary::default();
    parts.iter().for_each(|part| total.merge(part));
    total
}

pub(super) fn state_of(view: &View) -> wire::State {
    let summary = view.summary();
    let (partial, head) = (view.is_partial(), view.head());
    let (epoch, as_of) = (view.epoch(), view.as_of().0);
    wire::State { partial, epoch, as_of, head, count: summary.count, digest: summary.digest() }
}

pub(super) fn cursor_of(cursor: wire::Cursor) -> Cursor {
    Cursor { epoch: cursor.epoch, seq: cursor.seq }
}

pub(super) fn wire_cursor(cursor: Cursor) -> wire::Cursor {
    wire::Cursor { epoch: cursor.epoch, seq: cursor.seq }
}

pub(super) fn shown(entry: &Outgoing) -> wire::Shown<'_> {
    let signed = &entry.signed;
    wire::Shown { entry: signed.entry(), proof: signed.proof(), value: entry.value.as_ref() }
}
