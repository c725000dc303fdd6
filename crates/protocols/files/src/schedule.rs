//! Which piece is asked of whom. Pure.
//!
//! The pieces that are missing are a set of free runs. A provider claims a stripe, the front of the
//! first free run up to a boundary, and is asked for its pieces in order, so that several providers
//! work on disjoint parts and each reads and writes sequentially. Stripes are 8 to 64 pieces, two
//! seconds' worth. When nothing is free, half of the largest rest of a stripe is stolen; when there
//! is nothing left to steal, pieces that others owe for long are asked for twice.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    ops::Range,
    time::{Duration, Instant},
};

/// Pieces of a stripe, at least and at most; a piece is up to 1 MiB.
const MIN_STRIPE: u32 = 8;
const MAX_STRIPE: u32 = 64;
/// How long a stripe should last.
const STRIPE_DURATION: Duration = Duration::from_secs(2);
/// How long a piece must have been owed before somebody else is asked, too.
const OVERDUE: Duration = Duration::from_millis(500);
/// Providers that may owe the same piece.
const MAX_OWERS: usize = 2;
/// Pieces one provider says it lacks before it counts as lacking all. 4 bytes each.
const MAX_LACKED: usize = 4096;

/// Names a provider within a schedule.
pub(crate) type Provider = u64;

/// Which pieces are missing, claimed and owed.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    /// Missing and claimed by nobody: start → end.
    free: BTreeMap<u32, u32>,
    claims: HashMap<Provider, Claim>,
    /// Asked for and not there yet.
    owed: HashMap<u32, Vec<Provider>>,
    /// One bit per piece that is there.
    done: Vec<u64>,
    missing: u32,
}

#[derive(Debug, Default)]
struct Claim {
    /// Not asked for yet.
    rest: Range<u32>,
    /// Asked for, oldest first.
    owes: VecDeque<(u32, Instant)>,
    lacks: HashSet<u32>,
    /// Pieces a second, of late.
    rate: f64,
    last: Option<Instant>,
}

impl Schedule {
    /// The runs that are missing.
    pub(crate) fn new(missing: impl IntoIterator<Item = Range<u32>>) -> Self {
        let mut schedule = Self::default();
        for run in missing {
            schedule.missing += run.end - run.start;
            schedule.done.resize(run.end.div_ceil(64).max(1) as usize, u64::MAX);
            run.clone().for_each(|piece| schedule.done[piece as usize / 64] &= !bit(piece));
            schedule.give_back(run);
        }
        schedule
    }

    /// Whether everything is there.
    pub(crate) fn is_complete(&self) -> bool {
        self.missing == 0
    }

    /// The next piece to ask `provider` for; it owes it from now on.
    pub(crate) fn next(&mut self, provider: Provider, now: Instant) -> Option<u32> {
        let piece = self.claimed(provider).or_else(|| self.overdue(provider, now))?;
        self.claims.entry(provider).or_default().owes.push_back((piece, now));
        self.owed.entry(piece).or_default().push(provider);
        Some(piece)
    }

    /// A piece is verified and written. Returns whether it was missing until now.
    pub(crate) fn on_done(&mut self, provider: Provider, piece: u32, now: Instant) -> bool {
        if let Some(claim) = self.claims.get_mut(&provider) {
            claim.on_delivery(now);
        }
        if self.is_done(piece) {
            return false;
        }
        // A provider that was released may still deliver: then nobody owes the piece.
        for ower in self.owed.remove(&piece).unwrap_or_default() {
            if let Some(claim) = self.claims.get_mut(&ower) {
                claim.owes.retain(|(owed, _)| *owed != piece);
            }
        }
        self.done[piece as usize / 64] |= bit(piece);
        self.missing -= 1;
        true
    }

    fn is_done(&self, piece: u32) -> bool {
        self.done.get(piece as usize / 64).is_none_or(|word| word & bit(piece) != 0)
    }

    /// A provider does not have a piece: others are asked.
    pub(crate) fn on_lacking(&mut self, provider: Provider, piece: u32) {
        let Some(claim) = self.claims.get_mut(&provider) else { return };
        claim.owes.retain(|(owed, _)| *owed != piece);
        if claim.lacks.len() < MAX_LACKED {
            claim.lacks.insert(piece);
        }
        self.no_longer_owes(provider, piece);
    }

    /// A provider is gone: what it claimed and owed is free again.
    pub(crate) fn release(&mut self, provider: Provider) {
        let Some(claim) = self.claims.remove(&provider) else { return };
        self.give_back(claim.rest);
        for (piece, _) in claim.owes {
            self.no_longer_owes(provider, piece);
        }
    }

