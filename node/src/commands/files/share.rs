//! `share`: a ticket for whoever may have it.

use std::path::PathBuf;

use peerage_api::files::{self, Files, MAX_PATHS, Shared, Skipped};
use serde::Serialize;

use super::{super::Context, count, done, follow::Follow, new_id, paths};
use crate::{
    failed::{Exit, Failed},
    output::{bytes, printable, qr},
};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  peerage share photos              prints a ticket; elsewhere: peerage get TICKET
  T=$(peerage share film.mkv)
  peerage share film.mkv --qr       also as a QR code

Whoever has the ticket can fetch it while this node runs, until `peerage shares rm`. Files are
served where they are: what changes after that is no longer served.")]
pub(crate) struct Args {
    /// Files and folders; of a link its target, under the name of that
    #[arg(required = true, value_name = "PATH", num_args = 1..=MAX_PATHS)]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    how: How,
}

/// How content is shared.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct How {
    /// Also draw the ticket as a QR code
    #[arg(long)]
    qr: bool,
    /// Keep links that stay inside of a folder, rather than skip them
    #[arg(long)]
    keep_links: bool,
}

/// The shape of the contract.
#[derive(Debug, Serialize)]
struct Ticket<'a> {
    ticket: &'a str,
    hash: String,
    bytes: u64,
    files: u64,
    /// What was left out; the first 100.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    skipped: &'a [Skipped],
    /// How many were left out.
    #[serde(skip_serializing_if = "done::is_zero")]
    skipped_count: u64,
}

pub(in super::super) async fn run(context: Context<'_>, args: Args) -> Result<(), Failed> {
    let paths = paths::existing(&args.paths)?;
    let node = context.node().await?;
    content(context, &node.files(), paths, args.how).await
}

/// Shares content and prints its ticket; hashing takes what it takes.
pub(super) async fn content(
    context: Context<'_>,
    files: &Files,
    paths: Vec<PathBuf>,
    how: How,
) -> Result<(), Failed> {
    let (id, name) = (new_id(), paths::name(&paths));
    let request = files::MakeShare { paths, share: Some(id), keep_links: how.keep_links };
    let work = async { Ok(files.share(request).await?) };
    let mut follow = Follow::new(context, files, id, false).await?.named(name);
    let share = follow.during(work).await?;
    drop(follow);
    print(context, &share, how.qr)
}

/// The ticket alone on stdout, everything else on stderr.
fn print(context: Context<'_>, share: &files::Share, draw: bool) -> Result<(), Failed> {
    let Shared::Content { hash, bytes: size, files, ticket, .. } = &share.what else {
        let problem = "the daemon answered with a published folder";
        return Err(Failed::new(Exit::Failed, "mismatch", problem));
    };
    if draw {
        qr::draw(&ticket.to_ascii_uppercase())?;
    }
    let (name, size_text) = (printable(&share.name), bytes(*size));
    context.out.note(format_args!("sharing {name} ({}, {size_text})", count(*files)));
    context.out.note(format_args!("BLAKE3 {hash}"));
    done::skipped(context, &share.skipped, share.skipped_count);
    context.out.note("get it with: peerage get TICKET");
    let shape = Ticket {
        ticket,
        hash: hash.to_string(),
        bytes: *size,
        files: *files,
        skipped: &share.skipped,
        skipped_count: share.skipped_count,
    };
    context.out.result(&shape, |shape| shape.ticket.to_owned())
}
