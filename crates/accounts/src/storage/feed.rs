//! Who follows a space, and what they are told once it is durable.

use std::collections::VecDeque;

use peerage_api::{
    Open, Sink,
    storage::{Event, StorageError, Watch},
};

/// Readers of one space; each has room for 256 events.
pub(crate) const MAX_READERS: usize = 64;

/// Tells readers of writes in the order of their revisions, whatever the order is in which their
/// callers learn that they are durable.
#[derive(Debug, Default)]
pub(crate) struct Feed {
    readers: Vec<(String, Sink<Event>)>,
    /// Writes on their way, oldest first. As many as calls may wait at a space.
    begun: VecDeque<Begun>,
    tickets: u64,
}

#[derive(Debug)]
struct Begun {
    ticket: u64,
    /// Whether it is durable, once that is known.
    outcome: Option<bool>,
    events: Vec<Event>,
}

impl Feed {
    /// Takes a reader, or refuses it when there are too many.
    pub(crate) fn join(&mut self, open: Open<Watch>) {
        self.readers.retain(|(_, sink)| !sink.is_closed());
        if self.readers.len() >= MAX_READERS {
            let max = MAX_READERS as u64;
            return open.refuse(StorageError::TooMany { what: "readers".into(), max });
        }
        let (request, sink) = open.accept();
        self.readers.push((request.prefix, sink));
    }

    pub(crate) fn has_readers(&self) -> bool {
        self.readers.iter().any(|(_, sink)| !sink.is_closed())
    }

    /// A write is on its way to the disk. Returns what [`Feed::settle`] is told about it; not its
    /// revision, which is used again after a failure.
    pub(crate) fn begin(&mut self, events: impl FnOnce() -> Vec<Event>) -> u64 {
        let events = if self.readers.is_empty() { Vec::new() } else { events() };
        self.tickets += 1;
        self.begun.push_back(Begun { ticket: self.tickets, outcome: None, events });
        self.tickets
    }

    /// A write is durable, or failed.
    pub(crate) fn settle(&mut self, ticket: u64, durable: bool) {
        if let Ok(at) = self.begun.binary_search_by_key(&ticket, |begun| begun.ticket) {
            self.begun[at].outcome = Some(durable);
        }
        while let Some(durable) = self.begun.front().and_then(|begun| begun.outcome) {
            let events = self.begun.pop_front().map(|begun| begun.events);
            if durable {
                events.into_iter().flatten().for_each(|event| self.tell(&event));
            }
        }
    }

    fn tell(&mut self, event: &Event) {
        let key = match event {
            Event::Put(entry) => &entry.key,
            Event::Deleted { key, .. } => key,
        };
        let wanted = |prefix: &String| key.starts_with(prefix.as_str());
        self.readers.retain(|(prefix, sink)| !wanted(prefix) || sink.offer(event.clone()));
    }

    /// Ends all readers.
    pub(crate) fn end(&mut self) {
        self.readers.clear();
    }
}

#[cfg(test)]
mod tests {
    use peerage_api::{Feeding, storage::Place, users::Auth};
    use peerage_types::{ServiceName, UserId};
    use tokio::sync::{mpsc, oneshot};

    use super::*;

    #[test]
    fn readers_hear_of_durable_writes_in_the_order_of_revisions() {
        let mut feed = Feed::default();
        let (mut items, _) = reader(&mut feed, "a");
        let mut begin =
            |revision, key: &str| feed.begin(|| vec![Event::Deleted { key: key.into(), revision }]);
        let tickets = [begin(1, "a1"), begin(2, "b"), begin(3, "a2"), begin(4, "a3")];
        feed.settle(tickets[3], true);
        feed.settle(tickets[2], false);
        assert!(items.try_recv().is_err(), "the first is not durable yet");
        feed.settle(tickets[1], true);
        feed.settle(tickets[0], true);
        for (expected, expected_key) in [(1, "a1"), (4, "a3")] {
            let Ok(Feeding::Item(Event::Deleted { key, revision })) = items.try_recv() else {
                panic!("{expected_key} is missing");
            };
            assert_eq!((revision, key.as_str()), (expected, expected_key));
        }
        assert!(items.try_recv().is_err());
        assert!(feed.begun.is_empty());
    }

    #[test]
    fn readers_are_bounded_and_gone_ones_make_room() {
        let mut feed = Feed::default();
        let mut all: Vec<_> = (0..MAX_READERS).map(|_| reader(&mut feed, "").0).collect();
        let too_many = Err(StorageError::TooMany { what: "readers".into(), max: 64 });
        assert_eq!(reader(&mut feed, "").1.try_recv(), Ok(too_many));
        all.pop();
        assert_eq!(reader(&mut feed, "").1.try_recv(), Ok(Ok(())));
        assert!(feed.has_readers());
        feed.end();
        assert!(!feed.has_readers());
        assert!(matches!(all[0].try_recv(), Err(mpsc::error::TryRecvError::Disconnected)));
    }

    type Granted = oneshot::Receiver<Result<(), StorageError>>;

    fn reader(feed: &mut Feed, prefix: &str) -> (mpsc::Receiver<Feeding<Event>>, Granted) {
        let auth = Auth { user: UserId([0; 32]), token: None };
        let place = Place { auth, service: ServiceName::new("s").unwrap() };
        let (open, granted, items) = Open::new(Watch { place, prefix: prefix.into() }, 8);
        feed.join(open);
        (items, granted)
    }
}
