//! Bytes to frames.

use bytes::{Buf, Bytes, BytesMut};
use peerage_types::MessageType;
use unsigned_varint::decode::{self as varint, Error as Varint};

use super::{
    Encoding, Frame, FrameError, Id, MAX_BODY_BYTES, MAX_DEADLINE_MS, MAX_FRAME_BYTES,
    MAX_REASON_BYTES, Refusal, tag,
};

/// Takes the next frame off the front of what has arrived; `None` while it is incomplete.
///
/// Bodies are slices of `buffer`, not copies. Nothing is allocated for a frame that has not arrived.
///
/// # Errors
/// [`FrameError`]: reset the stream, as its next frame cannot be found.
pub fn decode(buffer: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
    let (len, head) = match number(buffer) {
        Ok(number) => number,
        // Three bytes hold every length that is allowed.
        Err(Varint::Insufficient) if buffer.len() <= 3 => return Ok(None),
        Err(_) => return Err(FrameError::Number),
    };
    let announced = usize::try_from(len).unwrap_or(usize::MAX);
    if announced > MAX_FRAME_BYTES {
        return Err(FrameError::TooLong { len });
    }
    if buffer.len() - head < announced {
        return Ok(None);
    }
    buffer.advance(head);
    Fields(buffer.split_to(announced).freeze()).frame().map(Some)
}

/// The number at the front of `bytes`, and how many bytes it takes.
fn number(bytes: &[u8]) -> Result<(u64, usize), Varint> {
    let (number, rest) = varint::u64(bytes)?;
    let len = bytes.len() - rest.len();
    // The tenth byte has one bit left to give; the library drops the others silently.
    if len == 10 && bytes[9] > 1 { Err(Varint::Overflow) } else { Ok((number, len)) }
}

/// What is left of a frame.
struct Fields(Bytes);

impl Fields {
    fn frame(mut self) -> Result<Frame, FrameError> {
        match self.byte()? {
            tag::MESSAGE => {
                let ack = Id::new(self.number()?);
                let encoding = self.encoding()?;
                let kind = self.kind()?;
                Ok(Frame::Message { kind, encoding, body: self.body()?, ack })
            }
            tag::REQUEST => {
                let id = self.id()?;
                let deadline_ms = self.deadline()?;
                let encoding = self.encoding()?;
                let kind = self.kind()?;
                Ok(Frame::Request { id, deadline_ms, kind, encoding, body: self.body()? })
            }
            tag::ACK => {
                let id = self.id()?;
                self.end(Frame::Ack { id })
            }
            tag::RESPONSE => {
                let id = self.id()?;
                let encoding = self.encoding()?;
                Ok(Frame::Response { id, encoding, body: self.body()? })
            }
            tag::REFUSAL => {
                let id = self.id()?;
                self.refusal(id)
            }
            other => Err(FrameError::Tag(other)),
        }
    }

    fn byte(&mut self) -> Result<u8, FrameError> {
        self.0.try_get_u8().map_err(|_| FrameError::Short)
    }

    fn number(&mut self) -> Result<u64, FrameError> {
        let (number, len) = number(&self.0).map_err(|error| match error {
            Varint::Insufficient => FrameError::Short,
            _ => FrameError::Number,
        })?;
        self.0.advance(len);
        Ok(number)
    }

    fn id(&mut self) -> Result<Id, FrameError> {
        Id::new(self.number()?).ok_or(FrameError::Id)
    }

    fn deadline(&mut self) -> Result<u32, FrameError> {
        let ms = self.number()?;
        match u32::try_from(ms) {
            Ok(deadline) if (1..=MAX_DEADLINE_MS).contains(&deadline) => Ok(deadline),
            _ => Err(FrameError::Deadline(ms)),
        }
    }

    fn encoding(&mut self) -> Result<Encoding, FrameError> {
        match self.byte()? {
            0 => Ok(Encoding::Bytes),
            1 => Ok(Encoding::Json),
            2 => Ok(Encoding::Cbor),
            other => Err(FrameError::Encoding(other)),
        }
    }

    fn kind(&mut self) -> Result<MessageType, FrameError> {
        let len = usize::from(self.byte()?);
        if len > self.0.len() {
            return Err(FrameError::Short);
        }
        let name = self.0.split_to(len);
        let name = std::str::from_utf8(&name).map_err(|_| FrameError::KindText)?;
        Ok(MessageType::new(name)?)
    }

    fn body(self) -> Result<Bytes, FrameError> {
        match self.0.len() {
            0..=MAX_BODY_BYTES => Ok(self.0),
            len => Err(FrameError::Body { len }),
        }
    }

    fn refusal(mut self, id: Id) -> Result<Frame, FrameError> {
        let code = match self.byte()? {
            1 => Refusal::NoListener,
            2 => Refusal::NoResponder,
            3 => {
                let reason =
                    Some(std::mem::take(&mut self.0)).filter(|r| r.len() <= MAX_REASON_BYTES);
                let reason = reason.and_then(|r| String::from_utf8(r.to_vec()).ok());
                Refusal::Refused(reason.ok_or(FrameError::Reason)?)
            }
            4 => Refusal::Busy,
            5 => Refusal::TooLate,
            other => return Err(FrameError::Code(other)),
        };
        self.end(Frame::Refusal { id, code })
    }

    fn end(self, frame: Frame) -> Result<Frame, FrameError> {
        match self.0.len() {
            0 => Ok(frame),
            extra => Err(FrameError::Trailing(extra)),
        }
    }
}
