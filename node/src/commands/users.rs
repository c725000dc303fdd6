//! `user`: the users of this node, their sessions and profiles, and everybody that is known.

use peerage_api::types::UserId;
use serde_json::json;

use super::{
    Context, Until,
    acting::{Acting, Desk},
    who::{self, Named},
};
use crate::failed::Failed;

mod archive;
mod create;
mod delete;
mod listed;
mod profile;
mod recovery;
mod search;
mod session;
mod show;

pub(crate) use profile::update;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make a user and log it in
    Create(create::Args),
    /// The users of this node, or everybody that is known
    Ls(listed::Args),
    /// What is known of a user; asks the network if nothing is
    Show {
        /// A user id or a handle [default: the acting user]
        #[arg(value_parser = who::named)]
        user: Option<Named>,
    },
    /// Change the profile of the acting user
    Update(Box<profile::Args>),
    /// Open a session, which lasts until logout or expiry
    Login(session::Login),
    /// End the session
    Logout(session::Logout),
    /// The sessions of the acting user
    Sessions(session::Sessions),
    /// Change the password
    Passwd(session::Passwd),
    /// Remove a user from this node
    Delete(delete::Args),
    /// Write everything of a user to a sealed file
    Export(archive::Export),
    /// Bring an exported user to this node
    Import(archive::Import),
    /// Search known users
    Search(search::Args),
    /// Print what becomes known of users as it happens
    Watch {
        #[command(flatten)]
        until: Until,
    },
    /// Move the acting user to a new key, with its recovery code
    Rotate(recovery::Rotate),
    /// Declare a key invalid for ever, with its recovery code
    Revoke(recovery::Revoke),
}

pub(super) async fn run(context: Context<'_>, args: Args) -> Result<(), Failed> {
    match args.command {
        Command::Create(args) => create::run(context, args).await,
        Command::Ls(args) => listed::run(context, args).await,
        Command::Show { user } => show(context, user).await,
        Command::Update(args) => profile::run(context, *args).await,
        Command::Login(args) => session::login(context, args).await,
        Command::Logout(args) => session::logout(context, args).await,
        Command::Sessions(args) => session::sessions(context, args).await,
        Command::Passwd(args) => session::passwd(context, args).await,
        Command::Delete(args) => delete::run(context, args).await,
        Command::Export(args) => archive::export(context, args).await,
        Command::Import(args) => archive::import(context, args).await,
        Command::Search(args) => search::run(context, args).await,
        Command::Watch { until } => watch(context, until).await,
        Command::Rotate(args) => recovery::rotate(context, args).await,
        Command::Revoke(args) => recovery::revoke(context, args).await,
    }
}

async fn show(context: Context<'_>, named: Option<Named>) -> Result<(), Failed> {
    let desk = Desk::new(context).await?;
    let user = match &named {
        Some(named) => find(&desk, named).await?,
        None => desk.subject(None).await?,
    };
    let known = context.within("no answer", desk.node.users().get(user)).await?;
    context.out.result(&known, show::user)?;
    if let Some(acting) = desk.may_act().await?.filter(|acting| acting.user != user)
        && acting.has_blocked(user).await?
    {
        context
            .out
            .note("you have blocked this user: it is left out of lists of users and searches");
    }
    Ok(())
}

async fn watch(context: Context<'_>, until: Until) -> Result<(), Failed> {
    let node = context.node().await?;
    let feed = context.within("no answer", node.users().events()).await?;
    context.out.note("watching; end with ctrl-C");
    until.print(context.out, feed, show::event).await
}

/// The user that is meant, also among the contacts of who acts, if anybody does.
async fn find(desk: &Desk<'_>, named: &Named) -> Result<UserId, Failed> {
    match named {
        Named::Id(user) => Ok(*user),
        Named::Called { .. } => desk.find(named, desk.may_act().await?.as_ref()).await,
    }
}

/// `{"user", "revoked": true}` and the like.
fn marked(context: Context<'_>, user: UserId, mark: &str, text: &str) -> Result<(), Failed> {
    context.out.result(&json!({ "user": user, mark: true }), |_| format!("{user}: {text}"))
}

/// A new profile of the acting user, shown.
fn changed(acting: &Acting<'_>, user: &peerage_api::users::User) -> Result<(), Failed> {
    acting.context().out.result(user, show::user)
}
