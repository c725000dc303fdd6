//! Watching all transfers at once.

use std::collections::HashMap;

use peerage_api::{
    files::{Event, Files, Transfer},
    types::TransferId,
};

use super::{
    super::{Context, Until},
    follow::progressed,
    screen, show,
};
use crate::{
    failed::Failed,
    output::{Bar, Bars, Output},
};

/// Until ctrl-C, or as `until` says.
pub(super) async fn all(context: Context<'_>, files: &Files, until: Until) -> Result<(), Failed> {
    let mut feed = context.within("no answer", files.events(None)).await?;
    context.out.note("watching; end with ctrl-C");
    let mut rows = Rows { out: context.out, bars: None, known: HashMap::new() };
    if screen::bars(context) {
        rows.bars = Some(Bars::default());
    }
    until.each(context.out, &mut feed, async |event| rows.on_event(event)).await
}

/// What is on the screen.
struct Rows {
    out: Output,
    bars: Option<Bars>,
    /// Those that are not over.
    known: HashMap<TransferId, Row>,
}

struct Row {
    transfer: Transfer,
    bar: Option<Bar>,
}

impl Rows {
    fn on_event(&mut self, event: &Event) -> Result<(), Failed> {
        if self.out.json {
            return screen::event_line(self.out, event);
        }
        match event {
            Event::State { transfer } => self.on_state(transfer),
            Event::Progress { transfer, .. } => self.on_progress(*transfer, event),
            Event::Hashing { .. } => Ok(()),
        }
    }

    fn on_state(&mut self, transfer: &Transfer) -> Result<(), Failed> {
        let id = transfer.transfer;
        let before = self.known.get(&id).map(|row| row.transfer.state);
        let is_news = before != Some(transfer.state);
        if transfer.state.is_over() {
            self.known.remove(&id);
        } else {
            let row = self.known.entry(id).or_insert_with(|| Row {
                transfer: transfer.clone(),
                bar: self.bars.as_ref().map(Bars::add),
            });
            row.transfer = transfer.clone();
            row.draw();
        }
        match &self.bars {
            Some(bars) if transfer.state.is_over() => {
                bars.note(&show::words(transfer));
                Ok(())
            }
            None if is_news => self.out.text(&format!("{id} {}", show::words(transfer))),
            _ => Ok(()),
        }
    }

    fn on_progress(&mut self, id: TransferId, event: &Event) -> Result<(), Failed> {
        if let Some(row) = self.known.get_mut(&id) {
            progressed(&mut row.transfer, event);
            row.draw();
        }
        Ok(())
    }
}

impl Row {
    fn draw(&mut self) {
        if let Some(bar) = &mut self.bar {
            screen::draw(bar, &self.transfer);
        }
    }
}
