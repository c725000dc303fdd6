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
            let bar = match columns() {
                100.. => "[{bar:24}] ",
                76.. => "[{bar:10}] ",
                // What is told of it counts more.
                _ => "",
            };
            let template = format!("{{prefix}}  {bar}{{percent:>3}} %  {{wide_msg}}");
            self.bar.set_style(style(&template).progress_chars("=> "));
        }
        // Each of these may draw, and a bar without a length is a full one: so that comes first. Of
        // nothing at all, everything is there.
        self.bar.set_length(total.max(1));
        self.bar.set_position(if total == 0 { 1 } else { done });
        self.bar.set_prefix(short(name, if columns() < 76 { NARROW_NAME } else { NAME_WIDTH }));
        self.bar.set_message(text);
        // The first of these may have been drawn beside the text of before.
        self.bar.force_draw();
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

/// How wide the screen is; 80 if it does not say.
fn columns() -> u16 {
    let size = rustix::termios::tcgetwinsize(std::io::stderr()).map_or(0, |size| size.ws_col);
    if size == 0 { 80 } else { size }
}

const TICK: Duration = Duration::from_millis(120);

/// Characters of a name in a bar.
const NAME_WIDTH: usize = 24;
/// The same on a narrow screen.
const NARROW_NAME: usize = 12;

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
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use indicatif::{ProgressDrawTarget, TermLike};

    use super::*;

    /// A screen that remembers what was written to it.
    #[derive(Debug, Clone, Default)]
    struct Screen(Arc<Mutex<String>>);

    impl TermLike for Screen {
        fn width(&self) -> u16 {
            80
        }

        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write_str(text)
        }

        fn write_str(&self, text: &str) -> io::Result<()> {
            self.0.lock().unwrap().push_str(text);
            Ok(())
        }

        fn clear_line(&self) -> io::Result<()> {
            Ok(())
        }

        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_bar_begins_where_the_work_does() {
        let screen = Screen::default();
        let target = ProgressDrawTarget::term_like(Box::new(screen.clone()));
        let mut bar = Bar::new(ProgressBar::with_draw_target(Some(0), target));
        bar.moving("import", 0, 1000, "0 entries".into());
        bar.moving("import", 340, 1000, "9 entries".into());
        let shown = screen.0.lock().unwrap().clone();
        assert!(shown.contains("import") && shown.contains(" 0 %"), "{shown}");
        assert!(!shown.contains("100 %"), "{shown}");
    }

    #[test]
    fn a_long_name_keeps_its_beginning_and_its_end() {
        assert_eq!(short("report.pdf", 28), "report.pdf");
        assert_eq!(short("äbcdefghijklmnop.tar.gz", 12), "äbcdef…ar.gz");
        assert_eq!(short("abcdefghijklmnop", 7).chars().count(), 7);
    }
}
