//! `send`: offers files to a peer or a user.

use std::path::PathBuf;

use peerage_api::files::{self, MAX_PATHS};

use super::{super::Context, Going, begun, follow::Follow, new_id, paths, to::To};
use crate::failed::Failed;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  peerage send report.pdf --to 12D3KooW…
  peerage send photos notes.txt --to 12D3KooW… --limit 5M
  peerage send report.pdf --to @ada                a node on which that user is logged in
  peerage send big.iso --to 12D3KooW… --events     progress as lines of JSON

The other side accepts by its configuration (files.accept_from) or with `peerage transfers
accept`. Files are read where they are, so leave them there until it is over. --timeout is for
reaching the peer and for its answer; the transfer itself takes what it takes and goes on in the
background when this command ends: see `peerage transfers`.")]
pub(crate) struct Args {
    /// Files and folders; of a link its target, under the name of that
    #[arg(required = true, value_name = "PATH", num_args = 1..=MAX_PATHS)]
    paths: Vec<PathBuf>,
    /// To whom, a peer id, or a user by id or handle; connects first if need be
    #[arg(long, value_name = "PEER|USER", value_parser = To::parse)]
    to: To,
    /// Keep links that stay inside of a folder, rather than skip them
    #[arg(long)]
    keep_links: bool,
    #[command(flatten)]
    pub(crate) going: Going,
}

pub(in super::super) async fn run(context: Context<'_>, args: Args) -> Result<(), Failed> {
    let Args { paths, to, keep_links, going } = args;
    let paths = paths::existing(&paths)?;
    let name = paths::name(&paths);
    let node = context.node().await?;
    let to = to.node(context).await?;
    let (files, id) = (node.files(), new_id());
    let request = files::Send {
        transfer: Some(id),
        limit_bps: going.limit,
        keep_links,
        patient: going.no_wait,
        ..files::Send::new(paths, to)
    };
    let send = context.within("no answer", files.send(request));
    if going.no_wait {
        return begun(context, &send.await?);
    }
    let follow = Follow::new(context, &files, id, going.events).await?;
    send.await?;
    follow.named(name).patient(context.timeout()).until_over().await
}
