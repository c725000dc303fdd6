//! `user ls`: the users of this node, or everybody that is known.

use peerage_api::{
    types::{UnixMillis, UserId},
    users::{LocalUser, User, UsersError},
};
use serde::Serialize;

use super::{
    super::{Context, acting::Desk, pages::pages},
    show,
};
use crate::{
    failed::Failed,
    output::{Table, printable, since},
};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  peerage user ls
  peerage user ls --remote --limit 50")]
pub(crate) struct Args {
    /// Everybody that is known, by id, rather than the users of this node
    #[arg(long)]
    remote: bool,
    /// Most users that are listed with --remote
    #[arg(long, value_name = "N", default_value_t = 1000, requires = "remote")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

pub(super) async fn run(context: Context<'_>, args: Args) -> Result<(), Failed> {
    let desk = Desk::new(context).await?;
    if args.remote {
        return remote(&desk, args.limit).await;
    }
    let mut users = Vec::new();
    for local in desk.local().await? {
        users.push(here(&desk, local).await?);
    }
    context.out.result(&users, |users| table(users))?;
    if users.is_empty() {
        desk.explain().await;
    }
    Ok(())
}

async fn remote(desk: &Desk<'_>, limit: u32) -> Result<(), Failed> {
    let (context, node) = (desk.context, desk.node.users());
    let viewer = desk.may_act().await?.map(|acting| acting.auth());
    let page = async |page| context.within("no answer", node.list(viewer.clone(), page)).await;
    let (users, more) = pages(limit as usize, page).await?;
    let users = show::live_first(users);
    context.out.result(&users, |users| show::users(users))?;
    cut(context, more);
    Ok(())
}

/// Says so if not all are listed.
pub(super) fn cut(context: Context<'_>, more: bool) {
    if more {
        context.out.note("there are more; list them with a higher --limit");
    }
}

/// A user of this node: its profile, and what only this node knows.
#[derive(Debug, Serialize)]
struct Here {
    #[serde(flatten)]
    user: User,
    created_ms: UnixMillis,
    sessions: u64,
    deleted: bool,
    /// By this command line.
    logged_in: bool,
}

async fn here(desk: &Desk<'_>, local: LocalUser) -> Result<Here, Failed> {
    let (created_ms, sessions, deleted) = (local.created_ms, local.sessions, local.deleted);
    let logged_in = sessions > 0 && matches!(desk.slot(local.user).read(), Ok(Some(_)));
    let user = local.user;
    let asked = async move {
        match desk.node.users().get(user).await {
            Err(UsersError::Unknown { .. } | UsersError::Auth(_)) => Ok(None),
            known => known.map(Some),
        }
    };
    // Of one that was deleted there may be nothing, for which the whole network would be asked.
    let known = if deleted { None } else { desk.context.within("no answer", asked).await? };
    // Here it lives, even if its key no longer counts.
    let user = User { local: true, ..known.unwrap_or_else(|| unpublished(local)) };
    Ok(Here { user, created_ms, sessions, deleted, logged_in })
}

/// A user of which there is no profile, such as one that was deleted.
fn unpublished(local: LocalUser) -> User {
    let LocalUser { user, handle, display_name, .. } = local;
    User {
        user,
        handle,
        display_name,
        bio: [].into(),
        avatar: None,
        services: [].into(),
        mailboxes: [].into(),
        seq: 0,
        updated_ms: UnixMillis(0),
        local: true,
        online: false,
        nodes: vec![],
        last_seen_ms: None,
        revoked: false,
        successor: None,
    }
}

fn table(users: &[Here]) -> String {
    if users.is_empty() {
        return "no user lives on this node; make one with `peerage user create`".to_owned();
    }
    let mut table = Table::new(["USER", "HANDLE", "NAME", "MADE", "SESSIONS"]);
    for here in users {
        let name = here.user.display_name.as_deref().map(printable).unwrap_or_default();
        let id: UserId = here.user.user;
        let made = since(here.created_ms);
        table.row([
            id.to_string(),
            show::handle(here.user.handle.as_ref()),
            name,
            made,
            state(here),
        ]);
    }
    table.to_string()
}

fn state(here: &Here) -> String {
    match here {
        Here { deleted: true, .. } => "deleted, can be exported".to_owned(),
        Here { user: User { successor: Some(next), .. }, .. } => format!("moved to {next}"),
        Here { user: User { revoked: true, .. }, .. } => "key revoked".to_owned(),
        Here { sessions: 0, .. } => "logged out".to_owned(),
        Here { sessions, logged_in: true, .. } => format!("{sessions}, logged in here"),
        Here { sessions, logged_in: false, .. } => sessions.to_string(),
    }
}
