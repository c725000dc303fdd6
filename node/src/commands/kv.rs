//! `kv`: the replicated key-value store.

use std::time::Duration;

use peerage_api::{
    kv::Write,
    types::{Expected, KvKey, PeerId},
};
use serde_json::json;

use super::{Context, peers, storage::ttl};
use crate::{failed::Failed, output::printable};

mod exact;
mod export;
mod figures;
mod get;
mod given;
mod import;
mod lines;
mod list;
mod refusals;
mod shapes;
mod space;
mod store;
mod watch;

use self::{
    given::Given,
    store::{Place, Store},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum Command {
    /// Set a value; every node that has the space gets it
    #[command(after_help = "\
Examples:
  peerage kv put settings/mail/port 587 --type int
  peerage kv put motd 'Tea at four' --ttl 12h
  peerage kv put logo --type bytes --file logo.png
  date | peerage kv put last/backup
  peerage kv put lock mine --create                   only if there is none
  peerage kv put motd 'Tea at five' --if-revision R   only if nobody has changed it here since

Conditions are checked on this node. Another may write at the same time; the later of the two
wins, the same everywhere. One author may hold half of a space; the limits are --max-space-bytes
and --max-space-entries of `peerage up`.")]
    Put {
        /// The key, such as settings/mail/port
        key: KvKey,
        #[command(flatten)]
        given: Given,
        #[command(flatten)]
        place: Place,
        /// It is gone after that: seconds, or such as 90s, 15m, 12h, 7d
        #[arg(long, value_name = "T", value_parser = ttl)]
        ttl: Option<Duration>,
        /// Only if the entry is at this revision; none for no entry
        #[arg(long, value_name = "R|none")]
        if_revision: Option<Expected>,
        /// Only if there is no entry
        #[arg(long, conflicts_with = "if_revision")]
        create: bool,
    },
    /// Print a value
    #[command(after_help = "\
Examples:
  peerage kv get motd
  peerage kv get logo --raw > logo.png
  peerage kv get motd -v                       also type, revision, author and time, on stderr
  peerage kv get motd --json                   all of it as JSON; bytes as base64")]
    Get {
        /// The key
        key: KvKey,
        /// The value and nothing else: text and bytes as they are, without a line end
        #[arg(long, conflicts_with = "json")]
        raw: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Delete an entry everywhere; its history stays
    #[command(after_help = "\
Examples:
  peerage kv del motd
  peerage kv del motd --if-revision 0001d2f0a1b2c3d4e5f60718")]
    Del {
        /// The key
        key: KvKey,
        #[command(flatten)]
        place: Place,
        /// Only if the entry is at this revision
        #[arg(long, value_name = "R")]
        if_revision: Option<Expected>,
    },
    /// Delete an entry and its history everywhere
    #[command(after_help = "Example: peerage kv purge notes/private")]
    Purge {
        /// The key
        key: KvKey,
        #[command(flatten)]
        place: Place,
    },
    /// The entries whose keys begin so, in the order of the keys' bytes
    Ls(list::Ls),
    /// Print changes as they happen
    Watch(watch::Watch),
    /// The versions of an entry that this node still has, the newest first
    #[command(after_help = "Example: peerage kv history motd")]
    History {
        /// The key
        key: KvKey,
        #[command(flatten)]
        place: Place,
    },
    /// How much there is, and what the last synchronisation did
    #[command(after_help = "\
Examples:
  peerage kv stats
  peerage kv stats --json | jq .last_sync.received_bytes")]
    Stats {
        #[command(flatten)]
        place: Place,
    },
    /// Synchronise now, which also happens by itself
    #[command(after_help = "\
Examples:
  peerage kv sync                    with every connected peer that has the space
  peerage kv sync 12D3KooW…          with that one; fails if it refuses")]
    Sync {
        /// Peer id
        #[arg(value_parser = peers::peer)]
        peer: Option<PeerId>,
        #[command(flatten)]
        place: Place,
    },
    /// Write entries as lines of JSON
    Export(export::Export),
    /// Set entries from lines of JSON
    Import(import::Import),
    /// Spaces: who shares what with whom
    #[command(after_help = "\
Examples:
  peerage kv space create team
  peerage kv space grant team --to 12D3KooW… --write --prefix tasks/
  peerage kv space ticket team --read --ttl 7d     elsewhere: peerage kv space join TICKET
  peerage kv put tasks/1 'buy tea' --space team

The default space belongs to the network: every member reads and writes it. Any other belongs to
whoever made it, who grants access. SPACE is `default`, an id, or the name it has on this node.")]
    Space(space::Args),
}

pub(super) async fn run(context: Context<'_>, args: Args) -> Result<(), Failed> {
    // What needs no daemon is checked before one is asked for.
    match args.command {
        Command::Put { key, given, place, ttl, if_revision, create } => {
            let expect = if create { Some(Expected::Absent) } else { if_revision };
            let mut write = Write::put(key, given.value(context.out).await?);
            write = expect.into_iter().fold(write, Write::expecting);
            write = ttl.into_iter().fold(write, Write::expiring);
            apply(context, &place, write, "set").await
        }
        Command::Get { key, raw, place } => get::run(context, &place, key, raw).await,
        Command::Del { key, place, if_revision } => {
            apply(context, &place, Write::Delete { key, expect: if_revision }, "deleted").await
        }
        Command::Purge { key, place } => {
            apply(context, &place, Write::Purge { key }, "purged").await
        }
        Command::Ls(args) => list::run(context, args).await,
        Command::Watch(args) => watch::run(context, args).await,
        Command::History { key, place } => get::history(context, &place, key).await,
        Command::Stats { place } => figures::stats(context, &place).await,
        Command::Sync { peer, place } => figures::sync(context, &place, peer).await,
        Command::Export(args) => export::run(context, args).await,
        Command::Import(args) => import::run(context, args).await,
        Command::Space(args) => space::run(context, args).await,
    }
}

/// Does one write and tells its revision.
async fn apply(
    context: Context<'_>,
    place: &Place,
    write: Write,
    done: &str,
) -> Result<(), Failed> {
    let store = Store::new(context).await?;
    let kv = store.open(place).await?;
    let key = write.key().clone();
    let applied = store.ask(kv.batch(vec![write])).await?;
    let line = json!({ "key": key, done: true, "revision": applied.revision, "seq": applied.seq });
    context.out.result(&line, |_| match done {
        "set" => format!("revision {}", applied.revision),
        done => format!("{}: {done}", printable(key.as_str())),
    })
}
