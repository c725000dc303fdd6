//! The facet `files`: content moves between nodes, verified and resumable.

use std::path::PathBuf;

use peerage_types::{PeerId, TransferId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Link, LinkError, Stream, contract::facet};

mod error;
mod shapes;

pub use error::{FilesError, SEND_AGAIN};
pub use shapes::{
    Direction, Event, Kind, Path, Seconds, Share, Shared, Side, Skipped, State, Stats, Transfer,
};

/// Sending, sharing and fetching files and directories.
#[derive(Debug, Clone)]
pub struct Files {
    link: Link,
}

impl Files {
    pub(crate) fn new(link: Link) -> Self {
        Self { link }
    }

    /// Offers files or directories to a peer. Returns when the transfer exists: it prepares, offers
    /// and serves by itself from then on, and survives a restart. See [`Files::wait`].
    ///
    /// # Errors
    /// [`FilesError::Path`] when a path is not absolute or not there, [`FilesError::TooMany`].
    pub async fn send(&self, request: Send) -> Result<Transfer, FilesError> {
        self.link.call(request).await
    }

    /// Makes content available to whoever has its ticket. Returns when it is hashed.
    ///
    /// # Errors
    /// [`FilesError::Path`], [`FilesError::Changed`], [`FilesError::TooMany`].
    ///
    /// # Cancel safety
    /// Dropping the future ends the hashing; nothing is shared then.
    pub async fn share(&self, request: MakeShare) -> Result<Share, FilesError> {
        self.link.call(request).await
    }

    /// Publishes a folder under a name: its content is resolved when a peer asks for
    /// `PEER:NAME/PATH`.
    ///
    /// # Errors
    /// [`FilesError::Path`] when it is no directory or the name is taken, [`FilesError::TooMany`].
    pub async fn publish(&self, request: Publish) -> Result<Share, FilesError> {
        self.link.call(request).await
    }

    /// All shares, oldest first.
    ///
    /// # Errors
    /// [`FilesError::Link`] when the node cannot be asked.
    pub async fn shares(&self) -> Result<Vec<Share>, FilesError> {
        self.link.call(GetShares {}).await
    }

    /// Ends a share. Files stay where they are; peers in the middle of fetching are cut off.
    ///
    /// # Errors
    /// [`FilesError::UnknownShare`].
    pub async fn unshare(&self, share: TransferId) -> Result<(), FilesError> {
        self.link.call(Unshare { share }).await
    }

    /// Fetches what a ticket or a published path names. Returns when the transfer exists: it finds
    /// providers, fetches and verifies by itself from then on, and survives a restart.
    ///
    /// # Errors
    /// [`FilesError::BadTicket`], [`FilesError::Path`], [`FilesError::TooMany`].
    pub async fn get(&self, request: Get) -> Result<Transfer, FilesError> {
        self.link.call(request).await
    }

    /// All transfers that are not forgotten, oldest first.
    ///
    /// # Errors
    /// [`FilesError::Link`] when the node cannot be asked.
    pub async fn transfers(&self) -> Result<Vec<Transfer>, FilesError> {
        self.link.call(GetTransfers {}).await
    }

    /// One transfer.
    ///
    /// # Errors
    /// [`FilesError::UnknownTransfer`].
    pub async fn transfer(&self, transfer: TransferId) -> Result<Transfer, FilesError> {
        self.link.call(Show { transfer }).await
    }

    /// Takes an offer: it is fetched into `into`, an absolute path, or the configured folder.
    ///
    /// # Errors
    /// [`FilesError::WrongState`], [`FilesError::UnknownTransfer`], [`FilesError::Path`],
    /// [`FilesError::DiskFull`].
    pub async fn accept(
        &self,
        transfer: TransferId,
        into: Option<PathBuf>,
    ) -> Result<Transfer, FilesError> {
        self.link.call(Accept { transfer, into }).await
    }

    /// Declines an offer, with a reason for the other side.
    ///
    /// # Errors
    /// [`FilesError::WrongState`], [`FilesError::UnknownTransfer`].
    pub async fn reject(&self, transfer: TransferId, reason: String) -> Result<(), FilesError> {
        self.link.call(Reject { transfer, reason }).await
    }

    /// Stops a transfer for now and tells the other side. What is verified stays.
    ///
    /// # Errors
    /// [`FilesError::WrongState`], [`FilesError::UnknownTransfer`].
    pub async fn pause(&self, transfer: TransferId) -> Result<Transfer, FilesError> {
        self.link.call(Pause { transfer }).await
    }

