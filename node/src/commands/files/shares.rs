//! `shares`: what others can fetch from this node.

use std::path::PathBuf;

use peerage_api::{
    files::{self, Files, Kind, MAX_PATHS, Shared},
    types::PeerId,
};
use serde_json::json;

use super::{
    super::{Context, peers},
    count, paths, pick,
    share::{How, content},
    short_id, who,
};
use crate::{
    failed::Failed,
    output::{self, Table, bytes, printable, short},
};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  peerage shares
  peerage shares add film.mkv                          as `peerage share`
  peerage shares add --publish photos ~/pictures       others: peerage get PEER:photos/2024
  peerage shares add --publish tax ~/tax --for 12D3KooW…
  peerage shares rm photos")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// What is shared and published (the default)
    Ls,
    /// All about one share, also its ticket
    Show(One),
    /// Share files, or publish a folder whose content is looked up when somebody asks for it
    Add(Add),
    /// End shares; the files stay where they are
    Rm {
        /// An id or how it begins, a name, a hash, or a ticket
        #[arg(required = true, value_name = "SHARE")]
        shares: Vec<String>,
    },
}

#[derive(Debug, clap::Args)]
struct One {
    /// An id or how it begins, a name, a hash, or a ticket
    share: String,
}

#[derive(Debug, clap::Args)]
struct Add {
    /// Files and folders; with --publish one folder
    #[arg(required = true, value_name = "PATH", num_args = 1..=MAX_PATHS)]
    paths: Vec<PathBuf>,
    /// Publish the folder under this name, for PEER:NAME/PATH
    #[arg(long, value_name = "NAME", conflicts_with_all = ["qr", "keep_links"])]
    publish: Option<String>,
    /// With --publish: only for this peer; may be repeated [default: everybody in the network]
    #[arg(long = "for", value_name = "PEER", requires = "publish", value_parser = peers::peer)]
    readers: Vec<PeerId>,
    #[command(flatten)]
    how: How,
}

pub(in super::super) async fn run(context: Context<'_>, args: Args) -> Result<(), Failed> {
    match args.command.unwrap_or(Command::Ls) {
        Command::Ls => {
            let shares = context.ask(async |node| node.files().shares().await).await?;
            context.out.result(&shares, |shares| table(shares))
        }
        Command::Show(One { share }) => {
            let shares = context.ask(async |node| node.files().shares().await).await?;
            context.out.result(pick::share(&share, &shares)?, describe)
        }
        Command::Add(add) => self::add(context, add).await,
        Command::Rm { shares } => {
            let node = context.node().await?;
            for share in &shares {
                remove(context, &node.files(), share).await?;
            }
            Ok(())
        }
    }
}

async fn add(context: Context<'_>, add: Add) -> Result<(), Failed> {
    let Add { paths, publish, readers, how } = add;
    let mut paths = paths::existing(&paths)?;
    let node = context.node().await?;
    let Some(name) = publish else {
        return content(context, &node.files(), paths, how).await;
    };
    let path = paths.swap_remove(0);
    if let Some(other) = paths.first() {
        return Err(paths::bad(other, &"--publish takes one folder").into());
    }
    let request = files::Publish { path, name: Some(name), readers };
    let share = context.within("no answer", node.files().publish(request)).await?;
    let id = context.within("no answer", node.id()).await?.peer_id;
    context.out.note("get from it with: peerage get PEER:NAME/PATH");
    context.out.result(&share, |share| format!("{id}:{}", printable(&share.name)))
}

async fn remove(context: Context<'_>, files: &Files, text: &str) -> Result<(), Failed> {
    let known = context.within("no answer", files.shares()).await?;
    let share = pick::share(text.trim(), &known)?;
    context.within("no answer", files.unshare(share.share)).await?;
    let gone = json!({ "share": share.share, "name": share.name, "removed": true });
    context.out.item(&gone, |_| format!("no longer shared: {}", printable(&share.name)))
}

fn table(shares: &[files::Share]) -> String {
    if shares.is_empty() {
        return "nothing is shared".to_owned();
    }
    let mut table = Table::new(["ID", "NAME", "WHAT", "SERVED", "SINCE", "WHERE"]);
    for share in shares {
        let mut place = share.paths.first().map(|p| p.display().to_string()).unwrap_or_default();
        if let more @ 1.. = share.paths.len().saturating_sub(1) {
            place.push_str(&format!(" and {more} more"));
        }
        if share.missing {
            place.push_str(" (gone)");
        }
        table.row([
            short_id(share.share),
            printable(&short(&share.name, 32)),
            kind(&share.what),
            bytes(share.served_bytes),
            output::since(share.created_ms),
            printable(&place),
        ]);
    }
    table.to_string()
}

fn kind(what: &Shared) -> String {
    match what {
        Shared::Content { kind: Kind::File, bytes: size, .. } => bytes(*size),
        Shared::Content { kind: Kind::Tree, bytes: size, files, .. } => {
            format!("{} in {}", bytes(*size), count(*files))
        }
        Shared::Folder { readers } => match readers.as_slice() {
            [] => "published".to_owned(),
            [one] => format!("published for {}", who(one)),
            many => format!("published for {} peers", many.len()),
        },
    }
}

fn describe(share: &files::Share) -> String {
    let mut table = Table::plain();
    let mut row = |name: &str, value: String| table.row([name.to_owned(), value]);
    row("share", share.share.to_string());
    row("name", printable(&share.name));
    row("what", kind(&share.what));
    match &share.what {
        Shared::Content { hash, ticket, .. } => {
            row("hash", hash.to_string());
            row("ticket", ticket.clone());
        }
        Shared::Folder { readers } => {
            let mut name = "readers";
            for reader in readers {
                row(name, reader.to_string());
                name = "";
            }
        }
    }
    let mut name = "where";
    for path in &share.paths {
        row(name, printable(&path.display().to_string()));
        name = "";
    }
    if share.missing {
        let rm = format!("peerage shares rm {}", short_id(share.share));
        row("next", format!("something of it is gone: put it back, or {rm}"));
    }
    row("served", bytes(share.served_bytes));
    row("since", output::since(share.created_ms));
    table.to_string()
}
