//! Entry points for fuzzers: each panics if its decoder breaks a promise on the given bytes.

use bytes::BytesMut;

use crate::{exchange, link};

/// [`exchange::decode`] neither panics nor accepts bytes that encode differently.
///
/// # Panics
/// When it does.
pub fn exchange_frames(bytes: &[u8]) {
    let mut buffer = BytesMut::from(bytes);
    let mut read = 0;
    while let Ok(Some(frame)) = exchange::decode(&mut buffer) {
        let mut again = BytesMut::new();
        frame.encode(&mut again);
        assert_eq!(again, bytes[read..read + again.len()], "{frame:?} encodes differently");
        read += again.len();
        assert_eq!(buffer, bytes[read..], "{frame:?} took more or less than its bytes");
    }
}

/// [`link::Request::decode`] neither panics nor accepts bytes that encode differently.
///
/// # Panics
/// When it does.
pub fn link_request(bytes: &[u8]) {
    let Some(header) = bytes.first_chunk() else { return };
    if let Ok(request) = link::Request::decode(header) {
        assert_eq!(request.encode(), *header, "{request:?} encodes differently");
    }
}