    /// Goes on with a transfer that is paused or failed, from what is there.
    ///
    /// # Errors
    /// [`FilesError::WrongState`], [`FilesError::UnknownTransfer`].
    pub async fn resume(&self, transfer: TransferId) -> Result<Transfer, FilesError> {
        self.link.call(Resume { transfer, into: None }).await
    }

    /// Goes on with a transfer to this node that is paused or failed, in another folder, an absolute
    /// path. What is there already is removed, and fetched again.
    ///
    /// # Errors
    /// As [`Files::resume`], and [`FilesError::Path`].
    pub async fn resume_into(
        &self,
        transfer: TransferId,
        into: PathBuf,
    ) -> Result<Transfer, FilesError> {
        self.link.call(Resume { transfer, into: Some(into) }).await
    }

    /// Ends a transfer for good, tells the other side and removes what is incomplete.
    ///
    /// # Errors
    /// [`FilesError::WrongState`], [`FilesError::UnknownTransfer`].
    pub async fn cancel(&self, transfer: TransferId) -> Result<Transfer, FilesError> {
        self.link.call(Cancel { transfer }).await
    }

    /// Forgets a transfer that is over. Complete files stay.
    ///
    /// # Errors
    /// [`FilesError::WrongState`], [`FilesError::UnknownTransfer`].
    pub async fn forget(&self, transfer: TransferId) -> Result<(), FilesError> {
        self.link.call(Forget { transfer }).await
    }

    /// Figures over all transfers.
    ///
    /// # Errors
    /// [`FilesError::Link`] when the node cannot be asked.
    pub async fn stats(&self) -> Result<Stats, FilesError> {
        self.link.call(GetStats {}).await
    }

    /// Changes of all transfers, or of one. A feed of one begins with how it stands; so does a feed
    /// of all, for every transfer that is not over.
    ///
    /// # Errors
    /// [`FilesError::Link`] when the node cannot be asked.
    pub async fn events(&self, transfer: Option<TransferId>) -> Result<Stream<Event>, FilesError> {
        self.link.open(Events { transfer }).await
    }

    /// Waits until a transfer is over and returns it.
    ///
    /// # Errors
    /// What ended it, if that is not its completion; [`FilesError::UnknownTransfer`].
    ///
    /// # Cancel safety
    /// The transfer goes on without the future.
    pub async fn wait(&self, transfer: TransferId) -> Result<Transfer, FilesError> {
        // The feed tells when to look; looking tells what became of it, even if a notice was lost.
        let mut events = self.events(Some(transfer)).await?;
        loop {
            let now = self.transfer(transfer).await?;
            match (now.state, &now.error) {
                (State::Done, _) => return Ok(now),
                (state, Some(error)) if state.is_over() => return Err(error.clone()),
                (state, None) if state.is_over() => return Err(Self::over(&now)),
                _ => {}
            }
            loop {
                match events.next().await {
                    None => return Err(LinkError::Stopped.into()),
                    Some(crate::Feeding::Item(Event::Progress { .. } | Event::Hashing { .. })) => {}
                    Some(_) => break,
                }
            }
        }
    }

    fn over(transfer: &Transfer) -> FilesError {
        let (transfer, state) = (transfer.transfer, transfer.state);
        FilesError::WrongState { transfer, state, action: "complete".to_owned() }
    }
}

/// Offers files or directories to a peer.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Send {
    /// What, 1 to [`MAX_PATHS`] absolute paths.
    #[schemars(with = "Vec<String>")]
    pub paths: Vec<PathBuf>,
    /// To whom.
    #[schemars(with = "String")]
    pub to: PeerId,
    /// An id for the transfer, so that a caller can watch it from the first moment.
    #[serde(default)]
    pub transfer: Option<TransferId>,
    /// Limit in bytes a second.
    #[serde(default)]
    pub limit_bps: Option<u64>,
    /// Keep symbolic links that stay inside of the tree, rather than skip them.
    #[serde(default)]
    pub keep_links: bool,
    /// Try for a day to reach the peer, rather than for half a minute.
    #[serde(default)]
    pub patient: bool,
}

impl Send {
    /// Without options.
    #[must_use]
    pub fn new(paths: Vec<PathBuf>, to: PeerId) -> Self {
        Self { paths, to, transfer: None, limit_bps: None, keep_links: false, patient: false }
    }
}

