//! How long a command waits for the other side, as opposed to the content.

use std::time::Duration;

use peerage_api::{
    files::{Direction, State, Transfer},
    types::TransferId,
};
use tokio::time::Instant;

use super::with;
use crate::failed::{Exit, Failed};

/// The node gives up on a peer after as long as `--timeout` is by default, and its reason says more.
const GRACE: Duration = Duration::from_secs(1);

/// Watches how long the other side takes to be reached, and then to answer: each may take as long
/// as `--timeout` says. Once bytes have flowed the transfer takes what it takes: the node itself
/// deals with what breaks.
#[derive(Debug)]
pub(super) struct Patience {
    limit: Option<Duration>,
    flowed: bool,
    waiting: Option<(State, Instant)>,
}

impl Patience {
    /// Without a limit it never runs out.
    pub(super) fn new(limit: Option<Duration>) -> Self {
        Self { limit, flowed: false, waiting: None }
    }

    pub(super) fn on_state(&mut self, state: State, now: Instant) {
        self.flowed |= state == State::Running;
        let for_them = matches!(state, State::Connecting | State::AwaitingDirect | State::Offered);
        match self.waiting {
            Some((since, _)) if since == state => {}
            _ => {
                let limit = self.limit.filter(|_| for_them && !self.flowed);
                self.waiting = limit.map(|limit| (state, now + limit + GRACE));
            }
        }
    }

    /// Ends when it has run out.
    pub(super) async fn ends(&self) {
        match self.waiting {
            Some((_, end)) => tokio::time::sleep_until(end).await,
            None => std::future::pending().await,
        }
    }

    /// What to say then.
    pub(super) fn ended(&self, now: Option<&Transfer>, id: TransferId) -> Failed {
        let seconds = self.limit.unwrap_or_default().as_secs_f64();
        let peer = now.map_or_else(|| "the peer".to_owned(), with);
        let problem = match self.waiting {
            Some((State::Offered, _)) => format!("{peer} has not answered within {seconds} s"),
            Some((State::AwaitingDirect, _)) => format!(
                "no direct path to {peer} was found within {seconds} s, and relays are not for \
                 files unless `peerage up --allow-relay` says so"
            ),
            _ if now.is_some_and(|now| now.direction == Direction::Receive) => {
                format!("nobody who has it could be reached within {seconds} s")
            }
            _ => format!("{peer} could not be reached within {seconds} s"),
        };
        let goes_on = match self.waiting {
            Some((State::Connecting, _)) => {
                "the node tries for up to half a minute in all, with --no-wait for a day"
            }
            _ => "it goes on in the background",
        };
        let message = format!(
            "{problem}; {goes_on}: see `peerage transfers watch {id}`, end it with `peerage \
             transfers cancel {id}`, or wait longer with --timeout SECONDS"
        );
        Failed::new(Exit::TimedOut, "timed_out", message).about("transfer", id.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_is_for_reaching_and_for_answering_and_not_for_the_content() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut patience = Patience::new(Some(30 * second));
        let mut ends = |state, after: u32| {
            patience.on_state(state, start + after * second);
            patience.waiting.map(|(_, end)| (end - start).as_secs())
        };
        assert_eq!(ends(State::Preparing, 0), None);
        assert_eq!(ends(State::Connecting, 5), Some(36));
        assert_eq!(ends(State::Connecting, 9), Some(36));
        assert_eq!(ends(State::Offered, 20), Some(51));
        assert_eq!(ends(State::PausedByPeer, 21), None);
        assert_eq!(ends(State::Running, 22), None);
        assert_eq!(ends(State::Connecting, 60), None);
        let mut endless = Patience::new(None);
        endless.on_state(State::Connecting, start);
        assert!(endless.waiting.is_none());
    }
}