    /// Whether the provider has nothing that is missing, as far as it told.
    pub(crate) fn is_useless(&self, provider: Provider) -> bool {
        let lacks = self.claims.get(&provider).map_or(0, |claim| claim.lacks.len());
        lacks >= MAX_LACKED || (lacks > 0 && lacks as u64 >= u64::from(self.missing))
    }

    fn claimed(&mut self, provider: Provider) -> Option<u32> {
        let claim = self.claims.entry(provider).or_default();
        if claim.lacks.len() >= MAX_LACKED {
            return None;
        }
        loop {
            match self.claims.get_mut(&provider)?.rest.next() {
                Some(piece) if self.is_done(piece) => {}
                Some(piece) => return Some(piece),
                None => {
                    let rest = self.stripe(provider).or_else(|| self.steal(provider))?;
                    self.claims.get_mut(&provider)?.rest = rest;
                }
            }
        }
    }

    /// Takes the front of the first free run, up to a boundary of stripes.
    fn stripe(&mut self, provider: Provider) -> Option<Range<u32>> {
        let claim = self.claims.get(&provider)?;
        let size = claim.stripe();
        let useful = |(start, end): (&u32, &u32)| {
            let first = (*start..*end).find(|piece| !claim.lacks.contains(piece))?;
            let boundary = (first / size).saturating_add(1).saturating_mul(size);
            let last = (first..boundary.min(*end)).find(|piece| claim.lacks.contains(piece));
            Some((*start, *end, first..last.unwrap_or(boundary.min(*end))))
        };
        let (start, end, stripe) = self.free.iter().find_map(useful)?;
        self.free.remove(&start);
        self.give_back(start..stripe.start);
        self.give_back(stripe.end..end);
        Some(stripe)
    }

    /// Takes the second half of the largest rest.
    fn steal(&mut self, thief: Provider) -> Option<Range<u32>> {
        let lacks = |piece| self.claims.get(&thief).is_some_and(|c| c.lacks.contains(&piece));
        let others = self.claims.iter().filter(|(provider, claim)| {
            **provider != thief && !claim.rest.is_empty() && !lacks(claim.rest.end - 1)
        });
        let (victim, _) = others.max_by_key(|(provider, claim)| (claim.rest.len(), **provider))?;
        let victim = *victim;
        let rest = &mut self.claims.get_mut(&victim)?.rest;
        let middle = rest.start + (rest.end - rest.start) / 2;
        let stolen = middle..rest.end;
        rest.end = middle;
        // Only as far as the thief can use it.
        let lacks = &self.claims.get(&thief)?.lacks;
        let usable = stolen.clone().rev().take_while(|piece| !lacks.contains(piece)).last()?;
        self.give_back(stolen.start..usable);
        Some(usable..stolen.end)
    }

    /// A piece that others owe for too long.
    fn overdue(&self, provider: Provider, now: Instant) -> Option<u32> {
        let claim = self.claims.get(&provider)?;
        let others = self.claims.iter().filter(|(other, _)| **other != provider);
        let owed = others.flat_map(|(_, claim)| claim.owes.iter());
        let late = owed.filter(|(piece, since)| {
            let owers = self.owed.get(piece);
            now.duration_since(*since) >= OVERDUE
                && !claim.lacks.contains(piece)
                && owers.is_some_and(|o| o.len() < MAX_OWERS && !o.contains(&provider))
        });
        late.min_by_key(|(piece, since)| (*since, *piece)).map(|(piece, _)| *piece)
    }

    fn no_longer_owes(&mut self, provider: Provider, piece: u32) {
        let Some(owers) = self.owed.get_mut(&piece) else { return };
        owers.retain(|ower| *ower != provider);
        if owers.is_empty() {
            self.owed.remove(&piece);
            self.give_back(piece..piece + 1);
        }
    }

    /// Frees a run, joined with its neighbours.
    fn give_back(&mut self, run: Range<u32>) {
        if run.is_empty() {
            return;
        }
        let (mut start, mut end) = (run.start, run.end);
        if let Some((&before, &until)) = self.free.range(..start).next_back()
            && until == start
        {
            self.free.remove(&before);
            start = before;
        }
        if let Some(after) = self.free.remove(&end) {
            end = after;
        }
        self.free.insert(start, end);
    }
}

fn bit(piece: u32) -> u64 {
    1 << (piece % 64)
}