/// Makes content available to whoever has its ticket.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct MakeShare {
    /// What, 1 to [`MAX_PATHS`] absolute paths.
    #[schemars(with = "Vec<String>")]
    pub paths: Vec<PathBuf>,
    /// An id for the share, under which its hashing is told in [`Event::Hashing`].
    #[serde(default)]
    pub share: Option<TransferId>,
    /// Keep symbolic links that stay inside of the tree, rather than skip them.
    #[serde(default)]
    pub keep_links: bool,
}

/// Publishes a folder.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Publish {
    /// An absolute path.
    #[schemars(with = "String")]
    pub path: PathBuf,
    /// The first part of `PEER:NAME/PATH`, without a slash; the folder's own name by default.
    #[serde(default)]
    pub name: Option<String>,
    /// Who may read; everybody in the network if empty. At most 256.
    #[schemars(with = "Vec<String>")]
    #[serde(default)]
    pub readers: Vec<PeerId>,
}

/// What to fetch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// What a ticket names.
    Ticket(String),
    /// What a peer has published.
    Published {
        /// Who.
        #[schemars(with = "String")]
        peer: PeerId,
        /// `NAME` or `NAME/PATH`.
        path: String,
    },
}

/// Fetches content.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Get {
    /// What.
    pub wanted: Wanted,
    /// Folder to put it into, an absolute path; the configured one by default.
    #[schemars(with = "Option<String>")]
    #[serde(default)]
    pub into: Option<PathBuf>,
    /// What to call it there; its own name by default.
    #[serde(default)]
    pub name: Option<String>,
    /// An id for the transfer, so that a caller can watch it from the first moment.
    #[serde(default)]
    pub transfer: Option<TransferId>,
    /// Limit in bytes a second.
    #[serde(default)]
    pub limit_bps: Option<u64>,
    /// Share it with others as well; it is complete when it is shared.
    #[serde(default)]
    pub share: bool,
    /// Try for a day to find somebody who has it, rather than for half a minute.
    #[serde(default)]
    pub patient: bool,
}

impl Get {
    /// Without options.
    #[must_use]
    pub fn new(wanted: Wanted, into: Option<PathBuf>) -> Self {
        let (name, transfer, limit_bps) = (None, None, None);
        Self { wanted, into, name, transfer, limit_bps, share: false, patient: false }
    }
}

macro_rules! by_transfer {
    ($($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $field:ident: $ty:ty),* })*) => {
        $($(#[$doc])*
        #[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
        pub struct $name {
            /// The transfer it is about.
            pub transfer: TransferId,
            $($(#[$fdoc])* pub $field: $ty,)*
        })*
    };
}

by_transfer! {
    /// Asks for one transfer.
    Show {}
    /// Takes an offer.
    Accept {
        /// Folder to put it into; the configured one by default.
        #[schemars(with = "Option<String>")]
        #[serde(default)]
        into: Option<PathBuf>
    }
    /// Declines an offer.
    Reject {
        /// Why, for the other side; up to 256 bytes.
        #[serde(default)]
        reason: String
    }
    /// Stops a transfer for now.
    Pause {}
    /// Goes on with a transfer.
    Resume {
        /// Another folder to put it into; what is there already is fetched again.
        #[schemars(with = "Option<String>")]
        #[serde(default)]
        into: Option<PathBuf>
    }
    /// Ends a transfer for good.
    Cancel {}
    /// Forgets a transfer that is over.
    Forget {}
}

/// Most paths of one send or share.
pub const MAX_PATHS: usize = 4096;

/// Asks for the shares.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct GetShares {}

/// Ends a share.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Unshare {
    /// Which.
    pub share: TransferId,
}

/// Asks for the transfers.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct GetTransfers {}

/// Asks for the figures.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct GetStats {}

/// Subscribes to changes of transfers.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Events {
    /// Only of this one.
    #[serde(default)]
    pub transfer: Option<TransferId>,
}

facet! {
    Files, FilesError;
    methods {
        Send => "files.send" -> Transfer;
        MakeShare => "files.share" -> Share;
        Publish => "files.publish" -> Share;
        GetShares => "files.shares" -> Vec<Share>;
        Unshare => "files.unshare" -> ();
        Get => "files.get" -> Transfer;
        GetTransfers => "files.transfers" -> Vec<Transfer>;
        Show => "files.transfer" -> Transfer;
        Accept => "files.accept" -> Transfer;
        Reject => "files.reject" -> ();
        Pause => "files.pause" -> Transfer;
        Resume => "files.resume" -> Transfer;
        Cancel => "files.cancel" -> Transfer;
        Forget => "files.forget" -> ();
        GetStats => "files.stats" -> Stats;
    }
    local {}
    feeds {
        Events[256] => "files.events" -> Event;
    }
    extra {}
}
