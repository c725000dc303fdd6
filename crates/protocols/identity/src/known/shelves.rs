//! Texts of all users, side by side: a search reads memory from one end to the other.

use std::collections::BTreeSet;

use peerage_types::UserId;

use super::text::{FIELDS, Haystack};

/// Bytes of a shelf that is full; one text more or a longer one may still go onto it. Small enough
/// to be moved whenever a text is taken out, large enough to be read at the speed of memory.
const SHELF_BYTES: usize = 64 << 10;

/// Where the text of a user is.
pub(crate) type Place = u32;

/// The shelves.
#[derive(Debug, Default)]
pub(crate) struct Shelves {
    shelves: Vec<Shelf>,
    /// Those that are less than half full.
    roomy: BTreeSet<Place>,
}

/// Some texts, one behind the other.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    text: Vec<u8>,
    /// In the order of the texts.
    spans: Vec<Span>,
}

/// The text of one user.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) user: UserId,
    start: u32,
    /// Where each field ends, from `start` on.
    ends: [u16; FIELDS],
}

impl Shelves {
    /// Puts a text onto a shelf.
    pub(crate) fn add(&mut self, user: UserId, hay: &Haystack) -> Place {
        let place = self.roomy.last().copied().unwrap_or_else(|| {
            self.shelves.push(Shelf::default());
            index(self.shelves.len() - 1)
        });
        let shelf = &mut self.shelves[place as usize];
        shelf.spans.push(Span { user, start: index(shelf.text.len()), ends: hay.ends });
        shelf.text.extend_from_slice(hay.text.as_bytes());
        self.note(place);
        place
    }

    /// Puts another text in the place of one; it stays where it is if there is room.
    pub(crate) fn replace(&mut self, user: UserId, place: Place, hay: &Haystack) -> Place {
        let shelf = &mut self.shelves[place as usize];
        let Some(at) = shelf.position(user) else { return self.add(user, hay) };
        let (start, len) = (shelf.spans[at].start as usize, shelf.spans[at].len());
        if shelf.text.len() - len + hay.text.len() > 2 * SHELF_BYTES {
            self.remove(user, place);
            return self.add(user, hay);
        }
        shelf.text.splice(start..start + len, hay.text.bytes());
        shelf.spans[at].ends = hay.ends;
        shelf.settle(at);
        self.note(place);
        place
    }

    /// Takes a text away.
    pub(crate) fn remove(&mut self, user: UserId, place: Place) {
        let shelf = &mut self.shelves[place as usize];
        if let Some(at) = shelf.position(user) {
            let span = shelf.spans.remove(at);
            let start = span.start as usize;
            shelf.text.drain(start..start + span.len());
            shelf.settle(at);
        }
        self.note(place);
    }

    /// Some shelves from one on, and which is the next.
    pub(crate) fn part(&self, from: usize, count: usize) -> (&[Shelf], Option<usize>) {
        let end = (from + count).min(self.shelves.len());
        let next = Some(end).filter(|end| *end < self.shelves.len());
        (self.shelves.get(from..end).unwrap_or_default(), next)
    }

    fn note(&mut self, place: Place) {
        // Fewer shelves are begun than there are roomy ones to be filled first.
        match self.shelves[place as usize].text.len() {
            len if len >= SHELF_BYTES => _ = self.roomy.remove(&place),
            len if len < SHELF_BYTES / 2 => _ = self.roomy.insert(place),
            _ => {}
        }
    }
}

impl Shelf {
    pub(crate) fn text(&self) -> &[u8] {
        &self.text
    }

    pub(crate) fn spans(&self) -> &[Span] {
        &self.spans
    }

    fn position(&self, user: UserId) -> Option<usize> {
        self.spans.iter().position(|span| span.user == user)
    }

    /// Spans from one on begin where those before end.
    fn settle(&mut self, from: usize) {
        let before = from.checked_sub(1).map(|before| &self.spans[before]);
        let mut start = before.map_or(0, |span| span.start as usize + span.len());
        for span in &mut self.spans[from..] {
            span.start = index(start);
            start += span.len();
        }
    }
}

impl Span {
    fn len(&self) -> usize {
        self.ends[FIELDS - 1].into()
    }

    pub(crate) fn start(&self) -> usize {
        self.start as usize
    }

    pub(crate) fn end(&self) -> usize {
        self.start() + self.len()
    }

    /// Which field a byte is in.
    pub(crate) fn field(&self, at: usize) -> usize {
        let at = at - self.start();
        self.ends.iter().filter(|end| usize::from(**end) <= at).count()
    }

    /// Where a field begins.
    pub(crate) fn field_start(&self, field: usize) -> usize {
        let before = field.checked_sub(1).map_or(0, |before| self.ends[before].into());
        self.start() + before
    }
}

fn index(number: usize) -> u32 {
    u32::try_from(number).expect("fewer shelves than users, each far below 4 GiB")
}
