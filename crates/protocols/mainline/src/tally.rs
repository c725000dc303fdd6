//! The peers that a lookup's answers name: who is named by most, and a sample of the rest.
//!
//! A genuine announcement is kept by many nodes, an invented list by the one that invents it. So those
//! that many name come first, and by turns with them any others, as a flood of strangers may be
//! announced as genuinely.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::SocketAddr,
};

use rand::{Rng, seq::SliceRandom};

/// Addresses that are taken from one answer; a packet of 2048 bytes holds 250.
pub const MAX_PER_ANSWER: usize = 64;
/// Different addresses that are counted: 8192 × 40 bytes = 320 KiB while the lookup lasts.
pub const MAX_COUNTED: usize = 8192;

/// What the answers of one lookup named.
#[derive(Debug, Default)]
pub struct Tally {
    votes: HashMap<SocketAddr, u16>,
}

impl Tally {
    /// Counts an answer; gives the addresses that were not named before.
    pub fn count(&mut self, mut answer: Vec<SocketAddr>, random: &mut impl Rng) -> Vec<SocketAddr> {
        if answer.len() > MAX_PER_ANSWER {
            answer = answer.partial_shuffle(random, MAX_PER_ANSWER).0.to_vec();
        }
        answer.sort_unstable();
        answer.dedup();
        answer.retain(|address| self.vote(*address));
        answer
    }

    /// Whether it is new.
    fn vote(&mut self, address: SocketAddr) -> bool {
        let room = self.votes.len() < MAX_COUNTED;
        match self.votes.entry(address) {
            Entry::Occupied(mut votes) => {
                *votes.get_mut() = votes.get().saturating_add(1);
                false
            }
            Entry::Vacant(place) if room => {
                place.insert(1);
                true
            }
            Entry::Vacant(_) => false,
        }
    }

    /// All that were named, in the order in which they should be tried.
    pub fn ranked(self, random: &mut impl Rng) -> Vec<SocketAddr> {
        let mut all: Vec<(SocketAddr, u16)> = self.votes.into_iter().collect();
        all.shuffle(random);
        let any: Vec<SocketAddr> = all.iter().map(|(address, _)| *address).collect();
        all.sort_by_key(|(_, votes)| std::cmp::Reverse(*votes));
        let mut ranked = Vec::with_capacity(any.len());
        let mut seen = std::collections::HashSet::with_capacity(any.len());
        for ((first, _), other) in all.into_iter().zip(any) {
            ranked.extend([first, other].into_iter().filter(|address| seen.insert(*address)));
        }
        ranked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> SocketAddr {
        let [a, b, c, d] = (0x0b00_0000 + number).to_be_bytes();
        SocketAddr::from(([a, b, c, d], 4001))
    }

    #[test]
    fn a_real_peer_is_among_the_first_though_one_node_names_thousands() {
        let mut random = rand::rng();
        let mut tally = Tally::default();
        let real = address(1);
        for _ in 0..8 {
            tally.count(vec![real], &mut random);
        }
        for _ in 0..30 {
            tally.count((100..3000).map(address).collect(), &mut random);
        }
        let ranked = tally.ranked(&mut random);
        assert!(ranked.len() > 1000, "{}", ranked.len());
        assert!(ranked.iter().take(2).any(|address| *address == real));
    }

    #[test]
    fn one_answer_and_all_answers_are_bounded() {
        let mut random = rand::rng();
        let mut tally = Tally::default();
        assert_eq!(tally.count((0..5000).map(address).collect(), &mut random).len(), 64);
        for from in 0..1000 {
            let answer = (from * 100..from * 100 + 64).map(address).collect();
            tally.count(answer, &mut random);
        }
        assert_eq!(tally.ranked(&mut random).len(), MAX_COUNTED);
    }

    #[test]
    fn the_same_address_is_given_once() {
        let mut random = rand::rng();
        let mut tally = Tally::default();
        assert_eq!(tally.count(vec![address(1), address(1)], &mut random), [address(1)]);
        assert_eq!(tally.count(vec![address(1), address(2)], &mut random), [address(2)]);
        let mut ranked = tally.ranked(&mut random);
        ranked.sort_unstable();
        assert_eq!(ranked, [address(1), address(2)]);
    }
}
