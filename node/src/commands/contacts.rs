//! `contact`: the private book of a user.

use peerage_api::{contacts::Contact, types::UserId};
use serde_json::json;

use super::{
    Context, Until,
    acting::Acting,
    who::{self, Named},
};
use crate::failed::Failed;

mod change;
mod query;
mod show;
mod verify;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
`show`, `rm`, `verify` and `unblock` look a name up in your contact book alone. Everywhere else, too, what
you call a contact, and its handle, mean that contact, whatever strangers call themselves.")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Contacts, all or those that fulfil every condition
    Ls(query::Args),
    /// All that is noted of a contact
    Show(One),
    /// Add a contact, or change what is noted of it
    Set(Box<change::Args>),
    /// Compare safety numbers, and note that they are the same
    Verify(verify::Args),
    /// Hide a user from lists of users, searches and warnings, whatever key it moves to
    Block(One),
    /// Lift a block
    Unblock(One),
    /// Remove a contact with all that was noted of it; a block is lifted with it
    Rm(One),
    /// Print changes of the book, and warnings, as they happen
    Watch {
        #[command(flatten)]
        until: Until,
    },
}

#[derive(Debug, Clone, clap::Args)]
struct One {
    /// A user id, a handle, or what the contact is called
    #[arg(value_parser = who::named)]
    user: Named,
}

/// Nodes are no users: one may host others as well.
const BLOCKED: &str = "blocked: it is left out of lists of users, searches and warnings, whatever key it \
                       moves to, and marked in `peerage contact ls`; files come from nodes: refuse those of \
                       one with `peerage peers block PEER`";

pub(super) async fn run(context: Context<'_>, args: Args) -> Result<(), Failed> {
    let acting = Acting::new(context).await?;
    match args.command {
        Command::Ls(args) => query::run(&acting, args).await,
        Command::Show(One { user }) => {
            let user = acting.contact(&user).await?;
            let contact = acting.ask(acting.contacts().get(user)).await?;
            noted(&acting, user, &contact)
        }
        Command::Set(args) => change::run(&acting, *args).await,
        Command::Verify(args) => verify::run(&acting, args).await,
        Command::Block(One { user }) => {
            let user = find(&acting, &user).await?;
            let contact = acting.ask(acting.contacts().block(user)).await?;
            marked(&acting, user, &contact, BLOCKED)
        }
        Command::Unblock(One { user }) => {
            let user = acting.contact(&user).await?;
            let contact = acting.ask(acting.contacts().unblock(user)).await?;
            marked(&acting, user, &contact, "no longer blocked")
        }
        Command::Rm(One { user }) => {
            let named = acting.contact(&user).await?;
            let contact = acting.ask(acting.contacts().get(named)).await?;
            let user = contact.user;
            acting.ask(acting.contacts().remove(user)).await?;
            followed(&acting, named, &contact);
            let line = json!({ "user": user, "removed": true });
            context.out.result(&line, |_| format!("{user}: no longer a contact"))
        }
        Command::Watch { until } => watch(&acting, until).await,
    }
}

async fn find(acting: &Acting<'_>, named: &Named) -> Result<UserId, Failed> {
    acting.desk.find(named, Some(acting)).await
}

/// Says so if the contact that was named is there by another key.
fn followed(acting: &Acting<'_>, named: UserId, contact: &Contact) {
    if named != contact.user {
        acting.context().out.note(format_args!("{named} moved to {}", contact.user));
    }
}

/// A contact as it is noted now, with warnings.
fn noted(acting: &Acting<'_>, named: UserId, contact: &Contact) -> Result<(), Failed> {
    followed(acting, named, contact);
    acting.context().out.result(contact, show::contact)?;
    show::warn(acting.context(), std::slice::from_ref(contact));
    Ok(())
}

/// The contact for scripts, a sentence for people.
fn marked(acting: &Acting<'_>, named: UserId, contact: &Contact, text: &str) -> Result<(), Failed> {
    followed(acting, named, contact);
    acting.context().out.result(contact, |contact| format!("{}: {text}", contact.user))
}

async fn watch(acting: &Acting<'_>, until: Until) -> Result<(), Failed> {
    let feed = acting.ask(acting.contacts().watch()).await?;
    acting.context().out.note("watching; end with ctrl-C");
    acting.follow(until, feed, show::event).await
}