impl Claim {
    fn on_delivery(&mut self, now: Instant) {
        if let Some(last) = self.last {
            let rate = 1.0 / now.duration_since(last).as_secs_f64().max(1e-4);
            self.rate = if self.rate == 0.0 { rate } else { 0.9 * self.rate + 0.1 * rate };
        }
        self.last = Some(now);
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 64")]
    fn stripe(&self) -> u32 {
        let pieces = (self.rate * STRIPE_DURATION.as_secs_f64()).clamp(0.0, f64::from(MAX_STRIPE));
        (pieces as u32).next_power_of_two().clamp(MIN_STRIPE, MAX_STRIPE)
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

    use super::*;

    fn whole(pieces: u32) -> Schedule {
        Schedule::new(std::iter::once(0..pieces))
    }

    fn take(schedule: &mut Schedule, provider: Provider, count: usize, now: Instant) -> Vec<u32> {
        (0..count).map_while(|_| schedule.next(provider, now)).collect()
    }

    #[test]
    fn one_provider_is_asked_for_everything_in_order() {
        let (mut schedule, now) = (Schedule::new([0..3, 5..100]), Instant::now());
        let asked = take(&mut schedule, 1, 1000, now);
        assert_eq!(asked, (0..3).chain(5..100).collect::<Vec<_>>());
        assert!(asked.iter().all(|piece| schedule.on_done(1, *piece, now)));
        assert!(schedule.is_complete());
    }

    #[test]
    fn providers_work_on_disjoint_stripes() {
        let (mut schedule, now) = (whole(64), Instant::now());
        let (one, two) = (take(&mut schedule, 1, 4, now), take(&mut schedule, 2, 4, now));
        assert_eq!((one, two), (vec![0, 1, 2, 3], vec![8, 9, 10, 11]));
    }

    #[test]
    fn what_a_lost_provider_owed_is_asked_of_others() {
        let (mut schedule, now) = (whole(20), Instant::now());
        take(&mut schedule, 1, 5, now);
        schedule.on_done(1, 0, now);
        schedule.release(1);
        assert_eq!(take(&mut schedule, 2, 100, now), (1..20).collect::<Vec<_>>());
    }

    #[test]
    fn the_rest_of_a_slow_provider_is_stolen_and_what_it_owes_asked_twice() {
        let (mut schedule, now) = (whole(8), Instant::now());
        assert_eq!(take(&mut schedule, 1, 2, now), [0, 1]);
        assert_eq!(take(&mut schedule, 2, 100, now), [5, 6, 7, 3, 4, 2]);
        let later = now + OVERDUE;
        assert_eq!(take(&mut schedule, 2, 100, later), [0, 1]);
        assert!(take(&mut schedule, 3, 100, later + OVERDUE).len() < 8, "two owers at most");
        assert!(schedule.on_done(2, 0, later));
        assert!(!schedule.on_done(1, 0, later), "it came before");
        schedule.release(1);
        assert!(!take(&mut schedule, 3, 100, later).contains(&1), "provider 2 still owes it");
    }

    #[test]
    fn a_provider_is_not_asked_again_for_what_it_lacks() {
        let (mut schedule, now) = (whole(4), Instant::now());
        take(&mut schedule, 1, 2, now);
        schedule.on_lacking(1, 0);
        schedule.on_lacking(1, 1);
        assert_eq!(take(&mut schedule, 1, 100, now), [2, 3]);
        assert_eq!(take(&mut schedule, 2, 100, now), [0, 1]);
        assert!(!schedule.is_useless(1));
        assert!([2, 3].iter().all(|piece| schedule.on_done(1, *piece, now)));
        assert!(schedule.is_useless(1) && !schedule.is_useless(2));
    }

    /// Providers come, go, lack, stall and deliver at random; in the end everything was delivered.
    #[test]
    fn everything_arrives_whatever_providers_do() {
        for seed in 0..200 {
            let mut random = SmallRng::seed_from_u64(seed);
            let total = random.random_range(1..200);
            let mut schedule = whole(total);
            let (mut now, mut owed) = (Instant::now(), HashMap::<Provider, Vec<u32>>::new());
            let mut there = HashSet::new();
            for _ in 0..20_000 {
                if schedule.is_complete() {
                    break;
                }
                now += Duration::from_millis(random.random_range(0..100));
                let provider = random.random_range(0..4);
                let mine = owed.entry(provider).or_default();
                match random.random_range(0..20) {
                    0 => {
                        schedule.release(provider);
                        // What was under way may still come.
                        mine.truncate(random.random_range(0..=mine.len()));
                    }
                    // Provider 0 has everything; the others may lack something.
                    1 if provider != 0 && !mine.is_empty() => {
                        schedule.on_lacking(provider, mine.swap_remove(0));
                    }
                    2..10 => mine.extend(schedule.next(provider, now)),
                    _ if !mine.is_empty() => {
                        let piece = mine.swap_remove(random.random_range(0..mine.len()));
                        assert_eq!(schedule.on_done(provider, piece, now), there.insert(piece));
                    }
                    _ => {}
                }
            }
            assert!(schedule.is_complete(), "seed {seed}: {schedule:?}");
            assert_eq!(there.len(), total as usize, "seed {seed}");
        }
    }
}
