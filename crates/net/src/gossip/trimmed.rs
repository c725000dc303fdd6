//! A handler whose streams start without buffers. A `Framed` is made with 8 KiB for each direction,
//! and one that stays open while nothing is said holds 16 KiB for nothing; they grow when needed.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use asynchronous_codec::{Decoder, Encoder, Framed};
use bytes::BytesMut;
use futures::{AsyncRead, AsyncWrite, future::Either};
use libp2p::swarm::{
    ConnectionHandler, ConnectionHandlerEvent, SubstreamProtocol,
    handler::{ConnectionEvent, InboundUpgradeSend, OutboundUpgradeSend},
};

pub(crate) struct Trimmed<H>(pub(super) H);

/// What a stream is negotiated into.
pub(crate) trait Trim: Sized {
    fn trim(self) -> Self;
}

impl<S: AsyncRead + AsyncWrite, C: Decoder + Encoder> Trim for Framed<S, C> {
    fn trim(self) -> Self {
        let mut parts = self.into_parts();
        for buffer in [&mut parts.read_buffer, &mut parts.write_buffer] {
            if buffer.is_empty() {
                *buffer = BytesMut::new();
            }
        }
        Self::from_parts(parts)
    }
}

impl<T: Trim, K> Trim for (T, K) {
    fn trim(self) -> Self {
        (self.0.trim(), self.1)
    }
}

impl<T: Trim> Trim for Either<T, Infallible> {
    fn trim(self) -> Self {
        match self {
            Self::Left(stream) => Self::Left(stream.trim()),
            Self::Right(never) => Self::Right(never),
        }
    }
}

impl<H> ConnectionHandler for Trimmed<H>
where
    H: ConnectionHandler,
    <H::InboundProtocol as InboundUpgradeSend>::Output: Trim,
    <H::OutboundProtocol as OutboundUpgradeSend>::Output: Trim,
{
    type FromBehaviour = H::FromBehaviour;
    type ToBehaviour = H::ToBehaviour;
    type InboundProtocol = H::InboundProtocol;
    type OutboundProtocol = H::OutboundProtocol;
    type InboundOpenInfo = H::InboundOpenInfo;
    type OutboundOpenInfo = H::OutboundOpenInfo;

    fn listen_protocol(&self) -> SubstreamProtocol<H::InboundProtocol, H::InboundOpenInfo> {
        self.0.listen_protocol()
    }

    fn connection_keep_alive(&self) -> bool {
        self.0.connection_keep_alive()
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<H::OutboundProtocol, H::OutboundOpenInfo, H::ToBehaviour>>
    {
        self.0.poll(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Option<H::ToBehaviour>> {
        self.0.poll_close(cx)
    }

    fn on_behaviour_event(&mut self, event: H::FromBehaviour) {
        self.0.on_behaviour_event(event);
    }

    fn on_connection_event(
        &mut self,
        mut event: ConnectionEvent<
            H::InboundProtocol,
            H::OutboundProtocol,
            H::InboundOpenInfo,
            H::OutboundOpenInfo,
        >,
    ) {
        event = match event {
            ConnectionEvent::FullyNegotiatedInbound(mut opened) => {
                opened.protocol = opened.protocol.trim();
                ConnectionEvent::FullyNegotiatedInbound(opened)
            }
            ConnectionEvent::FullyNegotiatedOutbound(mut opened) => {
                opened.protocol = opened.protocol.trim();
                ConnectionEvent::FullyNegotiatedOutbound(opened)
            }
            other => other,
        };
        self.0.on_connection_event(event);
    }
}

#[cfg(test)]
mod tests {
    use asynchronous_codec::BytesCodec;
    use futures::io::Cursor;

    use super::*;

    #[test]
    fn a_stream_loses_its_room_and_none_of_its_bytes() {
        let framed = Framed::new(Cursor::new(Vec::new()), BytesCodec);
        assert!(framed.read_buffer().capacity() > 0);
        assert_eq!(framed.trim().read_buffer().capacity(), 0);

        let mut parts = Framed::new(Cursor::new(Vec::new()), BytesCodec).into_parts();
        parts.read_buffer.extend_from_slice(b"read");
        parts.write_buffer.extend_from_slice(b"written");
        let parts = Framed::from_parts(parts).trim().into_parts();
        assert_eq!(
            (&parts.read_buffer[..], &parts.write_buffer[..]),
            (&b"read"[..], &b"written"[..])
        );
    }
}
