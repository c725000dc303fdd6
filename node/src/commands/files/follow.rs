//! Watching one transfer until it is over.

use std::time::Duration;

use peerage_api::{
    Feeding, Stream,
    files::{Event, Files, Transfer},
    types::TransferId,
};
use tokio::time::Instant;

use super::{
    super::{Context, daemon_left, missed},
    done,
    patience::Patience,
    screen::Screen,
};
use crate::{
    failed::{Exit, Failed},
    signals,
};

/// Follows a transfer that was begun, or is about to be.
#[derive(Debug)]
pub(super) struct Follow<'a> {
    context: Context<'a>,
    files: Files,
    id: TransferId,
    feed: Stream<Event>,
    screen: Screen,
    patience: Patience,
    /// What it is called until the node says so.
    name: String,
    now: Option<Transfer>,
}

impl<'a> Follow<'a> {
    /// Begins to listen, so that nothing of what follows is missed.
    pub(super) async fn new(
        context: Context<'a>,
        files: &Files,
        id: TransferId,
        events: bool,
    ) -> Result<Self, Failed> {
        let feed = context.within("no answer", files.events(Some(id))).await?;
        let (files, screen) = (files.clone(), Screen::new(context, events));
        let patience = Patience::new(None);
        Ok(Self { context, files, id, feed, screen, patience, name: String::new(), now: None })
    }

    /// The other side may take so long to be reached, and then to answer.
    pub(super) fn patient(mut self, limit: Duration) -> Self {
        self.patience = Patience::new(Some(limit));
        self
    }

    /// What to call it while nothing is known of it.
    pub(super) fn named(mut self, name: String) -> Self {
        self.name = name;
        self
    }

    /// Shows what happens until the transfer is over, and then how it ended.
    pub(super) async fn until_over(mut self) -> Result<(), Failed> {
        let outcome = self.watch().await;
        self.screen.clear();
        let over = outcome?;
        match done::failure(&over) {
            None => done::tell(self.context, &over),
            Some(failed) => Err(failed),
        }
    }

    /// Shows what happens while `work` goes on; what that came to.
    pub(super) async fn during<T>(
        &mut self,
        work: impl Future<Output = Result<T, Failed>>,
    ) -> Result<T, Failed> {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                outcome = &mut work => {
                    self.screen.clear();
                    return outcome;
                }
                step = self.feed.next() => match step {
                    Some(Feeding::Item(event)) => self.on_event(&event)?,
                    Some(Feeding::Lagged(_)) => {}
                    None => return work.await,
                },
            }
        }
    }

    /// Until it is over.
    async fn watch(&mut self) -> Result<Transfer, Failed> {
        let mut interrupted = std::pin::pin!(signals::interrupt());
        loop {
            if let Some(over) = self.now.as_ref().filter(|now| now.state.is_over()) {
                return Ok(over.clone());
            }
            tokio::select! {
                biased;
                interrupt = &mut interrupted => {
                    interrupt?;
                    return Err(self.left());
                }
                step = self.feed.next() => match step {
                    Some(Feeding::Item(event)) => self.on_event(&event)?,
                    Some(Feeding::Lagged(lagged)) => self.catch_up(lagged).await?,
                    None => return Err(self.alone()),
                },
                () = self.patience.ends() => {
                    return Err(self.patience.ended(self.now.as_ref(), self.id));
                }
            }
        }
    }

    fn on_event(&mut self, event: &Event) -> Result<(), Failed> {
        match event {
            Event::State { transfer } => {
                self.patience.on_state(transfer.state, Instant::now());
                self.now = Some((**transfer).clone());
            }
            Event::Progress { .. } => {
                if let Some(now) = &mut self.now {
                    progressed(now, event);
                }
            }
            Event::Hashing { .. } => {}
        }
        let name = self.now.as_ref().map_or(self.name.as_str(), |now| now.name.as_str());
        self.screen.show(event, self.now.as_ref(), name)
    }

    /// Asks how it stands after events were lost.
    async fn catch_up(&mut self, lagged: u64) -> Result<(), Failed> {
        if let Screen::Events(out) = self.screen {
            missed(out, lagged)?;
        }
        let now = self.context.within("no answer", self.files.transfer(self.id)).await?;
        self.on_event(&Event::State { transfer: Box::new(now) })
    }

    /// The daemon has gone, the transfer has not.
    fn alone(&self) -> Failed {
        let failed = daemon_left().advise("the transfer goes on when it runs again");
        failed.about("transfer", self.id.to_string())
    }

    /// Ctrl-C ends the watching and not the transfer.
    fn left(&self) -> Failed {
        self.screen.clear();
        let (id, out) = (self.id, self.context.out);
        out.note(format_args!(
            "it goes on in the background:\n  \
             peerage transfers watch {id}    to see how\n  \
             peerage transfers cancel {id}   to end it"
        ));
        Failed::Reported(Exit::Interrupted)
    }
}

/// Brings `transfer` to what a progress event says.
pub(super) fn progressed(transfer: &mut Transfer, event: &Event) {
    if let Event::Progress { bytes, total, rate_bps, eta_s, path, providers, .. } = event {
        transfer.done_bytes = *bytes;
        transfer.bytes = *total;
        transfer.rate_bps = *rate_bps;
        transfer.eta_s = *eta_s;
        transfer.path = *path;
        transfer.providers = *providers;
    }
}
