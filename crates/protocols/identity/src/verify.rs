//! Work for the blocking pool: signatures.

use bytes::Bytes;
use peerage_types::{PeerId, UnixMillis, UserId};
use peerage_wire::identity::{frames::split, kad_key};

use crate::{
    Directory, Source, Verdict, bounds::MAX_GOSSIP_BYTES, check_record, directory::Spread,
};

/// What a worker has done.
#[derive(Debug)]
pub(crate) enum Verified {
    /// A message is judged.
    Gossip { ticket: u64, verdict: Verdict },
    /// Questions about a user are answered.
    Found,
}

pub(crate) fn gossip(directory: &Directory, ticket: u64, source: PeerId, data: &Bytes) -> Verified {
    let verdict = judge(directory, source, data);
    Verified::Gossip { ticket, verdict }
}

fn judge(directory: &Directory, source: PeerId, data: &Bytes) -> Verdict {
    let bundles = if data.len() > MAX_GOSSIP_BYTES { None } else { split(data).ok() };
    let Some(bundles) = bundles else {
        directory.count_rejected();
        return Verdict::Reject;
    };
    let mut verdict = Verdict::Ignore;
    for bundle in bundles {
        match directory.verify(&bundle, Source::Peer(source)) {
            Ok((_, outcome)) if outcome.changed => verdict = Verdict::Accept,
            // Nobody else is to blame for what this node knows or what its clock says.
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(%source, %error, "gossip about users is not valid");
                return Verdict::Reject;
            }
        }
    }
    verdict
}

pub(crate) fn found(directory: &Directory, user: UserId, record: &Bytes) -> Verified {
    match check_record(&kad_key(&user), record, UnixMillis::now()) {
        // Looked up by this node itself, so counted for it.
        Ok(bundle) => {
            directory.merge(&bundle, Source::Peer(directory.node()), Spread::Here);
        }
        Err(error) => {
            directory.count_rejected();
            tracing::debug!(%user, %error, "a record of a user is not valid");
        }
    }
    directory.on_missing(user);
    Verified::Found
}
