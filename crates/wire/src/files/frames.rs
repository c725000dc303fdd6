//! The frames that begin a stream.

use peerage_types::{ContentHash, Network, TransferId};
use serde::{Deserialize, Serialize};

use super::manifest::Modified;

/// Longest frame after its length.
pub const MAX_FRAME_BYTES: usize = 8 * 1024;
/// Longest name of content in bytes.
pub const MAX_NAME_BYTES: usize = 255;
/// Longest `NAME/PATH` in bytes.
pub const MAX_PATH_BYTES: usize = 4096;
/// Longest reason in bytes.
pub const MAX_REASON_BYTES: usize = 256;
/// Bytes before the CBOR of a frame: its length, `u32` big-endian.
pub const LENGTH_BYTES: usize = 4;
/// Bytes of a [`Run`].
pub const RUN_BYTES: usize = 8;

/// The protocol id.
#[must_use]
pub fn protocol(network: &Network) -> String {
    format!("/peerage/{network}/files/1")
}

/// What content is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// One file; the root is the hash of its bytes.
    File,
    /// Directories and files; the root is the hash of the [manifest](super::manifest).
    Tree,
}

/// Some content, as it is offered and described. Nothing of it is believed until it verifies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// BLAKE3 of the file or of the manifest.
    pub root: ContentHash,
    /// What it is.
    pub kind: Kind,
    /// Size of what the root is the hash of: of the file, or of the manifest.
    pub size: u64,
    /// Size of all files together.
    pub bytes: u64,
    /// Number of files.
    pub files: u64,
    /// What it is called; up to [`MAX_NAME_BYTES`], no path.
    pub name: String,
    /// Of one file, what it has beside its bytes, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileMode>,
}

/// What a file has beside its bytes, as the manifest tells it of the files of a tree. In CBOR
/// `[executable, seconds, nanoseconds]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(bool, i64, u32)", into = "(bool, i64, u32)")]
pub struct FileMode {
    /// Whether its owner may run it.
    pub executable: bool,
    /// When its content last changed.
    pub modified: Modified,
}

impl From<(bool, i64, u32)> for FileMode {
    fn from((executable, secs, nanos): (bool, i64, u32)) -> Self {
        Self { executable, modified: Modified { secs, nanos } }
    }
}

impl From<FileMode> for (bool, i64, u32) {
    fn from(FileMode { executable, modified }: FileMode) -> Self {
        (executable, modified.secs, modified.nanos)
    }
}

/// Which bytes a stream is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// What the root is the hash of: the file, or the manifest.
    Root,
    /// The files of the tree whose manifest has the root.
    Tree,
}

/// The first frame of a stream, from its opener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// May I send you this? Answered by [`Answer::Accepted`], [`Answer::Later`] or
    /// [`Answer::Refused`].
    Offer {
        /// Names the transfer on both sides from now on.
        transfer: TransferId,
        /// What.
        content: Content,
    },
    /// Something about a transfer between the two; answered by [`Answer::Noted`].
    Tell {
        /// Which.
        transfer: TransferId,
        /// What.
        news: News,
    },
    /// Answered by [`Answer::Open`], then by pieces: the opener writes [`Run`]s and closes.
    Fetch {
        /// The offer it belongs to, if any.
        transfer: Option<TransferId>,
        /// Of what.
        root: ContentHash,
        /// Which bytes of it.
        part: Part,
        /// Bytes of it that the opener has already.
        have: u64,
    },
    /// What is at a published path? Answered by any number of [`Answer::Hashing`], then by
    /// [`Answer::Resolved`] or [`Answer::Refused`].
    Resolve {
        /// `NAME` or `NAME/PATH`, up to [`MAX_PATH_BYTES`].
        path: String,
    },
}

