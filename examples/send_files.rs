//! Files from one program to another by a ticket, each with a node inside.
//!
//! ```text
//! cargo run -p peerage-examples --example send_files -- share ~/Pictures
//! cargo run -p peerage-examples --example send_files -- get TICKET /tmp
//! ```
//!
//! The first prints a ticket and serves until ctrl-C. The second finds the first by the addresses in
//! the ticket, verifies every 16 KiB while they arrive, and puts the content into the folder.

use std::{env::current_dir, path::PathBuf};

use anyhow::{Context as _, bail};
use clap::{Parser, Subcommand};
use peerage::{
    Feeding, Node, Settings,
    files::{Event, Get, MakeShare, Shared, Wanted},
    types::{Multiaddr, TransferId},
};
use tokio::signal;

/// Files from one program to another by a ticket.
#[derive(Debug, Parser)]
struct Args {
    /// Listen only there, and meet only those a ticket names.
    #[arg(long, global = true)]
    listen: Option<Multiaddr>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves files and directories until ctrl-C.
    Share {
        /// What to share.
        #[arg(required = true)]
        paths: Vec<PathBuf>,
    },
    /// Fetches what a ticket names.
    Get {
        /// As the other side prints it.
        ticket: String,
        /// The folder to put it into.
        #[arg(default_value = ".")]
        into: PathBuf,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mdns = args.listen.is_none();
    let listen = args.listen.into_iter().collect();
    let running =
        peerage::start(Settings { listen, mdns, mainline: mdns, ..Settings::default() }).await?;
    match args.command {
        Command::Share { paths } => share(&running.node, paths).await?,
        Command::Get { ticket, into } => get(&running.node, ticket, into).await?,
    }
    running.stop().await;
    Ok(())
}

async fn share(node: &Node, paths: Vec<PathBuf>) -> anyhow::Result<()> {
    // A node does not know the working directory of who asks it.
    let here = current_dir()?;
    let paths = paths.into_iter().map(|path| here.join(path)).collect();
    let share = node.files().share(MakeShare { paths, share: None, keep_links: false }).await?;
    let Shared::Content { ticket, bytes, files, .. } = share.what else {
        bail!("a folder was published instead");
    };
    eprintln!("{} ({files} files, {bytes} bytes); ctrl-C ends it", share.name);
    println!("{ticket}");
    signal::ctrl_c().await?;
    Ok(())
}

async fn get(node: &Node, ticket: String, into: PathBuf) -> anyhow::Result<()> {
    let request = Get::new(Wanted::Ticket(ticket), Some(current_dir()?.join(into)));
    let transfer = node.files().get(request).await?.transfer;
    let files = node.files();
    tokio::select! {
        done = files.wait(transfer) => {
            let paths = done?.paths;
            println!("{}", paths.first().context("there is something")?.display());
        }
        watched = watch(node, transfer) => watched?,
    }
    Ok(())
}

/// Shows how far it is, for ever.
async fn watch(node: &Node, transfer: TransferId) -> anyhow::Result<()> {
    let mut events = node.files().events(Some(transfer)).await?;
    while let Some(event) = events.next().await {
        match event {
            Feeding::Item(Event::Progress { bytes, total, rate_bps, .. }) => {
                eprintln!("{bytes} of {total} bytes, {rate_bps} a second");
            }
            Feeding::Item(Event::State { transfer }) => eprintln!("{}", transfer.state),
            Feeding::Item(Event::Hashing { .. }) | Feeding::Lagged(_) => {}
        }
    }
    bail!("the node has stopped")
}
