//! Bars on stderr, for people who look at a terminal.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// Several bars below each other.
#[derive(Debug, Default)]
pub(crate) struct Bars {
    all: MultiProgress,
}

impl Bars {
    /// One more bar at the end; it shows nothing yet.
    pub(crate) fn add(&self) -> Bar {
        Bar::new(self.all.add(ProgressBar::new(0)))
    }

    /// A line above the bars.
    pub(crate) fn note(&self, text: &str) {
        // Nobody is left to tell when stderr is gone.
        let _ = self.all.println(text);
    }
}

/// One line that changes: how far something is, or what it waits for.
#[derive(Debug)]
pub(crate) struct Bar {
    bar: ProgressBar,
    look: Look,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    Nothing,
    Waiting,
    Moving,
}

impl Bar {
    /// A bar of its own.
    pub(crate) fn alone() -> Self {
        Self::new(ProgressBar::new(0))
    }

    fn new(bar: ProgressBar) -> Self {
        Self { bar, look: Look::Nothing }
    }

    /// `name [====>   ]  34 %  text`
    pub(crate) fn moving(&mut self, name: &str, done: u64, total: u64, text: String) {
        if self.look != Look::Moving {
            self.look = Look::Moving;
            self.bar.disable_steady_tick();
            let width = if is_wide() { 24 } else { 10 };
            let template = format!("{{prefix}}  [{{bar:{width}}}] {{percent:>3}} %  {{wide_msg}}");
            self.bar.set_style(style(&template).progress_chars("=> "));
        }
        self.bar.set_prefix(short(name, NAME_WIDTH));
        self.bar.set_length(total.max(1));
        // Of nothing at all, everything is there.
        self.bar.set_position(if total == 0 { 1 } else { done });
        self.bar.set_message(text);
    }

    /// `⠋ text`, turning.
    pub(crate) fn waiting(&mut self, text: String) {
        if self.look != Look::Waiting {
            self.look = Look::Waiting;
            self.bar.set_style(style("{spinner} {wide_msg}"));
            self.bar.enable_steady_tick(TICK);
        }
        self.bar.set_message(text);
    }

    /// Leaves nothing of it on the screen.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Whether there is room for a long bar.
fn is_wide() -> bool {
    rustix::termios::tcgetwinsize(std::io::stderr()).is_ok_and(|size| size.ws_col >= 100)
}

const TICK: Duration = Duration::from_millis(120);

/// Characters of a name in a bar.
const NAME_WIDTH: usize = 24;

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates of this file are well-formed")
}

/// At most `width` characters; the end tells most about a file, so the middle goes.
pub(crate) fn short(text: &str, width: usize) -> String {
    let count = text.chars().count();
    if count <= width {
        return text.to_owned();
    }
    let (head, tail) = (width.div_ceil(2), width / 2 - 1);
    let head: String = text.chars().take(head).collect();
    let tail: String = text.chars().skip(count - tail).collect();
    format!("{head}…{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_keeps_its_beginning_and_its_end() {
        assert_eq!(short("report.pdf", 28), "report.pdf");
        assert_eq!(short("äbcdefghijklmnop.tar.gz", 12), "äbcdef…ar.gz");
        assert_eq!(short("abcdefghijklmnop", 7).chars().count(), 7);
    }
}
