//! Searching and listing, a part at a time.

use std::{
    collections::{BinaryHeap, HashSet},
    ops::Bound,
};

use peerage_types::UserId;

use super::{
    Known,
    text::{Place, Query},
};
use crate::bounds::SCAN_CHUNK;

/// The best of what was found, as many as asked for and one more.
#[derive(Debug)]
pub(crate) struct Top {
    limit: usize,
    after: Option<Place>,
    best: BinaryHeap<Place>,
}

impl Top {
    /// Those that come behind `after`.
    pub(crate) fn new(limit: usize, after: Option<Place>) -> Self {
        Self { limit, after, best: BinaryHeap::new() }
    }

    fn add(&mut self, place: Place) {
        if self.after.is_some_and(|after| place <= after) {
            return;
        }
        if self.best.len() <= self.limit {
            self.best.push(place);
        } else if let Some(mut worst) = self.best.peek_mut()
            && place < *worst
        {
            *worst = place;
        }
    }

    /// They in their order, and the last of them when there are more.
    pub(crate) fn finish(self) -> (Vec<Place>, Option<Place>) {
        let mut places = self.best.into_sorted_vec();
        let more = places.len() > self.limit;
        places.truncate(self.limit);
        let next = places.last().copied().filter(|_| more);
        (places, next)
    }
}

impl Known {
    /// Looks at [`SCAN_CHUNK`] users behind `after`; returns the last of them unless it was the
    /// last of all.
    pub(crate) fn scan(
        &self,
        query: &Query,
        exclude: &HashSet<UserId>,
        after: Option<UserId>,
        top: &mut Top,
    ) -> Option<UserId> {
        let mut last = None;
        let mut seen = 0;
        for (user, row) in self.rows.range((behind(after), Bound::Unbounded)).take(SCAN_CHUNK) {
            if let Some(rank) = query.rank(&row.haystack)
                && !exclude.contains(user)
            {
                top.add((rank, *user));
            }
            last = Some(*user);
            seen += 1;
        }
        last.filter(|_| seen == SCAN_CHUNK)
    }

    /// Users behind `after`, by id.
    pub(crate) fn users_after(&self, after: Option<UserId>) -> impl Iterator<Item = UserId> + '_ {
        self.rows.range((behind(after), Bound::Unbounded)).map(|(user, _)| *user)
    }
}

fn behind(after: Option<UserId>) -> Bound<UserId> {
    after.map_or(Bound::Unbounded, Bound::Excluded)
}
