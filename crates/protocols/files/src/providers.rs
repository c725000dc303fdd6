//! Who may have the content of a transfer, and when to try whom again. Pure.
//!
//! | state    | on                              | becomes |
//! |----------|---------------------------------|---------|
//! | Idle     | it is connected                 | Fetching |
//! | Idle     | it is not                       | Dialling |
//! | Dialling | an answer                       | Idle, or Resting after a failure |
//! | Fetching | the end of the dialog           | Idle, Resting after a failure, Out, or Lied |
//! | Resting  | time, or a connection           | Idle |
//! | Out      | another start of the transfer   | Idle |

use std::time::{Duration, Instant};

use libp2p_core::Multiaddr;
use libp2p_identity::PeerId;
use peerage_dialog::DialogId;

use crate::bounds::MAX_PROVIDERS;

const FIRST_REST: Duration = Duration::from_secs(1);
const MAX_REST: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Idle,
    Dialling,
    Fetching(DialogId),
    Resting {
        until: Instant,
    },
    /// It does not have the content, or does not send it.
    Out,
    /// It sent what does not verify, and is not asked again.
    Lied,
}

/// Somebody who may have the content.
#[derive(Debug, Clone)]
pub(crate) struct Provider {
    pub(crate) peer: PeerId,
    pub(crate) addresses: Vec<Multiaddr>,
    pub(crate) state: State,
    pub(crate) failures: u32,
}

/// The providers of one transfer.
#[derive(Debug, Default)]
pub(crate) struct Providers(Vec<Provider>);

impl Providers {
    /// Adds one, unless it is known or there are enough.
    pub(crate) fn add(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) {
        if let Some(known) = self.get(&peer) {
            if known.addresses.is_empty() {
                known.addresses = addresses;
            }
        } else if self.0.len() < MAX_PROVIDERS {
            self.0.push(Provider { peer, addresses, state: State::Idle, failures: 0 });
        }
    }

    pub(crate) fn get(&mut self, peer: &PeerId) -> Option<&mut Provider> {
        self.0.iter_mut().find(|provider| provider.peer == *peer)
    }

    pub(crate) fn by_dialog(&mut self, id: DialogId) -> Option<&mut Provider> {
        self.0.iter_mut().find(|provider| provider.state == State::Fetching(id))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Provider> {
        self.0.iter()
    }

    pub(crate) fn dialogs(&self) -> impl Iterator<Item = DialogId> + '_ {
        self.0.iter().filter_map(|provider| match provider.state {
            State::Fetching(id) => Some(id),
            _ => None,
        })
    }

    pub(crate) fn fetching(&self) -> usize {
        self.dialogs().count()
    }

    /// Those who may have it.
    pub(crate) fn candidates(&self) -> impl Iterator<Item = PeerId> + '_ {
        let may = |provider: &&Provider| !matches!(provider.state, State::Out | State::Lied);
        self.0.iter().filter(may).map(|provider| provider.peer)
    }

    /// Those to be connected to or fetched from now.
    pub(crate) fn idle(&mut self, now: Instant) -> Vec<PeerId> {
        for provider in &mut self.0 {
            if matches!(provider.state, State::Resting { until } if until <= now) {
                provider.state = State::Idle;
            }
        }
        self.0.iter().filter(|p| p.state == State::Idle).map(|p| p.peer).collect()
    }

    /// When the next one has rested enough.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let until = |provider: &Provider| match provider.state {
            State::Resting { until } => Some(until),
            _ => None,
        };
        self.0.iter().filter_map(until).min()
    }

    /// Whether nobody is left who may have it.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.0.iter().all(|provider| matches!(provider.state, State::Out | State::Lied))
    }

    /// Whether any of them lied.
    pub(crate) fn has_liar(&self) -> bool {
        self.0.iter().any(|provider| provider.state == State::Lied)
    }

    /// Something came of those that are fetched from.
    pub(crate) fn on_progress(&mut self) {
        let fetching = |provider: &&mut Provider| matches!(provider.state, State::Fetching(_));
        self.0.iter_mut().filter(fetching).for_each(|provider| provider.failures = 0);
    }

    /// The dialogs end, everybody gets another chance but those who lied.
    pub(crate) fn reset(&mut self) {
        for provider in &mut self.0 {
            provider.failures = 0;
            if provider.state != State::Lied {
                provider.state = State::Idle;
            }
        }
    }
}

impl Provider {
    /// It did not work out: waits 1 s, 2 s, 4 s … 1 min.
    pub(crate) fn on_failure(&mut self, now: Instant) {
        let rest = FIRST_REST.saturating_mul(1 << self.failures.min(6)).min(MAX_REST);
        self.failures += 1;
        self.rest(rest, now);
    }

    pub(crate) fn rest(&mut self, rest: Duration, now: Instant) {
        self.state = State::Resting { until: now + rest };
    }

    /// It is there (again).
    pub(crate) fn on_connected(&mut self) {
        if matches!(self.state, State::Resting { .. } | State::Dialling) {
            self.state = State::Idle;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_that_fails_rests_longer_each_time_and_a_connection_wakes_it() {
        let (mut providers, peer, mut now) =
            (Providers::default(), PeerId::random(), Instant::now());
        providers.add(peer, vec![]);
        let mut rests = Vec::new();
        for _ in 0..8 {
            assert_eq!(providers.idle(now), [peer]);
            providers.get(&peer).unwrap().on_failure(now);
            assert!(providers.idle(now).is_empty());
            let due = providers.next_due().unwrap();
            rests.push((due - now).as_secs());
            now = due;
        }
        assert_eq!(rests, [1, 2, 4, 8, 16, 32, 60, 60]);
        providers.get(&peer).unwrap().on_connected();
        assert_eq!(providers.idle(now), [peer]);
    }

    #[test]
    fn providers_are_bounded_and_liars_stay_out() {
        let mut providers = Providers::default();
        let liar = PeerId::random();
        providers.add(liar, vec![]);
        providers.get(&liar).unwrap().state = State::Lied;
        assert!(providers.is_exhausted() && providers.has_liar());
        for _ in 0..100 {
            providers.add(PeerId::random(), vec![]);
        }
        providers.add(liar, vec![]);
        providers.reset();
        assert_eq!(providers.iter().count(), MAX_PROVIDERS);
        assert_eq!(providers.idle(Instant::now()).len(), MAX_PROVIDERS - 1);
    }

    #[test]
    fn who_did_not_have_it_is_asked_again_by_the_next_start() {
        let (mut providers, peer) = (Providers::default(), PeerId::random());
        providers.add(peer, vec![]);
        providers.get(&peer).unwrap().state = State::Out;
        assert!(providers.is_exhausted() && !providers.has_liar());
        providers.reset();
        assert_eq!(providers.idle(Instant::now()), [peer]);
    }
}
