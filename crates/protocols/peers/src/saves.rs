//! Changes of lists that somebody waits for, on their way to the store.

use std::fmt;

use futures::future::BoxFuture;
use libp2p_identity::PeerId;
use peerage_api::{Ask, Method, peers::PeersError};
use peerage_store::{Book, List};

/// A change that is to be saved, and the door of the answer.
pub(crate) struct Save {
    pub(crate) list: List,
    pub(crate) peer: PeerId,
    pub(crate) listed: bool,
    reply: Box<dyn FnOnce(Result<(), PeersError>) + Send>,
}

impl Save {
    pub(crate) fn new<M>(list: List, peer: PeerId, listed: bool, ask: Ask<M>) -> Self
    where
        M: Method<Reply = (), Error = PeersError>,
    {
        Self { list, peer, listed, reply: Box::new(|answer| ask.reply(answer)) }
    }

    /// Refuses the change.
    pub(crate) fn refuse(self, error: PeersError) {
        (self.reply)(Err(error));
    }

    /// Hands the change to the store; the future answers once it is durable.
    pub(crate) fn begin(self, book: &Book) -> BoxFuture<'static, ()> {
        let pending = book.set_listed(self.list, self.peer, self.listed);
        let reply = self.reply;
        Box::pin(async move {
            let outcome = pending.await;
            reply(outcome.map_err(|error| PeersError::Store { reason: error.to_string() }));
        })
    }
}

impl fmt::Debug for Save {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { list, peer, listed, .. } = self;
        f.debug_struct("Save")
            .field("list", list)
            .field("peer", peer)
            .field("listed", listed)
            .finish_non_exhaustive()
    }
}
