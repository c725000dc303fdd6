//! `user rotate` and `user revoke`: what a recovery code is for.

use std::path::PathBuf;

use super::{
    super::{
        Context,
        acting::{Acting, Desk},
        who::{self, Named},
    },
    create::{Place, with_recovery},
    find, marked,
};
use crate::{
    failed::{Exit, Failed},
    secrets::{self, PasswordFile},
};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example: peerage user rotate --recovery-file old.txt --new-recovery-file new.txt

Contacts of the user follow to the new key; they see it as not verified until they compare again.
Contact book, storage and sessions stay. There is a new recovery code, and the old one is void.")]
pub(crate) struct Rotate {
    #[command(flatten)]
    password: PasswordFile,
    /// File that holds the recovery code [default: $PEERAGE_RECOVERY, or a prompt]
    #[arg(long, value_name = "FILE")]
    recovery_file: Option<PathBuf>,
    /// Write the new recovery code to a new file of mode 0600 rather than show it
    #[arg(long, value_name = "FILE")]
    new_recovery_file: Option<PathBuf>,
}

pub(super) async fn rotate(context: Context<'_>, args: Rotate) -> Result<(), Failed> {
    let acting = Acting::new(context).await?;
    let place = Place::new(args.new_recovery_file.as_deref())?;
    let password = args.password.read(context).await?;
    let recovery = secrets::recovery(context, args.recovery_file.as_deref()).await?;
    let work = acting.desk.node.users();
    let rotated = acting.ask(work.rotate(acting.auth(), password, recovery)).await?;
    // First of all: it cannot be had again.
    let shown = place.keep(context, rotated.user, &rotated.recovery);
    // The session goes on under the new id.
    acting.desk.slot(rotated.user).write(acting.token())?;
    acting.slot().remove()?;
    let mut value = serde_json::json!({ "user": rotated.user, "previous": rotated.previous });
    with_recovery(&mut value, shown?);
    context.out.result(&value, |_| rotated.user.to_string())?;
    context.out.note(format_args!("{} is no longer valid", rotated.previous));
    Ok(())
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example: peerage user revoke user1… --recovery-file recovery.txt

For when the machine or the password is lost. Works on any node that knows the user's profile, and
cannot be undone: whoever learns of it takes nothing more from that key.")]
pub(crate) struct Revoke {
    /// A user id or a handle
    #[arg(value_parser = who::named)]
    user: Named,
    /// File that holds the recovery code [default: $PEERAGE_RECOVERY, or a prompt]
    #[arg(long, value_name = "FILE")]
    recovery_file: Option<PathBuf>,
    /// Do not ask whether it is meant; required where there is no terminal to ask on
    #[arg(long)]
    yes: bool,
}

pub(super) async fn revoke(context: Context<'_>, args: Revoke) -> Result<(), Failed> {
    let desk = Desk::new(context).await?;
    let user = find(&desk, &args.user).await?;
    meant(args.yes, &format!("Revoke the key of {user} for ever?")).await?;
    let recovery = secrets::recovery(context, args.recovery_file.as_deref()).await?;
    context.within("no answer", desk.node.users().revoke_key(user, recovery)).await?;
    marked(context, user, "revoked", "revoked")
}

/// Asks whether it is meant. Without anybody to ask it is not, unless `--yes` says so.
pub(super) async fn meant(yes: bool, question: &str) -> Result<(), Failed> {
    let answer = if yes { Some(true) } else { secrets::confirm(question).await? };
    confirmed(answer)
}

fn confirmed(answer: Option<bool>) -> Result<(), Failed> {
    let (exit, text) = match answer {
        Some(true) => return Ok(()),
        Some(false) => (Exit::Failed, "nothing was done"),
        None => (
            Exit::Usage,
            "nothing was done: this cannot be undone, and there is no terminal to ask on; say that \
             it is meant with --yes",
        ),
    };
    Err(Failed::new(exit, "not_confirmed", text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_undone_is_not_done_unless_somebody_says_so() {
        assert!(confirmed(Some(true)).is_ok());
        for (answer, exit) in [(Some(false), Exit::Failed), (None, Exit::Usage)] {
            let Err(Failed::Because(reason)) = confirmed(answer) else { panic!("done") };
            assert_eq!((reason.exit, reason.code.as_str()), (exit, "not_confirmed"));
            assert_eq!(reason.message.contains("--yes"), answer.is_none());
        }
    }
}
