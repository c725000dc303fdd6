//! What carries a connection between a foreign peer and ours.

use anyhow::{Context, Result};

/// What carries a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// TCP with Noise and Yamux.
    TcpNoise,
    /// TCP with TLS 1.3 and Yamux.
    TcpTls,
    /// QUIC version 1.
    Quic,
}

impl Transport {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::TcpNoise, Self::TcpTls, Self::Quic];

    /// Its name in the table.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TcpNoise => "tcp+noise",
            Self::TcpTls => "tcp+tls",
            Self::Quic => "quic",
        }
    }

    /// Its name in `--transport` of foreign peers and in `peerage peers`.
    #[must_use]
    pub fn carrier(self) -> &'static str {
        match self {
            Self::TcpNoise | Self::TcpTls => "tcp",
            Self::Quic => "quic",
        }
    }

    /// The flags that make a foreign peer speak this and nothing else. Ours speaks all, so what it
    /// uses is what the foreign peer has.
    pub(crate) fn flags(self) -> &'static [&'static str] {
        match self {
            Self::TcpNoise => &["--transport", "tcp", "--security", "noise"],
            Self::TcpTls => &["--transport", "tcp", "--security", "tls"],
            Self::Quic => &["--transport", "quic"],
        }
    }

    /// Picks this transport's address from those a peer listens on.
    pub(crate) fn pick(self, listen: &[String]) -> Result<&str> {
        let part = match self {
            Self::TcpNoise | Self::TcpTls => "/tcp/",
            Self::Quic => "/quic-v1",
        };
        let found = listen.iter().find(|address| address.contains(part));
        found.map(String::as_str).with_context(|| format!("no {part} address in {listen:?}"))
    }
}
