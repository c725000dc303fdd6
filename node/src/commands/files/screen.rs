//! Where the steps of a transfer are shown: lines of JSON, a bar, or messages.

use std::io::IsTerminal;

use peerage_api::{
    files::{Event, State, Transfer},
    types::TransferId,
};
use serde::Serialize;

use super::{super::Context, show};
use crate::{
    failed::Failed,
    output::{Bar, Output, bytes, printable},
};

/// A progress line of the contract.
#[derive(Debug, Serialize)]
struct Progress {
    event: &'static str,
    transfer: TransferId,
    bytes: u64,
    total: u64,
    rate_bps: u64,
    eta_s: Option<u64>,
}

/// Shows one transfer as it goes.
#[derive(Debug)]
pub(super) enum Screen {
    /// Lines of JSON on stdout.
    Events(Output),
    /// A bar on stderr.
    Bar(Bar),
    /// A message on stderr when it stands differently.
    Notes(Output, Option<State>),
}

/// Whether bars are wanted and seen.
pub(super) fn bars(context: Context<'_>) -> bool {
    let unwanted = context.out.json || context.out.quiet || context.global.no_progress;
    !unwanted && std::io::stderr().is_terminal()
}

/// A line of JSON about an event; what moves is told in the shape of the contract.
pub(super) fn event_line(out: Output, event: &Event) -> Result<(), Failed> {
    match *event {
        Event::Progress { transfer, bytes, total, rate_bps, eta_s, .. } => {
            let event = "progress";
            out.line(&Progress { event, transfer, bytes, total, rate_bps, eta_s })
        }
        Event::State { .. } | Event::Hashing { .. } => out.line(event),
    }
}

impl Screen {
    pub(super) fn new(context: Context<'_>, events: bool) -> Self {
        match (events, bars(context)) {
            (true, _) => Self::Events(context.out),
            (false, true) => Self::Bar(Bar::alone()),
            (false, false) => Self::Notes(context.out, None),
        }
    }

    /// Shows an event; `now` is how the transfer stands after it, `name` what it is called.
    pub(super) fn show(
        &mut self,
        event: &Event,
        now: Option<&Transfer>,
        name: &str,
    ) -> Result<(), Failed> {
        match (self, event, now) {
            (Self::Events(out), event, _) => return event_line(*out, event),
            (Self::Bar(bar), Event::Hashing { bytes, total, .. }, _) => {
                hashing(bar, name, *bytes, *total);
            }
            (Self::Bar(bar), _, Some(now)) => draw(bar, now),
            (Self::Notes(out, last), Event::State { transfer }, _) => {
                note(*out, last, transfer);
            }
            (Self::Bar(_) | Self::Notes(..), _, _) => {}
        }
        Ok(())
    }

    /// Makes room for what is printed next.
    pub(super) fn clear(&self) {
        if let Self::Bar(bar) = self {
            bar.clear();
        }
    }
}

fn hashing(bar: &mut Bar, name: &str, done: u64, total: u64) {
    let text = format!("{} of {} hashed", bytes(done), bytes(total));
    bar.moving(&printable(name), done, total, text);
}

/// Brings a bar to how a transfer stands.
pub(super) fn draw(bar: &mut Bar, now: &Transfer) {
    match now.state {
        State::Running => {
            let name = printable(&now.name);
            bar.moving(&name, now.done_bytes, now.bytes, show::moving(now));
        }
        // The bar of hashing stays until there is something else to show.
        State::Preparing => {}
        _ => bar.waiting(show::words(now)),
    }
}

fn note(out: Output, last: &mut Option<State>, now: &Transfer) {
    let is_news = last.replace(now.state) != Some(now.state);
    if is_news && !now.state.is_over() && now.state != State::Preparing {
        out.note(show::words(now));
    }
}