/// What one side tells the other of a transfer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum News {
    /// The offer is taken after all.
    Accepted,
    /// The offer is declined, with a reason for people of up to [`MAX_REASON_BYTES`].
    Rejected(String),
    /// Stopped for now by its user.
    Paused,
    /// Goes on.
    Resumed,
    /// Ended by its user.
    Cancelled,
    /// Ended by an error, in words of up to [`MAX_REASON_BYTES`].
    Failed(String),
    /// All is verified and on disk.
    Done,
}

/// What the responder answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The offer is taken; the responder fetches.
    Accepted,
    /// The offer waits for its user.
    Later,
    /// Heard.
    Noted,
    /// Ask for pieces.
    Open {
        /// Bytes of the content that the responder has under that root. Whoever was told another
        /// size was told wrong by somebody, and pieces would not fit.
        size: u64,
    },
    /// The path is being hashed; keeps the stream alive.
    Hashing {
        /// Bytes read so far.
        bytes: u64,
        /// Bytes to read as far as known.
        total: u64,
    },
    /// What is at the path.
    Resolved(Content),
    /// No.
    Refused(Refusal),
}

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// There is no such content, path or transfer, or not for the opener.
    NotFound,
    /// The offer is declined, with a reason for people of up to [`MAX_REASON_BYTES`].
    Declined(String),
    /// Too many offers or streams; try again later.
    Busy,
    /// The transfer is paused.
    Paused,
    /// The file is no longer what it was.
    Changed,
    /// The file cannot be read.
    Unreadable,
}

/// Pieces that the opener of a [`Request::Fetch`] asks for, in order: 8 bytes, two `u32`
/// big-endian. Each is answered by a [`Status`] byte, and after [`Status::Ok`] by as many bytes as
/// the piece takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Run {
    /// The first piece.
    pub first: u32,
    /// How many.
    pub count: u32,
}

impl Run {
    /// As it is sent.
    #[must_use]
    pub fn encode(self) -> [u8; RUN_BYTES] {
        let mut bytes = [0; RUN_BYTES];
        bytes[..4].copy_from_slice(&self.first.to_be_bytes());
        bytes[4..].copy_from_slice(&self.count.to_be_bytes());
        bytes
    }

    /// Any eight bytes are a run; whether there are such pieces is for the reader to see.
    #[must_use]
    pub fn decode(bytes: [u8; RUN_BYTES]) -> Self {
        let [a, b, c, d, e, f, g, h] = bytes;
        Self { first: u32::from_be_bytes([a, b, c, d]), count: u32::from_be_bytes([e, f, g, h]) }
    }
}

/// What comes before a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Status {
    /// The piece follows.
    Ok = 0,
    /// The responder does not have it.
    Missing = 1,
    /// A file is no longer what it was.
    Changed = 2,
    /// A file cannot be read.
    Unreadable = 3,
    /// The transfer is paused or over; nothing follows.
    Stopped = 4,
}

impl Status {
    /// Reads a status byte; `None` if there is no such status.
    #[must_use]
    pub fn decode(byte: u8) -> Option<Self> {
        [Self::Ok, Self::Missing, Self::Changed, Self::Unreadable, Self::Stopped]
            .into_iter()
            .find(|status| *status as u8 == byte)
    }
}

/// Bytes that are no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The announced length is 0 or above [`MAX_FRAME_BYTES`].
    #[error("a frame of {len} bytes; it must be 1 to {MAX_FRAME_BYTES}")]
    Length {
        /// What was announced.
        len: u32,
    },
    /// It is not the CBOR of such a frame, or not the shortest.
    #[error("the frame cannot be read")]
    Malformed,
    /// A text is too long.
    #[error("the {what} in the frame is longer than {max} bytes")]
    TooLong {
        /// Which.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// A name that is none: empty, a path, or with control characters.
    #[error("the name in the frame is none")]
    Name,
}

