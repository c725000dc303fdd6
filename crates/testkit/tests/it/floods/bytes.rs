//! Protobuf messages and length-prefixed frames, written by hand: what libp2p's own encoders refuse
//! to write.

/// An unsigned varint.
pub(crate) fn number(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 0x7f {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// The bytes behind their length.
pub(crate) fn framed(bytes: &[u8]) -> Vec<u8> {
    [&number(bytes.len() as u64), bytes].concat()
}

/// A protobuf field of bytes, text or a message.
pub(crate) fn bytes(field: u64, value: impl AsRef<[u8]>) -> Vec<u8> {
    [number(field << 3 | 2), framed(value.as_ref())].concat()
}

/// A protobuf field of a number.
pub(crate) fn varint(field: u64, value: u64) -> Vec<u8> {
    [number(field << 3), number(value)].concat()
}
