//! `/peerage/<network>/exchange/1`: typed messages between two nodes.
//!
//! A node opens one stream to a peer and writes [`Frame::Message`] and [`Frame::Request`] on it; the
//! peer writes back only [`Frame::Ack`], [`Frame::Response`] and [`Frame::Refusal`], in any order.
//! Either closes its side when it is done. Every frame is
//!
//! ```text
//! length  uvarint  bytes that follow, at most MAX_FRAME_BYTES
//! tag     u8
//! fields  as in the table
//! ```
//!
//! | tag | frame | fields |
//! |---|---|---|
//! | `01` | message | ack id uvarint (0: none wanted), encoding u8, type length u8, type, body |
//! | `02` | request | id uvarint, deadline in ms uvarint, encoding u8, type length u8, type, body |
//! | `11` | ack | id uvarint |
//! | `12` | response | id uvarint, encoding u8, body |
//! | `13` | refusal | id uvarint, code u8, reason |
//!
//! A uvarint is an [unsigned varint](https://github.com/multiformats/unsigned-varint) in its
//! shortest form; a body or reason fills the rest of its frame. Ids are 1 to 2⁶⁴−1, chosen by the
//! opener and not used twice on a stream. Encodings: 0 bytes, 1 JSON, 2 CBOR. Codes: 1 no listener,
//! 2 no responder, 3 refused (the only one with a reason, UTF-8), 4 busy, 5 too late.

mod decode;
mod encode;

use std::num::NonZeroU64;

use bytes::Bytes;
use peerage_types::{MessageType, NameError, Network};

pub use decode::decode;

/// Largest body in bytes: 1 MiB.
pub const MAX_BODY_BYTES: usize = 1 << 20;
/// Longest reason of a refusal in bytes.
pub const MAX_REASON_BYTES: usize = 256;
/// Longest deadline of a request in milliseconds: one hour.
pub const MAX_DEADLINE_MS: u32 = 3_600_000;
/// Bytes of a frame that are not its body: tag 1 + id 10 + deadline 4 + encoding 1 + type 1 + 64 = 81,
/// rounded up.
pub const MAX_HEAD_BYTES: usize = 128;
/// Largest length that a frame may announce.
pub const MAX_FRAME_BYTES: usize = MAX_HEAD_BYTES + MAX_BODY_BYTES;

mod tag {
    pub(super) const MESSAGE: u8 = 0x01;
    pub(super) const REQUEST: u8 = 0x02;
    pub(super) const ACK: u8 = 0x11;
    pub(super) const RESPONSE: u8 = 0x12;
    pub(super) const REFUSAL: u8 = 0x13;
}

/// The protocol id.
#[must_use]
pub fn protocol(network: &Network) -> String {
    format!("/peerage/{network}/exchange/1")
}

/// Names what an answer belongs to: unique among the frames of one stream.
pub type Id = NonZeroU64;

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A message, from the opener.
    Message {
        /// Its type.
        kind: MessageType,
        /// How to read the body.
        encoding: Encoding,
        /// Up to [`MAX_BODY_BYTES`].
        body: Bytes,
        /// Names the ack or refusal that the sender wants.
        ack: Option<Id>,
    },
    /// A question, from the opener.
    Request {
        /// Names the response or refusal.
        id: Id,
        /// How long the asking side waits, in milliseconds: 1 to [`MAX_DEADLINE_MS`].
        deadline_ms: u32,
        /// Its type.
        kind: MessageType,
        /// How to read the body.
        encoding: Encoding,
        /// Up to [`MAX_BODY_BYTES`].
        body: Bytes,
    },
    /// A listener took the message.
    Ack {
        /// [`Frame::Message::ack`].
        id: Id,
    },
    /// The answer to a request.
    Response {
        /// [`Frame::Request::id`].
        id: Id,
        /// How to read the body.
        encoding: Encoding,
        /// Up to [`MAX_BODY_BYTES`].
        body: Bytes,
    },
    /// There will be no ack or response.
    Refusal {
        /// [`Frame::Message::ack`] or [`Frame::Request::id`].
        id: Id,
        /// Why.
        code: Refusal,
    },
}

/// How the bytes of a body are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// As the application likes.
    Bytes,
    /// JSON text.
    Json,
    /// CBOR, RFC 8949.
    Cbor,
}

/// Why there is no ack or response.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Nobody listens for the type.
    NoListener,
    /// Nobody answers the type.
    NoResponder,
    /// The responder refused, with its reason of up to [`MAX_REASON_BYTES`].
    Refused(String),
    /// Too many requests wait for an answer.
    Busy,
    /// The deadline passed before there was an answer.
    TooLate,
}

/// Bytes that are no frame: the stream cannot be read any further.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The announced length is above [`MAX_FRAME_BYTES`].
    #[error("a frame of {len} bytes is too long; the longest is {MAX_FRAME_BYTES}")]
    TooLong {
        /// What was announced.
        len: u64,
    },
    /// A number is not in its shortest form, or too large.
    #[error("a number in the frame is malformed")]
    Number,
    /// The fields do not fit into the announced length.
    #[error("the frame ends within its fields")]
    Short,
    /// Bytes after the last field.
    #[error("the frame has {0} bytes after its last field")]
    Trailing(usize),
    /// No such frame.
    #[error("there is no frame with tag {0:#04x}")]
    Tag(u8),
    /// An id of 0.
    #[error("an id of 0 where one is needed")]
    Id,
    /// No such encoding.
    #[error("there is no encoding {0}")]
    Encoding(u8),
    /// The type is not UTF-8.
    #[error("the message type is not UTF-8")]
    KindText,
    /// The type is not one.
    #[error(transparent)]
    Kind(#[from] NameError),
    /// The body is above [`MAX_BODY_BYTES`].
    #[error("a body of {len} bytes is too long; the longest is {MAX_BODY_BYTES}")]
    Body {
        /// Its length.
        len: usize,
    },
    /// The deadline is 0 or above [`MAX_DEADLINE_MS`].
    #[error("a deadline of {0} ms; it must be 1 to {MAX_DEADLINE_MS}")]
    Deadline(u64),
    /// No such refusal.
    #[error("there is no refusal with code {0}")]
    Code(u8),
    /// The reason is not UTF-8 or above [`MAX_REASON_BYTES`].
    #[error("the reason of a refusal is not text of up to {MAX_REASON_BYTES} bytes")]
    Reason,
}
