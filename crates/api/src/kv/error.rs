//! How a question to the facet `kv` fails.

use peerage_types::{Expected, KvKey, PeerId, Space, UnixMillis};
use serde::{Deserialize, Serialize};

use super::{Denial, Refused};
use crate::{Failure, LinkError, users::AuthError};

/// How a question to this facet fails.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum KvError {
    /// Nothing under the key.
    #[error("there is no key {key:?} in {}", named(space))]
    NotFound {
        /// Where.
        space: Space,
        /// The key.
        key: KvKey,
    },
    /// The entry is not what was expected.
    #[error("{key:?} is at revision {found}, not {expected}; read it again")]
    Conflict {
        /// The key.
        key: KvKey,
        /// What was expected.
        expected: Expected,
        /// What is there.
        found: Expected,
    },
    /// This node has not joined the space.
    #[error("this node has no space {space}; `peerage kv space ls` lists them, `join` joins one")]
    NoSuchSpace {
        /// Which.
        space: Space,
    },
    /// Not allowed to do that in the space.
    #[error("no grant to {what} in {}; ask its owner for `peerage kv space grant`", named(space))]
    NoGrant {
        /// Where.
        space: Space,
        /// What, such as `write "a/b"`.
        what: String,
    },
    /// What allowed that in the space was taken back. What was written before can still be read here.
    #[error(
        "access to {what} in {} was taken back; what was there before can still be read here; ask \
         its owner for `peerage kv space grant`",
        named(space)
    )]
    Revoked {
        /// Where.
        space: Space,
        /// What, such as `write "a/b"`.
        what: String,
        /// When.
        at_ms: UnixMillis,
    },
    /// There is no such grant.
    #[error("there is no grant {id} in {}; `peerage kv space show` lists them", named(space))]
    NoSuchGrant {
        /// Where.
        space: Space,
        /// Its id.
        id: String,
    },
    /// The grant was revoked before.
    #[error("the grant {id} in {} was revoked before; it is valid no longer", named(space))]
    AlreadyRevoked {
        /// Where.
        space: Space,
        /// Its id.
        id: String,
        /// When.
        at_ms: UnixMillis,
    },
    /// The ticket cannot be read, or cannot be used any more.
    #[error("the ticket cannot be used: {reason}; ask for a new one")]
    BadTicket {
        /// What is wrong with it.
        reason: String,
    },
    /// A key, a value or a batch is too large.
    #[error("{what} has {bytes} bytes; the most is {max}")]
    TooLarge {
        /// What.
        what: String,
        /// How large.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// A field is not as it must be.
    #[error("{field} {reason}")]
    BadField {
        /// Which one.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// More would be stored than a space, or one author in it, may have.
    #[error("{}", over(space, what, *max))]
    Quota {
        /// Where.
        space: Space,
        /// Of what: `entries`, `bytes`, or one of these `of one author`, who may have half of them.
        what: String,
        /// The limit.
        max: u64,
    },
    /// A limit is reached.
    #[error("too many {what}; the most is {max}")]
    TooMany {
        /// Of what.
        what: String,
        /// The limit.
        max: u64,
    },
    /// The sequence number has not been reached yet: it is another node's, or of a lost store.
    #[error("this node is at sequence number {seq}, not at {from}; watch from an earlier one")]
    Ahead {
        /// What was asked for.
        from: u64,
        /// The last one there is.
        seq: u64,
    },
    /// The clock of this machine is behind what is already stored by more than may be.
    #[error("the clock of this machine is {seconds} s behind that of its peers; set it")]
    Clock {
        /// By how much.
        seconds: u64,
    },
    /// The peer is not connected, or does not speak the protocol.
    #[error("{peer} is not connected or has no key-value store; `peerage connect` connects it")]
    NotConnected {
        /// Who.
        peer: PeerId,
    },
    /// The other side has refused.
    #[error("{peer} has refused: {reason}{}", remedy(*why))]
    Refused {
        /// Who.
        peer: PeerId,
        /// Why.
        reason: String,
        /// The same for scripts.
        #[serde(default)]
        why: Option<Denial>,
    },
    /// No connected peer has synchronised the space: those that have it have refused.
    #[error("no connected peer serves {}: {}", named(space), told(refusals, *count))]
    RefusedByAll {
        /// Which.
        space: Space,
        /// Who has refused, and why; up to [`MAX_TOLD`](KvError::MAX_TOLD) of them.
        refusals: Vec<Refused>,
        /// How many there were.
        count: u64,
    },
    /// A session broke off.
    #[error("the session with {peer} broke off: {reason}; it is tried again by itself")]
    Failed {
        /// With whom.
        peer: PeerId,
        /// Why.
        reason: String,
    },
    /// The store takes no more for the moment.
    #[error("the store is busy; try again")]
    Busy,
    /// The change could not be saved; nothing has changed.
    #[error("the change was not saved: {reason}")]
    Store {
        /// What the store said.
        reason: String,
    },
    /// The user may not be acted for.
    #[error(transparent)]
    #[serde(untagged)]
    Auth(#[from] AuthError),
    /// The node could not be asked.
    #[error(transparent)]
    #[serde(untagged)]
    Link(#[from] LinkError),
}

impl KvError {
    /// Refusals that [`KvError::RefusedByAll`] tells one by one.
    pub const MAX_TOLD: usize = 8;
}

/// What can be done about a refusal, behind its reason.
fn remedy(why: Option<Denial>) -> &'static str {
    match why {
        Some(Denial::NoGrant) => "; ask its owner for `peerage kv space grant`",
        Some(Denial::Clock) => "; compare them with a time server",
        Some(Denial::NoSuchSpace | Denial::Busy) | None => "",
    }
}

fn told(refusals: &[Refused], count: u64) -> String {
    let one = |refused: &Refused| format!("{} has refused: {}", refused.peer, refused.why);
    let mut parts: Vec<_> = refusals.iter().map(one).collect();
    let more = count.saturating_sub(refusals.len() as u64);
    parts.extend((more > 0).then(|| format!("{more} more have refused")));
    let is_ungranted = refusals.iter().any(|refused| refused.why == Denial::NoGrant);
    let why = if is_ungranted { Some(Denial::NoGrant) } else { refusals.first().map(|it| it.why) };
    format!("{}{}", parts.join(", "), remedy(why))
}

fn named(space: &Space) -> String {
    match space {
        Space::Default => "the default space".into(),
        Space::Owned(id) => id.to_string(),
    }
}

/// Which limit it is, and how it is raised: deleting frees no entry before 30 days are over.
fn over(space: &Space, what: &str, max: u64) -> String {
    let is_share = what.ends_with("of one author");
    let (unit, counted) = match what.starts_with("bytes") {
        true => ("bytes", ""),
        false => ("entries", ", those deleted in the last 30 days included"),
    };
    let whole = if is_share { max.saturating_mul(2) } else { max };
    let share = if is_share { format!(", half of all {whole}") } else { String::new() };
    let (space, raised) = (named(space), whole.saturating_mul(2));
    format!(
        "{space} may hold {max} {what}{share}{counted}; raise the limit of this node with `peerage \
         up --max-space-{unit} {raised}`, or `max_space_{unit} = {raised}` under [kv] in its \
         configuration"
    )
}

impl Failure for KvError {
    fn is_retryable(&self) -> bool {
        match self {
            Self::Link(link) => link.is_retryable(),
            Self::Store { .. } | Self::Busy | Self::NotConnected { .. } | Self::Failed { .. } => {
                true
            }
            Self::NotFound { .. } | Self::Conflict { .. } | Self::NoSuchSpace { .. } => false,
            Self::NoGrant { .. } | Self::NoSuchGrant { .. } | Self::BadTicket { .. } => false,
            Self::Revoked { .. } | Self::AlreadyRevoked { .. } => false,
            Self::TooLarge { .. } | Self::BadField { .. } | Self::Quota { .. } => false,
            Self::TooMany { .. } | Self::Ahead { .. } | Self::Clock { .. } => false,
            Self::Refused { .. } | Self::RefusedByAll { .. } | Self::Auth(_) => false,
        }
    }

    fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Refused { .. }
                | Self::RefusedByAll { .. }
                | Self::NoGrant { .. }
                | Self::Revoked { .. }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_told_with_the_option_that_raises_it() {
        let of = |what: &str| {
            KvError::Quota { space: Space::Default, what: what.into(), max: 500 }.to_string()
        };
        assert_eq!(
            of("bytes of one author"),
            "the default space may hold 500 bytes of one author, half of all 1000; raise the limit \
             of this node with `peerage up --max-space-bytes 2000`, or `max_space_bytes = 2000` \
             under [kv] in its configuration"
        );
        let entries = of("entries");
        for part in
            ["500 entries, those deleted", "--max-space-entries 1000", "max_space_entries ="]
        {
            assert!(entries.contains(part), "no {part}: {entries}");
        }
        assert!(!entries.contains("half"), "{entries}");
    }
}
