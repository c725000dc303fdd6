//! What a side says of itself.

use super::{flags, number, take};

const CURSOR: u8 = 1;
const STATE: u8 = 2;
const PARTIAL: u8 = 1;

/// How far a feed was taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// Which feed.
    pub epoch: u64,
    /// Up to which change.
    pub seq: u64,
}

/// What a side has, as the other may see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// The other may see some prefixes only.
    pub partial: bool,
    /// Names its feed.
    pub epoch: u64,
    /// When it was last found equal with another replica, in ms; 0: never.
    pub as_of: u64,
    /// The last change in its feed.
    pub head: u64,
    /// Entries, deleted ones included.
    pub count: u64,
    /// Of the count and the sum of their fingerprints.
    pub digest: [u8; 16],
}

/// What a side says of itself at the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Up to when it has forgotten what was deleted, in ms.
    pub floor: u64,
    /// Of all grants and revocations that it knows; zeros: it is the default space.
    pub grants: [u8; 8],
    /// How far it has taken over the other's feed.
    pub cursor: Option<Cursor>,
    /// What it has; nothing as long as it does not know that the other may read.
    pub state: Option<State>,
}

/// Why there is no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[repr(u8)]
pub enum Reason {
    /// It does not have the space, or does not tell.
    #[error("it does not have the space")]
    NoSuchSpace = 1,
    /// The other side may not read any of it.
    #[error("there is no grant to read the space")]
    NoGrant = 2,
    /// The clocks are too far apart.
    #[error("the clocks of the two are too far apart")]
    Clock = 3,
    /// Not now.
    #[error("it is busy")]
    Busy = 4,
}

impl Reason {
    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::NoSuchSpace,
            2 => Self::NoGrant,
            3 => Self::Clock,
            4 => Self::Busy,
            _ => return None,
        })
    }
}

impl State {
    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.push(u8::from(self.partial) * PARTIAL);
        let numbers = [self.epoch, self.as_of, self.head, self.count];
        bytes.extend(numbers.iter().flat_map(|n| n.to_be_bytes()));
        bytes.extend(self.digest);
    }

    pub(super) fn decode(body: &mut &[u8]) -> Option<Self> {
        let partial = flags(body, PARTIAL)? == PARTIAL;
        let (epoch, as_of) = (number(body)?, number(body)?);
        let (head, count) = (number(body)?, number(body)?);
        Some(Self { partial, epoch, as_of, head, count, digest: take(body)? })
    }
}

impl Facts {
    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        let cursor = u8::from(self.cursor.is_some()) * CURSOR;
        bytes.push(cursor | (u8::from(self.state.is_some()) * STATE));
        bytes.extend(self.floor.to_be_bytes());
        bytes.extend(self.grants);
        if let Some(Cursor { epoch, seq }) = self.cursor {
            bytes.extend([epoch, seq].iter().flat_map(|n| n.to_be_bytes()));
        }
        self.state.iter().for_each(|state| state.encode(bytes));
    }

    pub(super) fn decode(body: &mut &[u8]) -> Option<Self> {
        let flags = flags(body, CURSOR | STATE)?;
        let (floor, grants) = (number(body)?, take(body)?);
        let cursor = match flags & CURSOR {
            0 => None,
            _ => Some(Cursor { epoch: number(body)?, seq: number(body)? }),
        };
        let state = if flags & STATE == 0 { None } else { Some(State::decode(body)?) };
        Some(Self { floor, grants, cursor, state })
    }
}
