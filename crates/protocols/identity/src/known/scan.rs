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
use crate::bounds::SCAN_SHELVES;

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
        // A text that was moved while it was searched may have been found twice.
        let mut seen = HashSet::new();
        places.retain(|(_, user)| seen.insert(*user));
        let more = places.len() > self.limit;
        places.truncate(self.limit);
        let next = places.last().copied().filter(|_| more);
        (places, next)
    }
}

impl Known {
    /// Looks through [`SCAN_SHELVES`] shelves from one on; returns the next unless there is none.
    pub(crate) fn scan(
        &self,
        query: &Query,
        exclude: &HashSet<UserId>,
        from: usize,
        top: &mut Top,
    ) -> Option<usize> {
        let (shelves, next) = self.shelves.part(from, SCAN_SHELVES);
        for shelf in shelves {
            query.search(shelf, |rank, user| {
                if !exclude.contains(&user) {
                    top.add((rank, user));
                }
            });
        }
        next
    }

    /// Users behind `after`, by id.
    pub(crate) fn users_after(&self, after: Option<UserId>) -> impl Iterator<Item = UserId> + '_ {
        self.rows.range((behind(after), Bound::Unbounded)).map(|(user, _)| *user)
    }
}

fn behind(after: Option<UserId>) -> Bound<UserId> {
    after.map_or(Bound::Unbounded, Bound::Excluded)
}
