//! What this node announces, who has been told, and who waits to hear it.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use peerage_api::{
    Ask,
    discovery::{Announce, Announced, MAX_NAMESPACES},
    peers::Source,
};
use peerage_types::Namespace;

use crate::kad::infohash;

/// Whoever announces is answered after this at the latest; what could not be told by then is told
/// later.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Announcements that wait for their first round; the others are answered at once. 256 × 100 bytes.
const MAX_WAITING: usize = 256;

/// Namespaces that are announced.
#[derive(Default)]
pub(crate) struct Announcing {
    /// With the sources that have been told.
    held: BTreeMap<Namespace, Vec<Source>>,
    waiting: Vec<Waiting>,
}

struct Waiting {
    ask: Ask<Announce>,
    on: Vec<Source>,
    until: Instant,
}

impl Announcing {
    /// Whether one more can be announced, or this one is.
    pub(crate) fn has_room(&self, namespace: &Namespace) -> bool {
        self.held.len() < MAX_NAMESPACES || self.held.contains_key(namespace)
    }

    /// Announces a namespace from now on.
    pub(crate) fn hold(&mut self, namespace: &Namespace) {
        self.held.entry(namespace.clone()).or_default();
    }

    /// No longer announces it. False if it was not.
    pub(crate) fn release(&mut self, namespace: &Namespace) -> bool {
        let (gone, stay) =
            self.waiting.drain(..).partition(|waiting| waiting.ask.request.namespace == *namespace);
        self.waiting = stay;
        self.answer(gone);
        self.held.remove(namespace).is_some()
    }

    /// What is announced.
    pub(crate) fn held(&self) -> impl Iterator<Item = &Namespace> {
        self.held.keys()
    }

    /// The same with who has been told.
    pub(crate) fn shown(&self) -> impl Iterator<Item = Announced> {
        self.held.iter().map(|(namespace, told)| shown(namespace, told))
    }

    /// The namespace behind a key of the DHTs.
    pub(crate) fn by_infohash(&self, wanted: [u8; 20]) -> Option<Namespace> {
        self.held.keys().find(|namespace| infohash(namespace) == wanted).cloned()
    }

    /// Answers `ask` when those it waits for have been told, but for those who know it already.
    pub(crate) fn wait(
        &mut self,
        ask: Ask<Announce>,
        on: impl Iterator<Item = Source>,
        now: Instant,
    ) {
        let told = self.held.get(&ask.request.namespace);
        let on: Vec<_> = on.filter(|source| told.is_none_or(|it| !it.contains(source))).collect();
        let waiting = Waiting { ask, on, until: now + ANSWER_TIMEOUT };
        match waiting.on.is_empty() || self.waiting.len() >= MAX_WAITING {
            true => self.answer(vec![waiting]),
            false => self.waiting.push(waiting),
        }
    }

    /// A source has been told of a namespace, or could not be.
    pub(crate) fn on_told(&mut self, namespace: &Namespace, source: Source, is_told: bool) {
        let Some(told) = self.held.get_mut(namespace) else { return };
        if is_told && !told.contains(&source) {
            told.push(source);
        }
        let concerned = self.waiting.iter_mut();
        for waiting in concerned.filter(|waiting| waiting.ask.request.namespace == *namespace) {
            waiting.on.retain(|other| *other != source);
        }
        let (done, stay) = self.waiting.drain(..).partition(|waiting| waiting.on.is_empty());
        self.waiting = stay;
        self.answer(done);
    }

    /// When somebody has waited long enough.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.waiting.iter().map(|waiting| waiting.until).min()
    }

    /// Answers those who have.
    pub(crate) fn on_time(&mut self, now: Instant) {
        let (late, stay) = self.waiting.drain(..).partition(|waiting| waiting.until <= now);
        self.waiting = stay;
        self.answer(late);
    }

    fn answer(&self, asks: Vec<Waiting>) {
        for Waiting { ask, .. } in asks {
            let namespace = &ask.request.namespace;
            let told = self.held.get(namespace).map_or(&[][..], Vec::as_slice);
            let answer = shown(namespace, told);
            ask.reply(Ok(answer));
        }
    }
}

fn shown(namespace: &Namespace, told: &[Source]) -> Announced {
    let infohash = data_encoding::HEXLOWER.encode(&infohash(namespace));
    Announced { namespace: namespace.clone(), infohash, sources: told.to_vec() }
}

#[cfg(test)]
mod tests {
    use peerage_api::discovery::DiscoveryError;
    use tokio::sync::oneshot;

    use super::*;

    type Answer = oneshot::Receiver<Result<Announced, DiscoveryError>>;

    fn chess() -> Namespace {
        Namespace::new("chess").unwrap()
    }

    fn announced(on: &[Source], now: Instant) -> (Announcing, Answer) {
        let mut announcing = Announcing::default();
        let (ask, answer) = Ask::new(Announce { namespace: chess() });
        announcing.hold(&chess());
        announcing.wait(ask, on.iter().copied(), now);
        (announcing, answer)
    }

    fn sources(mut answer: Answer) -> Vec<Source> {
        answer.try_recv().unwrap().unwrap().sources
    }

    #[test]
    fn an_announcement_is_answered_when_every_source_was_told_or_could_not_be() {
        let (mut announcing, mut answer) =
            announced(&[Source::Kad, Source::Mainline], Instant::now());
        announcing.on_told(&chess(), Source::Mainline, true);
        assert!(answer.try_recv().is_err(), "one is still to answer");
        announcing.on_told(&chess(), Source::Kad, false);
        assert_eq!(sources(answer), [Source::Mainline]);
    }

    #[test]
    fn an_announcement_that_nobody_hears_is_answered_all_the_same() {
        let now = Instant::now();
        let (mut announcing, mut answer) = announced(&[Source::Mainline], now);
        announcing.on_time(now + ANSWER_TIMEOUT / 2);
        assert!(answer.try_recv().is_err());
        assert_eq!(announcing.deadline(), Some(now + ANSWER_TIMEOUT));
        announcing.on_time(now + ANSWER_TIMEOUT);
        assert_eq!(sources(answer), []);
        assert_eq!(announcing.held().count(), 1, "it is still announced");
    }

    #[test]
    fn who_knows_it_already_is_not_waited_for() {
        let now = Instant::now();
        let (mut announcing, _first) = announced(&[Source::Kad, Source::Mainline], now);
        announcing.on_told(&chess(), Source::Mainline, true);
        announcing.on_told(&chess(), Source::Kad, true);
        let (ask, answer) = Ask::new(Announce { namespace: chess() });
        announcing.wait(ask, [Source::Mainline].into_iter(), now);
        assert_eq!(sources(answer), [Source::Mainline, Source::Kad]);
    }

    #[test]
    fn what_is_withdrawn_is_no_longer_waited_for() {
        let (mut announcing, answer) = announced(&[Source::Kad], Instant::now());
        assert!(announcing.release(&chess()) && !announcing.release(&chess()));
        assert_eq!(sources(answer), []);
        announcing.on_told(&chess(), Source::Kad, true);
        assert_eq!((announcing.held().count(), announcing.deadline()), (0, None));
    }
}
