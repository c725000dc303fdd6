//! `/peerage/<network>/files/1`: content moves.
//!
//! Whoever opens a stream writes one [`Request`] and reads [`Answer`]s. Both are
//!
//! ```text
//! length  u32 big-endian  bytes that follow, 1 to MAX_FRAME_BYTES
//! frame   CBOR            in the one form that Frame::encode gives it
//! ```
//!
//! After a [`Request::Fetch`] that was answered [`Answer::Open`] the opener writes [`Run`]s of
//! pieces and the responder answers each piece, in the order asked, with a [`Status`] byte and,
//! if that is [`Status::Ok`], the piece. Content is divided into pieces the same way on both sides;
//! how, and what a piece looks like, is in `peerage-content`'s plan: up to 1 MiB of one file in
//! [bao](https://github.com/oconnor663/bao) encoding with groups of 16 KiB, or a run of small files.

mod frames;
pub mod manifest;
pub mod path;
mod ticket;

pub use frames::{
    Answer, Content, FileMode, Frame, FrameError, Kind, LENGTH_BYTES, MAX_FRAME_BYTES,
    MAX_NAME_BYTES, MAX_PATH_BYTES, MAX_REASON_BYTES, News, Part, RUN_BYTES, Refusal, Request, Run,
    Status, length, protocol, reason,
};
pub use ticket::{MAX_ADDRESSES, MAX_PEERS, PREFIX, Ticket, TicketError};
