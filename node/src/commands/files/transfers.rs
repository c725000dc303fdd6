//! `transfers`: what moves, and what can be done about it.

use std::{path::PathBuf, time::Duration};

use peerage_api::{
    Node,
    files::{Direction, Files, State, Stats, Transfer},
    types::{TransferId, UnixMillis},
};
use serde_json::json;

use super::{
    super::{Context, Until},
    dest::Dest,
    follow::Follow,
    pick::Named,
    show, watch, with,
};
use crate::{
    failed::Failed,
    output::{self, Table, bytes, printable},
};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  peerage transfers
  peerage transfers accept 3f2c --into ~/downloads
  peerage transfers reject 3f2c 'not now'
  peerage transfers pause 3f2c         and later: peerage transfers resume 3f2c
  peerage transfers resume 3f2c --into /mnt/usb    when there was no room where it was
  peerage transfers watch              until ctrl-C

What peers fetch of your shares is listed, too, until this node stops. The peer is refused what you
pause, until `resume`, and what you cancel, until `rm`.
An ID may be shortened to its first 4 or more digits.")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Also those that ended more than a day ago
    #[arg(long)]
    all: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Those that are not over, and those that ended within a day (the default)
    Ls {
        /// Also those that ended more than a day ago
        #[arg(long)]
        all: bool,
    },
    /// All about one
    Show(One),
    /// Take an offer
    Accept(Accept),
    /// Decline an offer
    Reject {
        #[command(flatten)]
        one: One,
        /// Why, for the other side
        #[arg(default_value = "", hide_default_value = true)]
        reason: String,
    },
    /// Stop one for now; what is there stays
    Pause(One),
    /// Go on with one that is paused or failed, from what is there
    Resume(Resume),
    /// End one for good and remove what is incomplete
    Cancel(One),
    /// Forget one that is over; complete files stay
    Rm(One),
    /// Figures over all transfers since the start of the node
    Stats,
    /// Show one until it is over, or all until ctrl-C
    Watch(Watch),
}

#[derive(Debug, clap::Args)]
struct One {
    /// The id of a transfer, or its first 4 or more digits
    #[arg(value_parser = Named::parse)]
    id: Named,
}

#[derive(Debug, clap::Args)]
struct Accept {
    #[command(flatten)]
    one: One,
    /// Folder to put it into [default: the configured one, files.dir]
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
    /// Show it until it is over
    #[arg(long)]
    wait: bool,
}

