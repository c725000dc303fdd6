//! `user login`, `logout`, `sessions`, `passwd`.

use std::path::PathBuf;

use peerage_api::{
    types::{ServiceName, UnixMillis, UserId},
    users::{Auth, AuthError, Session, SessionSummary, UsersError},
};
use serde_json::json;

use super::{
    super::{
        Context,
        acting::{Acting, Desk, Scoped},
        who::{self, Named},
    },
    marked, show,
};
use crate::{
    failed::Failed,
    output::{Table, seconds, since},
    secrets::{NewPasswordFile, PasswordFile},
    tokens,
};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  peerage user login ada
  PEERAGE_PASSWORD=… peerage user login user1…
  peerage user login ada --service org.example.notes --token-file notes.token

A session ends at logout, when it is not used for a while, or after a day. Its token is kept in
the directory `sessions` of the data directory, for you alone.")]
pub(crate) struct Login {
    /// A user of this node, by id or handle [default: --as, or the only one]
    #[arg(value_parser = who::named)]
    user: Option<Named>,
    #[command(flatten)]
    password: PasswordFile,
    /// Leave the token in this file, for another program, and stay as logged in as before
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The token is good for nothing but the storage of this service
    #[arg(long, value_name = "NAME", requires = "token_file")]
    service: Option<ServiceName>,
}

pub(super) async fn login(context: Context<'_>, args: Login) -> Result<(), Failed> {
    let desk = Desk::new(context).await?;
    let user = desk.subject(args.user.as_ref()).await?;
    let password = args.password.read(context).await?;
    let users = desk.node.users();
    let login = async { Ok::<_, Failed>(users.login(user, password, args.service).await) };
    let session = match context.within("no answer", login).await? {
        Err(error @ UsersError::Auth(AuthError::NoSuchUser { .. })) => {
            return Err(desk.explained(error.into()).await);
        }
        session => session?,
    };
    match &args.token_file {
        Some(file) => tokens::write(file, &session.token)?,
        None => keep(&desk, &session).await?,
    }
    let known = context.within("no answer", users.get(user)).await.ok();
    let gone = known.filter(|known| known.revoked);
    let line = json!({
        "user": user, "session": session.session,
        "idle_expires_ms": session.idle_expires_ms, "expires_ms": session.expires_ms,
        "revoked": gone.is_some(), "successor": gone.as_ref().and_then(|gone| gone.successor),
    });
    context.out.result(&line, |_| {
        let (idle, all) = (left(session.idle_expires_ms), left(session.expires_ms));
        format!("{user} is logged in for {all}, or until it is not used for {idle}")
    })?;
    if let Some(gone) = gone {
        let successor = gone.successor;
        let (gone, advice) =
            (UsersError::Revoked { user, successor }, show::replaced(user, successor));
        context.out.note(format_args!("warning: {gone}; {advice}"));
    }
    Ok(())
}

/// Keeps the token in place of the one before, whose session nobody could end any more.
async fn keep(desk: &Desk<'_>, session: &Session) -> Result<(), Failed> {
    let slot = desk.slot(session.user);
    let before = slot.read().ok().flatten();
    slot.write(&session.token)?;
    if let Some(token) = before {
        let users = desk.node.users();
        let ended = users.logout(Auth::new(session.user, token));
        // It has expired, most likely; and it will.
        let _ = desk.context.within("no answer", ended).await;
    }
    Ok(())
}

/// Such as `30m 0s`.
fn left(until: UnixMillis) -> String {
    seconds(until.since(UnixMillis::now()).as_secs_f64().round() as u64)
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  peerage user logout
  peerage --as ada user logout --all     also wherever else ada is logged in on this node")]
pub(crate) struct Logout {
    /// End all sessions of the user on this node
    #[arg(long)]
    all: bool,
}

pub(super) async fn logout(context: Context<'_>, args: Logout) -> Result<(), Failed> {
    let acting = Acting::new(context).await?;
    let users = acting.desk.node.users();
    let work = async {
        match args.all {
            true => users.revoke_all(acting.auth(), false).await.map(drop),
            false => users.logout(acting.auth()).await,
        }
    };
    let ended = context.within("no answer", async { Ok::<_, Failed>(work.await) }).await?;
    // A session that has ended by itself is as well; but it could not end the others.
    match ended {
        Err(error) if args.all || error.refusal().is_none() => {
            return acting.ask(async { Err(error) }).await;
        }
        _ => acting.slot().remove()?,
    }
    marked(context, acting.user, "logged_out", "logged out")
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  peerage user sessions
  peerage user sessions --end 3          one of them
  peerage user sessions --end-others     all but the one that asks")]
pub(crate) struct Sessions {
    /// End this one
    #[arg(long, value_name = "SESSION", value_parser = number)]
    end: Option<u64>,
    /// End all but the one that asks
    #[arg(long, conflicts_with = "end")]
    end_others: bool,
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "expected the number of a session: see `peerage user sessions`".into())
}

pub(super) async fn sessions(context: Context<'_>, args: Sessions) -> Result<(), Failed> {
    let acting = Acting::new(context).await?;
    let (users, auth) = (acting.desk.node.users(), acting.auth());
    if let Some(session) = args.end {
        acting.ask(users.revoke(auth, session)).await?;
        let line = json!({ "user": acting.user, "session": session, "ended": true });
        return context.out.result(&line, |_| format!("session {session} has ended"));
    }
    if args.end_others {
        let ended = acting.ask(users.revoke_all(auth, true)).await?;
        let line = json!({ "user": acting.user, "ended": ended });
        return context.out.result(&line, |_| format!("{ended} other sessions have ended"));
    }
    let sessions = acting.ask(users.sessions(auth)).await?;
    context.out.result(&sessions, |sessions| table(sessions))
}

fn table(sessions: &[SessionSummary]) -> String {
    let mut table = Table::new(["SESSION", "OPENED", "USED", "ENDS IN", "UNUSED IN", "FOR"]);
    for session in sessions {
        let service = session.service.as_ref().map(ToString::to_string).unwrap_or_default();
        let mark = if session.current { "this command line" } else { "" };
        table.row([
            session.session.to_string(),
            since(session.created_ms),
            since(session.used_ms),
            left(session.expires_ms),
            left(session.idle_expires_ms),
            format!("{service}{mark}"),
        ]);
    }
    table.to_string()
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  peerage user passwd
  peerage user passwd --password-file old --new-password-file new")]
pub(crate) struct Passwd {
    #[command(flatten)]
    old: PasswordFile,
    #[command(flatten)]
    new: NewPasswordFile,
}

pub(super) async fn passwd(context: Context<'_>, args: Passwd) -> Result<(), Failed> {
    let acting = Acting::new(context).await?;
    let old = args.old.read(context).await?;
    let new = args.new.choose(context).await?;
    acting.ask(acting.desk.node.users().change_password(acting.auth(), old, new)).await?;
    changed(context, acting.user)
}

fn changed(context: Context<'_>, user: UserId) -> Result<(), Failed> {
    marked(context, user, "changed", "the password is changed; sessions go on")
}