/// The length that the first bytes of a frame announce.
///
/// # Errors
/// [`FrameError::Length`]: reset the stream.
pub fn length(head: [u8; LENGTH_BYTES]) -> Result<usize, FrameError> {
    let len = u32::from_be_bytes(head);
    match usize::try_from(len) {
        Ok(size) if (1..=MAX_FRAME_BYTES).contains(&size) => Ok(size),
        _ => Err(FrameError::Length { len }),
    }
}

/// What can begin a stream.
pub trait Frame: Sized + Serialize + for<'de> Deserialize<'de> {
    /// Whether its texts are within their limits.
    ///
    /// # Errors
    /// [`FrameError::TooLong`], [`FrameError::Name`].
    fn check(&self) -> Result<(), FrameError>;

    /// The frame as it is sent, with its length.
    ///
    /// # Panics
    /// Never: these types have a CBOR form, and their limits keep it below [`MAX_FRAME_BYTES`].
    fn encode(&self) -> Vec<u8> {
        let mut bytes = cbor4ii::serde::to_vec(vec![0; LENGTH_BYTES], self)
            .expect("these types have a CBOR form");
        let len = u32::try_from(bytes.len() - LENGTH_BYTES).expect("a few kilobytes");
        bytes[..LENGTH_BYTES].copy_from_slice(&len.to_be_bytes());
        bytes
    }

    /// Reads a frame without its length.
    ///
    /// # Errors
    /// [`FrameError`]: reset the stream.
    fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        let frame: Self = cbor4ii::serde::from_slice(bytes).map_err(|_| FrameError::Malformed)?;
        frame.check()?;
        // One form for each frame: nothing hidden in it, and fuzzers can tell.
        if frame.encode()[LENGTH_BYTES..] != *bytes {
            return Err(FrameError::Malformed);
        }
        Ok(frame)
    }
}

impl Frame for Request {
    fn check(&self) -> Result<(), FrameError> {
        match self {
            Self::Offer { content, .. } => content.check(),
            Self::Tell { news, .. } => news.check(),
            Self::Fetch { .. } => Ok(()),
            Self::Resolve { path } => limit("path", path, MAX_PATH_BYTES),
        }
    }
}

impl Frame for Answer {
    fn check(&self) -> Result<(), FrameError> {
        match self {
            Self::Resolved(content) => content.check(),
            Self::Refused(Refusal::Declined(reason)) => limit("reason", reason, MAX_REASON_BYTES),
            _ => Ok(()),
        }
    }
}

impl News {
    fn check(&self) -> Result<(), FrameError> {
        match self {
            Self::Rejected(reason) | Self::Failed(reason) => {
                limit("reason", reason, MAX_REASON_BYTES)
            }
            _ => Ok(()),
        }
    }
}

impl Content {
    /// Whether the name is one, the sizes agree, and the time is one.
    ///
    /// # Errors
    /// [`FrameError::Name`], [`FrameError::TooLong`], [`FrameError::Malformed`].
    pub fn check(&self) -> Result<(), FrameError> {
        limit("name", &self.name, MAX_NAME_BYTES)?;
        super::path::check_name(&self.name).map_err(|_| FrameError::Name)?;
        let agrees = match self.kind {
            Kind::File => {
                let time = self.file.is_none_or(|file| file.modified.is_valid());
                time && self.bytes == self.size && self.files == 1
            }
            Kind::Tree => self.file.is_none(),
        };
        if agrees { Ok(()) } else { Err(FrameError::Malformed) }
    }
}

fn limit(what: &'static str, text: &str, max: usize) -> Result<(), FrameError> {
    if text.len() > max { Err(FrameError::TooLong { what, max }) } else { Ok(()) }
}

/// The beginning of `text` that fits into a reason.
#[must_use]
pub fn reason(text: &str) -> String {
    let end = text.char_indices().map(|(at, c)| at + c.len_utf8());
    let end = end.take_while(|end| *end <= MAX_REASON_BYTES).last().unwrap_or(0);
    text[..end].to_owned()
}
