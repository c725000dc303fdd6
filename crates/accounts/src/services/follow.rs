//! One feed of a service: which users are there for it.

use std::{collections::BTreeMap, sync::Arc};

use peerage_api::{Sink, services::Event};
use peerage_types::UserId;
use tokio::sync::watch;

/// The users that are logged in, with a number that is another each time one of them comes back.
pub(crate) type Present = BTreeMap<UserId, u64>;

/// Compares who is there with whom its service was told of. A slow service misses nothing: it is
/// told later, and of what still matters.
#[derive(Debug)]
pub(crate) struct Follower {
    present: watch::Receiver<Arc<Present>>,
    alive: watch::Receiver<()>,
    told: Arc<Present>,
}

impl Follower {
    pub(crate) fn new(present: watch::Receiver<Arc<Present>>, alive: watch::Receiver<()>) -> Self {
        Self { present, alive, told: Arc::default() }
    }

    /// Tells of users until the service is unregistered, the reader is gone or the node stops.
    pub(crate) async fn run(mut self, sink: Sink<Event>) {
        let mut alive = self.alive.clone();
        tokio::select! {
            () = self.tell_all(&sink) => {}
            () = sink.closed() => {}
            // Nothing is ever sent: it ends.
            _ = alive.changed() => {}
        }
    }

    async fn tell_all(&mut self, sink: &Sink<Event>) {
        loop {
            let now = Arc::clone(&self.present.borrow_and_update());
            for event in news(&self.told, &now) {
                if !sink.put(event).await {
                    return;
                }
            }
            self.told = now;
            if self.present.changed().await.is_err() {
                return;
            }
        }
    }
}

/// Who has gone, and who has come; somebody who has come back in between, both.
fn news(told: &Present, now: &Present) -> Vec<Event> {
    let only = |these: &Present, those: &Present| -> Vec<UserId> {
        let differs = |(user, opening): &(&UserId, &u64)| those.get(user) != Some(opening);
        these.iter().filter(differs).map(|(user, _)| *user).collect()
    };
    let closed = only(told, now).into_iter().map(|user| Event::Closed { user });
    let opened = only(now, told).into_iter().map(|user| Event::Opened { user });
    closed.chain(opened).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_who_has_come_back_unseen_is_closed_and_opened_again() {
        let [alice, bob, eve] = [1, 2, 3].map(|id| UserId([id; 32]));
        let told = Present::from([(alice, 1), (bob, 2)]);
        let now = Present::from([(alice, 1), (bob, 4), (eve, 3)]);
        let expected =
            [Event::Closed { user: bob }, Event::Opened { user: bob }, Event::Opened { user: eve }];
        assert_eq!(news(&told, &now), expected);
        assert_eq!(news(&now, &now), []);
        assert_eq!(news(&told, &Present::new()).len(), 2);
    }
}
