//! Values whose time was over a moment ago: in memory alone, and only while somebody follows the
//! changes, since what is kept for a time is not kept beyond it.

use std::collections::BTreeMap;

use peerage_api::kv::Value;

use crate::bounds::{MAX_LATELY, MAX_LATELY_BYTES};

/// The newest of them, by the sequence number with which each was marked as expired.
#[derive(Debug, Clone, Default)]
pub(super) struct Lately {
    values: BTreeMap<u64, (usize, Value)>,
    bytes: usize,
}

impl Lately {
    pub(super) fn remember(&mut self, seq: u64, bytes: usize, value: Value) {
        let before = self.values.insert(seq, (bytes, value));
        self.bytes = self.bytes + bytes - before.map_or(0, |(bytes, _)| bytes);
        while self.bytes > MAX_LATELY_BYTES || self.values.len() > MAX_LATELY {
            let Some((_, (bytes, _))) = self.values.pop_first() else { return };
            self.bytes -= bytes;
        }
    }

    pub(super) fn take_over(&mut self, newer: &Self) {
        for (seq, (bytes, value)) in &newer.values {
            self.remember(*seq, *bytes, value.clone());
        }
    }

    pub(super) fn get(&self, seq: u64) -> Option<Value> {
        self.values.get(&seq).map(|(_, value)| value.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_are_remembered() {
        let mut lately = Lately::default();
        let text = |seq: u64| Value::from("x".repeat(MAX_LATELY_BYTES / 4) + &seq.to_string());
        for seq in 1..=10 {
            lately.remember(seq, MAX_LATELY_BYTES / 4, text(seq));
        }
        assert_eq!((lately.get(6), lately.get(7)), (None, Some(text(7))));
        let mut many = Lately::default();
        (0..2 * MAX_LATELY as u64).for_each(|seq| many.remember(seq, 8, Value::Int(1)));
        assert_eq!((many.values.len(), many.bytes), (MAX_LATELY, 8 * MAX_LATELY));
        lately.take_over(&many);
        assert_eq!((lately.values.len(), lately.get(10)), (MAX_LATELY, None));
    }
}
