//! Transfers and shares as they are named on the command line.

use peerage_api::{
    files::{Files, Share, Shared, Transfer},
    types::TransferId,
};

use super::{super::Context, show};
use crate::{
    failed::{Exit, Failed},
    output::printable,
};

/// A transfer by its id, or by how that begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Named {
    Whole(TransferId),
    Begins(String),
}

/// Digits that an abbreviated id has at least.
const MIN_DIGITS: usize = 4;

/// Candidates that an error lists.
const MAX_CANDIDATES: usize = 10;

impl Named {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if let Ok(id) = text.parse() {
            return Ok(Self::Whole(id));
        }
        match is_prefix(text) {
            true => Ok(Self::Begins(text.to_ascii_lowercase())),
            false => Err(format!(
                "expected the id of a transfer, or its first {MIN_DIGITS} or more digits"
            )),
        }
    }

    /// The one transfer that is meant.
    pub(super) async fn find(
        &self,
        context: Context<'_>,
        files: &Files,
    ) -> Result<TransferId, Failed> {
        match self {
            Self::Whole(id) => Ok(*id),
            Self::Begins(prefix) => {
                let known = context.within("no answer", files.transfers()).await?;
                transfer(prefix, &known)
            }
        }
    }
}

fn is_prefix(text: &str) -> bool {
    let hex = text.bytes().all(|digit| digit.is_ascii_hexdigit());
    hex && (MIN_DIGITS..2 * TransferId::LEN).contains(&text.len())
}

fn transfer(prefix: &str, known: &[Transfer]) -> Result<TransferId, Failed> {
    let begins = |t: &&Transfer| t.transfer.to_string().starts_with(prefix);
    let found: Vec<&Transfer> = known.iter().filter(begins).collect();
    let list = |of: &[&Transfer]| candidates(of.iter().map(|t| show::brief(t)).collect());
    match found[..] {
        [one] => Ok(one.transfer),
        [] => {
            let all: Vec<&Transfer> = known.iter().collect();
            let text = format!("no transfer begins with {prefix}; {}", list(&all));
            Err(Failed::new(Exit::Failed, "unknown_transfer", text))
        }
        _ => {
            let text = format!("{prefix} can mean several transfers; {}", list(&found));
            Err(Failed::new(Exit::Failed, "ambiguous", text))
        }
    }
}

/// The share that `text` means: an id, a ticket, a hash, a name, or how an id begins.
pub(super) fn share<'a>(text: &str, known: &'a [Share]) -> Result<&'a Share, Failed> {
    let exactly: Vec<&Share> = known.iter().filter(|share| is_called(share, text)).collect();
    let prefix = text.to_ascii_lowercase();
    let begins =
        |share: &&Share| is_prefix(text) && share.share.to_string().starts_with(prefix.as_str());
    let found = match exactly.is_empty() {
        true => known.iter().filter(begins).collect(),
        false => exactly,
    };
    let list = |of: &[&Share]| {
        let lines = of.iter().map(|share| format!("{} {}", share.share, printable(&share.name)));
        candidates(lines.collect())
    };
    let shown = printable(&crate::output::short(text, 80));
    match found[..] {
        [one] => Ok(one),
        [] => {
            let all: Vec<&Share> = known.iter().collect();
            let problem = format!("nothing is shared as {shown}; {}", list(&all));
            Err(Failed::new(Exit::Failed, "unknown_share", problem))
        }
        _ => {
            let problem = format!("{shown} can mean several shares; {}", list(&found));
            Err(Failed::new(Exit::Failed, "ambiguous", problem))
        }
    }
}

fn is_called(share: &Share, text: &str) -> bool {
    let named = share.share.to_string().eq_ignore_ascii_case(text) || share.name == text;
    named
        || match &share.what {
            Shared::Content { hash, ticket, .. } => {
                hash.to_string().eq_ignore_ascii_case(text) || ticket.eq_ignore_ascii_case(text)
            }
            Shared::Folder { .. } => false,
        }
}

/// The newest of what could have been meant.
fn candidates(lines: Vec<String>) -> String {
    if lines.is_empty() {
        return "there are none".to_owned();
    }
    let left = lines.len().saturating_sub(MAX_CANDIDATES);
    let newest: Vec<String> = lines.into_iter().rev().take(MAX_CANDIDATES).collect();
    let more = if left > 0 { format!(", and {left} older ones") } else { String::new() };
    format!("there are {}{more}", newest.join(", "))
}

#[cfg(test)]
mod tests;
