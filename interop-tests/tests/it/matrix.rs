//! Every foreign library × transport × who dials × protocol, in one table.

use std::{io::Write, path::PathBuf};

use anyhow::{Result, ensure};
use futures::{StreamExt, stream};
use peerage_interop_tests::{Kind, Obstacle, Outcome, Row, Table, Transport, build_daemon};

use crate::meeting::{Dialler, Meeting, Protocol};

/// Rows at a time: each is a daemon and a foreign peer, for two cores.
const AT_ONCE: usize = 2;

/// Where the table is written as JSON.
const JSON: &str = "PEERAGE_INTEROP_JSON";

const UTF8_KEYS: Obstacle = Obstacle {
    reason: "py-libp2p takes records under keys in UTF-8 only, ours end in a hash",
    link: "https://github.com/libp2p/py-libp2p/blob/v0.8.1/libp2p/kad_dht/kad_dht.py",
};

const CID_KEYS: Obstacle = Obstacle {
    reason: "js-libp2p reads keys of providers as CIDs: of multihashes SHA2-256 only, ours are SHA-1",
    link: "https://github.com/libp2p/js-libp2p-kad-dht/issues/381",
};

#[tokio::test]
async fn the_table_of_other_peoples_nodes() -> Result<()> {
    build_daemon()?;
    let mut pairs = Vec::new();
    for kind in Kind::ALL {
        if kind.is_here()? {
            let both = |transport| [Dialler::We, Dialler::It].map(|d| (kind, transport, d));
            pairs.extend(Transport::ALL.into_iter().flat_map(both));
        }
    }
    let rows = stream::iter(pairs).map(|(kind, transport, d)| row(kind, transport, d));
    let table = Table { rows: rows.buffered(AT_ONCE).collect().await };
    show(&table)?;
    ensure!(table.failed() == 0, "{} cells failed, see the table", table.failed());
    Ok(())
}

async fn row(kind: Kind, transport: Transport, dialler: Dialler) -> Row {
    let mut meeting = Meeting::begin(kind, transport, dialler).await;
    let mut cells = Vec::new();
    for protocol in Protocol::ALL {
        let outcome = match (obstacle(kind, protocol), &mut meeting) {
            (Some(why), _) => Outcome::Cannot(why),
            (None, Ok(meeting)) => outcome(meeting.speak(protocol).await),
            (None, Err(error)) => Outcome::Failed(format!("no connection: {error:#}")),
        };
        cells.push((protocol.as_str(), outcome));
    }
    let (who, direction) = (kind.library(), dialler.direction());
    Row { who, transport: transport.as_str(), direction, cells }
}

fn outcome(spoken: Result<()>) -> Outcome {
    match spoken {
        Ok(()) => Outcome::Works,
        Err(error) => Outcome::Failed(format!("{error:#}")),
    }
}

/// What cannot work, whatever our node does.
fn obstacle(kind: Kind, protocol: Protocol) -> Option<Obstacle> {
    match (kind, protocol) {
        (Kind::Py, Protocol::PutOut) => Some(UTF8_KEYS),
        (Kind::Js, Protocol::ProvideOut | Protocol::FindOut) => Some(CID_KEYS),
        _ => None,
    }
}

/// Prints past the capture of the test runner, in one write, and writes the file.
fn show(table: &Table) -> Result<()> {
    let default = || PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("interop.json");
    let path = std::env::var_os(JSON).map_or_else(default, PathBuf::from);
    std::fs::write(&path, format!("{:#}\n", table.to_json()))?;
    let text = format!("\n{table}written to {}\n", path.display());
    Ok(std::io::stderr().write_all(text.as_bytes())?)
}
