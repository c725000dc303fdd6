//! `user delete`.

use serde_json::json;

use super::{
    super::{Context, acting::Acting},
    recovery::meant,
};
use crate::{failed::Failed, secrets::PasswordFile};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  peerage --as ada user delete             forgets its keys: what is left can never be read
  peerage --as ada user delete --keep      leaves its data, sealed, for `peerage user export`")]
pub(crate) struct Args {
    /// Leave the data, so that it can still be exported
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    password: PasswordFile,
    /// Do not ask whether it is meant
    #[arg(long)]
    yes: bool,
}

pub(super) async fn run(context: Context<'_>, args: Args) -> Result<(), Failed> {
    let acting = Acting::new(context).await?;
    let user = acting.user;
    let what = if args.keep { "Remove" } else { "Remove, with all its data, for ever," };
    meant(args.yes, &format!("{what} {user} from this node?")).await?;
    let password = args.password.read(context).await?;
    let users = acting.desk.node.users();
    acting.ask(users.delete(acting.auth(), password, args.keep)).await?;
    acting.slot().remove()?;
    let line = json!({ "user": user, "deleted": true, "kept": args.keep });
    context.out.result(&line, |_| format!("{user} is no longer on this node"))
}
