//! Daemons that send files to each other.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use peerage_api::{
    Node,
    files::{Get, MakeShare, Send, Shared, State, Transfer, Wanted},
    types::{Multiaddr, PeerId, TransferId},
};
use serde::Deserialize;

use crate::bench::process::{Process, Usage};

/// How long a transfer may take before the measurement is given up.
const PATIENCE: Duration = Duration::from_secs(600);

/// A daemon with a data directory of its own, which survives its process.
pub(super) struct Daemon {
    process: Option<Process>,
    arguments: Vec<String>,
    dir: PathBuf,
    pub(super) node: Node,
    pub(super) peer: PeerId,
    pub(super) address: Multiaddr,
}

#[derive(Deserialize)]
struct Ready {
    peer_id: PeerId,
    listen: Vec<Multiaddr>,
}

impl Daemon {
    /// Starts one that listens on `listen` and accepts what `from` sends.
    pub(super) async fn start(
        home: &Path,
        name: &str,
        listen: &str,
        from: Option<PeerId>,
    ) -> anyhow::Result<Self> {
        let dir = home.join(name);
        let mut arguments: Vec<_> = "up --json --local-only --no-mdns --data"
            .split(' ')
            .map(str::to_owned)
            .chain([dir.display().to_string(), "--listen".to_owned(), listen.to_owned()])
            .collect();
        if let Some(from) = from {
            arguments.extend(["--accept-from".to_owned(), from.to_string()]);
        }
        let (process, ready) = launch(&arguments).await?;
        let node = peerage::Remote::connect(&dir).await?;
        let address = ready.listen.first().context("it listens")?.clone();
        // The same port the next time, as a daemon with a configured address has.
        if let Some(at) = arguments.iter().position(|argument| argument == listen) {
            arguments[at] = without_peer(&address).to_string();
        }
        Ok(Self { process: Some(process), arguments, dir, node, peer: ready.peer_id, address })
    }

    /// Ends the process without giving it a chance.
    pub(super) async fn kill(&mut self) -> anyhow::Result<()> {
        match self.process.take() {
            Some(process) => process.kill().await,
            None => Ok(()),
        }
    }

    /// Starts it again after [`Daemon::kill`].
    pub(super) async fn restart(&mut self) -> anyhow::Result<()> {
        let (process, _) = launch(&self.arguments).await?;
        self.process = Some(process);
        self.node = peerage::Remote::connect(&self.dir).await?;
        Ok(())
    }

    pub(super) async fn end(self) -> anyhow::Result<()> {
        match self.process {
            Some(process) => process.end().await,
            None => Ok(()),
        }
    }

    pub(super) fn usage(&self) -> anyhow::Result<Usage> {
        self.process.as_ref().context("it runs")?.usage()
    }

    /// Sends paths and returns when the receiver has them, with the time it took.
    pub(super) async fn send(&self, path: &Path, to: &Self) -> anyhow::Result<(Transfer, f64)> {
        let begin = Instant::now();
        let transfer = TransferId(rand::random());
        let whole = Send::new(vec![path.to_owned()], to.peer);
        let request = Send { transfer: Some(transfer), ..whole };
        self.node.files().send(request).await?;
        let done = tokio::time::timeout(PATIENCE, self.node.files().wait(transfer)).await??;
        let seconds = begin.elapsed().as_secs_f64();
        let received = to.node.files().wait(transfer).await?;
        if done.state != State::Done {
            bail!("the transfer ended as {}", done.state);
        }
        Ok((received, seconds))
    }

    pub(super) async fn share(&self, path: &Path) -> anyhow::Result<String> {
        let request = MakeShare { paths: vec![path.to_owned()], share: None, keep_links: false };
        match self.node.files().share(request).await?.what {
            Shared::Content { ticket, .. } => Ok(ticket),
            Shared::Folder { .. } => bail!("a folder was shared"),
        }
    }

    /// Begins to fetch what a ticket names, at so many bytes a second at most.
    pub(super) async fn get(
        &self,
        ticket: &str,
        into: &Path,
        limit_bps: Option<u64>,
    ) -> anyhow::Result<TransferId> {
        let wanted = Wanted::Ticket(ticket.to_owned());
        let request = Get { limit_bps, ..Get::new(wanted, Some(into.to_owned())) };
        Ok(self.node.files().get(request).await?.transfer)
    }

    pub(super) async fn wait(&self, transfer: TransferId) -> anyhow::Result<Transfer> {
        Ok(tokio::time::timeout(PATIENCE, self.node.files().wait(transfer)).await??)
    }
}

async fn launch(arguments: &[String]) -> anyhow::Result<(Process, Ready)> {
    let mut process = Process::start(arguments)?;
    let ready = process.line().await?;
    Ok((process, ready))
}

fn without_peer(address: &Multiaddr) -> Multiaddr {
    let mut address = address.clone();
    address.pop();
    address
}

/// Random bytes, which nothing on the way can make smaller.
pub(super) fn random_file(path: &Path, bytes: u64) -> anyhow::Result<()> {
    use std::io::Write as _;
    let mut file = std::io::BufWriter::new(fs::File::create(path)?);
    let mut block = vec![0; 1 << 20];
    let mut left = bytes;
    while left > 0 {
        rand::fill(&mut block[..]);
        let now = left.min(block.len() as u64);
        file.write_all(&block[..usize::try_from(now)?])?;
        left -= now;
    }
    file.into_inner()?.sync_all()?;
    Ok(())
}
