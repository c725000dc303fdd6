//! Nodes of other libp2p implementations and ours: each pair connects, identifies, pings and
//! gossips, over TCP and over QUIC, whoever dials. And ours among themselves on a local network.

mod bed;
mod crowd;
mod harness;
mod lan;
mod mainline;
mod meeting;
mod old;
mod rendezvous;

use peerage_interop_tests::{Kind, Transport};

use meeting::Dialler;

/// The tests of one pair; each returns early when the foreign toolchain is absent.
macro_rules! pair {
    ($name:ident, $kind:ident, $transport:ident) => {
        mod $name {
            use super::*;

            #[tokio::test]
            async fn it_identifies_to_us_and_we_to_it_when_we_dial() -> anyhow::Result<()> {
                meeting::identify(Kind::$kind, Transport::$transport, Dialler::We).await
            }

            #[tokio::test]
            async fn it_identifies_to_us_and_we_to_it_when_it_dials() -> anyhow::Result<()> {
                meeting::identify(Kind::$kind, Transport::$transport, Dialler::It).await
            }

            #[tokio::test]
            async fn pings_are_answered_both_ways_when_we_dial() -> anyhow::Result<()> {
                meeting::ping(Kind::$kind, Transport::$transport, Dialler::We).await
            }

            #[tokio::test]
            async fn pings_are_answered_both_ways_when_it_dials() -> anyhow::Result<()> {
                meeting::ping(Kind::$kind, Transport::$transport, Dialler::It).await
            }

            #[tokio::test]
            async fn gossip_arrives_both_ways_when_we_dial() -> anyhow::Result<()> {
                meeting::gossip(Kind::$kind, Transport::$transport, Dialler::We).await
            }

            #[tokio::test]
            async fn gossip_arrives_both_ways_when_it_dials() -> anyhow::Result<()> {
                meeting::gossip(Kind::$kind, Transport::$transport, Dialler::It).await
            }

            #[tokio::test]
            async fn its_unsigned_gossip_is_not_delivered() -> anyhow::Result<()> {
                meeting::unsigned_gossip(Kind::$kind, Transport::$transport).await
            }
        }
    };
}

pair!(js_over_tcp, Js, Tcp);
pair!(js_over_quic, Js, Quic);
pair!(py_over_tcp, Py, Tcp);
pair!(py_over_quic, Py, Quic);