#[derive(Debug, clap::Args)]
struct Resume {
    #[command(flatten)]
    one: One,
    /// Another folder to put it into; what is there already is fetched again
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct Watch {
    /// The id of a transfer, or its first 4 or more digits [default: all of them]
    #[arg(value_parser = Named::parse)]
    id: Option<Named>,
    #[command(flatten)]
    until: Until,
}

pub(in super::super) async fn run(context: Context<'_>, args: Args) -> Result<(), Failed> {
    let node = context.node().await?;
    let files = node.files();
    match args.command.unwrap_or(Command::Ls { all: false }) {
        Command::Ls { all } => list(context, &node, all || args.all).await,
        Command::Show(one) => {
            let id = one.id.find(context, &files).await?;
            let transfer = context.within("no answer", files.transfer(id)).await?;
            context.out.result(&transfer, show::describe)
        }
        Command::Accept(accept) => self::accept(context, &files, accept).await,
        Command::Reject { one, reason } => {
            let id = one.id.find(context, &files).await?;
            context.within("no answer", files.reject(id, reason)).await?;
            marked(context, id, "rejected")
        }
        Command::Pause(one) => {
            let id = one.id.find(context, &files).await?;
            stands(context, &context.within("no answer", files.pause(id)).await?)
        }
        Command::Resume(Resume { one, into }) => {
            let into = into.as_deref().map(Dest::folder).transpose()?;
            let id = one.id.find(context, &files).await?;
            let resumed = async {
                match into {
                    Some(into) => files.resume_into(id, into).await,
                    None => files.resume(id).await,
                }
            };
            stands(context, &context.within("no answer", resumed).await?)
        }
        Command::Cancel(one) => {
            let id = one.id.find(context, &files).await?;
            stands(context, &context.within("no answer", files.cancel(id)).await?)
        }
        Command::Rm(one) => {
            let id = one.id.find(context, &files).await?;
            context.within("no answer", files.forget(id)).await?;
            marked(context, id, "removed")
        }
        Command::Stats => {
            let stats = context.within("no answer", files.stats()).await?;
            context.out.result(&stats, figures)
        }
        Command::Watch(Watch { id: None, until }) => watch::all(context, &files, until).await,
        Command::Watch(Watch { id: Some(id), until }) => {
            let id = id.find(context, &files).await?;
            // The feed of a transfer that nobody knows would be silent for ever.
            context.within("no answer", files.transfer(id)).await?;
            let follow = Follow::new(context, &files, id, context.out.json).await?;
            until.within(follow.until_over()).await
        }
    }
}

/// How long what is over is listed.
const RECENT: Duration = Duration::from_secs(86_400);

async fn list(context: Context<'_>, node: &Node, all: bool) -> Result<(), Failed> {
    let mut transfers = context.within("no answer", node.files().transfers()).await?;
    let now = UnixMillis::now();
    let recent = |t: &Transfer| t.finished_ms.is_none_or(|then| now.since(then) < RECENT);
    transfers.retain(|transfer| all || !transfer.state.is_over() || recent(transfer));
    context.out.result(&transfers, |transfers| match transfers.as_slice() {
        [] => "no transfers".to_owned(),
        transfers => show::table(transfers),
    })?;
    let asked = transfers.iter().filter(|t| t.state == State::Asked).count();
    if asked > 0 && !context.out.json {
        context.out.note("take what is asked with: peerage transfers accept ID [--into DIR]");
    }
    Ok(())
}

async fn accept(context: Context<'_>, files: &Files, args: Accept) -> Result<(), Failed> {
    let into = args.into.as_deref().map(Dest::folder).transpose()?;
    let id = args.one.id.find(context, files).await?;
    let follow = match args.wait {
        true => Some(Follow::new(context, files, id, false).await?),
        false => None,
    };
    let accepted = context.within("no answer", files.accept(id, into)).await?;
    match follow {
        Some(follow) => follow.until_over().await,
        None => stands(context, &accepted),
    }
}

/// Prints how a transfer stands now.
fn stands(context: Context<'_>, transfer: &Transfer) -> Result<(), Failed> {
    context.out.result(transfer, |transfer| match (transfer.state, transfer.direction) {
        (State::Connecting | State::Running, Direction::Receive) => {
            format!("fetching {} from {}", super::what(transfer), with(transfer))
        }
        (State::Cancelled, _) => format!("cancelled {}", printable(&transfer.name)),
        _ => show::words(transfer),
    })
}

/// `{"transfer", "rejected": true}` and the like.
fn marked(context: Context<'_>, id: TransferId, mark: &str) -> Result<(), Failed> {
    context.out.result(&json!({ "transfer": id, mark: true }), |_| format!("{mark} {id}"))
}

fn figures(stats: &Stats) -> String {
    let mut table = Table::plain();
    let mut row = |name: &str, value: String| table.row([name.to_owned(), value]);
    row("active", stats.active.to_string());
    row("asked", stats.asked.to_string());
    row("done", stats.done.to_string());
    row("failed", stats.failed.to_string());
    row("shares", stats.shares.to_string());
    row("sent", format!("{} ({})", bytes(stats.sent_bytes), output::rate(stats.send_bps)));
    row(
        "received",
        format!("{} ({})", bytes(stats.received_bytes), output::rate(stats.receive_bps)),
    );
    row("corrupt", bytes(stats.corrupt_bytes));
    row("serving", format!("{} streams", stats.serving));
    table.to_string()
}
