//! Frames to bytes.

use bytes::{BufMut, Bytes, BytesMut};
use peerage_types::MessageType;
use unsigned_varint::encode;

use super::{Encoding, Frame, Id, Refusal, tag};

/// What a frame needs at most in front of its body: the length 3 + [`super::MAX_HEAD_BYTES`].
const RESERVE: usize = 3 + super::MAX_HEAD_BYTES;

impl Frame {
    /// Appends the frame.
    pub fn encode(&self, into: &mut BytesMut) {
        self.encode_head(into);
        if let Some(body) = self.body() {
            into.extend_from_slice(body);
        }
    }

    /// Appends all but the body, for writers that send a large one from where it is.
    pub fn encode_head(&self, into: &mut BytesMut) {
        into.reserve(RESERVE);
        let body = self.body().map_or(0, Bytes::len);
        match self {
            Self::Message { kind, encoding, ack, .. } => {
                let ack = ack.map_or(0, Id::get);
                put_number(into, 1 + number_len(ack) + 2 + kind.as_str().len() + body);
                into.put_u8(tag::MESSAGE);
                put_id(into, ack);
                put_kind(into, *encoding, kind);
            }
            Self::Request { id, deadline_ms, kind, encoding, .. } => {
                let numbers = number_len(id.get()) + number_len((*deadline_ms).into());
                put_number(into, 1 + numbers + 2 + kind.as_str().len() + body);
                into.put_u8(tag::REQUEST);
                put_id(into, id.get());
                put_id(into, (*deadline_ms).into());
                put_kind(into, *encoding, kind);
            }
            Self::Ack { id } => {
                put_number(into, 1 + number_len(id.get()));
                into.put_u8(tag::ACK);
                put_id(into, id.get());
            }
            Self::Response { id, encoding, .. } => {
                put_number(into, 1 + number_len(id.get()) + 1 + body);
                into.put_u8(tag::RESPONSE);
                put_id(into, id.get());
                into.put_u8(encoding.code());
            }
            Self::Refusal { id, code } => {
                let reason = code.reason();
                put_number(into, 1 + number_len(id.get()) + 1 + reason.len());
                into.put_u8(tag::REFUSAL);
                put_id(into, id.get());
                into.put_u8(code.code());
                into.extend_from_slice(reason.as_bytes());
            }
        }
    }

    /// The body, in frames that have one.
    #[must_use]
    pub fn body(&self) -> Option<&Bytes> {
        match self {
            Self::Message { body, .. }
            | Self::Request { body, .. }
            | Self::Response { body, .. } => Some(body),
            Self::Ack { .. } | Self::Refusal { .. } => None,
        }
    }
}

impl Encoding {
    fn code(self) -> u8 {
        match self {
            Self::Bytes => 0,
            Self::Json => 1,
            Self::Cbor => 2,
        }
    }
}

impl Refusal {
    fn code(&self) -> u8 {
        match self {
            Self::NoListener => 1,
            Self::NoResponder => 2,
            Self::Refused(_) => 3,
            Self::Busy => 4,
            Self::TooLate => 5,
        }
    }

    fn reason(&self) -> &str {
        match self {
            Self::Refused(reason) => reason,
            Self::NoListener | Self::NoResponder | Self::Busy | Self::TooLate => "",
        }
    }
}

fn number_len(number: u64) -> usize {
    encode::u64(number, &mut encode::u64_buffer()).len()
}

fn put_number(into: &mut BytesMut, number: usize) {
    into.extend_from_slice(encode::usize(number, &mut encode::usize_buffer()));
}

fn put_id(into: &mut BytesMut, id: u64) {
    into.extend_from_slice(encode::u64(id, &mut encode::u64_buffer()));
}

fn put_kind(into: &mut BytesMut, encoding: Encoding, kind: &MessageType) {
    let kind = kind.as_str().as_bytes();
    into.put_u8(encoding.code());
    // A message type has at most 64 bytes.
    into.put_u8(u8::try_from(kind.len()).unwrap_or(u8::MAX));
    into.extend_from_slice(kind);
}
