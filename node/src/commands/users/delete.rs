//! `user delete`.

use peerage_api::users::UsersError;
use serde_json::json;

use super::{
    super::{
        Context,
        acting::Desk,
        who::{self, Named},
    },
    recovery::meant,
};
use crate::{
    failed::Failed,
    secrets::{PasswordFile, has_terminal},
};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  peerage --as ada user delete             forgets its keys: what is left can never be read
  peerage user delete ada --keep           leaves its data, sealed, for `peerage user export`
  peerage user delete ada --forget         forgets that as well, by the password it had")]
pub(crate) struct Args {
    /// A user of this node, by id or handle [default: the acting user]
    #[arg(value_parser = who::named)]
    user: Option<Named>,
    /// Leave the data, so that it can still be exported
    #[arg(long)]
    keep: bool,
    /// Forget what was kept of a user that was deleted before; it need not be logged in
    #[arg(long, conflicts_with = "keep")]
    forget: bool,
    #[command(flatten)]
    password: PasswordFile,
    /// Do not ask whether it is meant; required where there is no terminal to ask on, but for --keep
    #[arg(long)]
    yes: bool,
}

/// Whoever has but a token of the node's must not be able to destroy what users keep on it.
const LOST: &str = "if it is lost, nobody can read what was kept, which stays sealed; it goes only with the \
                    whole data directory of the node";

pub(super) async fn run(context: Context<'_>, args: Args) -> Result<(), Failed> {
    let desk = Desk::new(context).await?;
    if args.forget {
        return forget(&desk, args).await;
    }
    let acting = desk.act_for(args.user.as_ref()).await?;
    let user = acting.user;
    let what = if args.keep { "Remove" } else { "Remove, with all its data, for ever," };
    // What is kept can be had again.
    let yes = args.yes || args.keep && !has_terminal();
    meant(yes, &format!("{what} {user} from this node?")).await?;
    let password = args.password.read(context).await?;
    let users = acting.desk.node.users();
    acting.ask(users.delete(acting.auth(), password, args.keep)).await?;
    acting.slot().remove()?;
    let line = json!({ "user": user, "deleted": true, "kept": args.keep });
    context.out.result(&line, |_| format!("{user} is no longer on this node"))
}

async fn forget(desk: &Desk<'_>, args: Args) -> Result<(), Failed> {
    let (context, user) = (desk.context, desk.subject(args.user.as_ref()).await?);
    meant(args.yes, &format!("Forget for ever what was kept of {user}?")).await?;
    let password = args.password.read(context).await?;
    let forget = async { Ok::<_, Failed>(desk.node.users().forget(user, password).await) };
    match context.within("no answer", forget).await? {
        Err(error @ UsersError::WrongPassword { .. }) => {
            return Err(Failed::from(error).advise(LOST));
        }
        forgotten => forgotten?,
    }
    let line = json!({ "user": user, "deleted": true, "kept": false });
    context.out.result(&line, |_| format!("nothing of {user} is left on this node"))
}
