//! The facet `users`: what is asked, and who answers.
//!
//! What needs neither the disk nor a password is answered in place, the rest from a task. A change
//! that has begun runs to its end, whether or not somebody waits for it.

mod create;
mod delete;
mod login;
mod password;
mod portable;
mod profile;
mod succession;

use std::{future::Future, sync::Arc};

use peerage_api::{
    Ask, Method,
    users::{Command, UsersError},
};

use crate::inner::Inner;

/// Takes a command; never blocks.
pub(crate) fn on_command(inner: &Arc<Inner>, command: Command) {
    match command {
        Command::Create(ask) => work(inner, ask, create::create),
        Command::Login(ask) => work(inner, ask, login::login),
        Command::RevokeKey(ask) => work(inner, ask, succession::revoke_key),
        Command::Forget(ask) => work(inner, ask, delete::forget),
        Command::Export(ask) => work(inner, ask, portable::export),
        Command::Import(ask) => work(inner, ask, portable::import),
        Command::Local(ask) => ask.reply(Ok(inner.local_users())),
        Command::Logout(ask) => now(ask, |request| inner.logout(request)),
        Command::Sessions(ask) => now(ask, |request| inner.sessions(request)),
        Command::Revoke(ask) => now(ask, |request| inner.revoke(request)),
        Command::RevokeAll(ask) => now(ask, |request| inner.revoke_all(request)),
        Command::ChangePassword(ask) => work(inner, ask, password::change),
        Command::UpdateProfile(ask) => work(inner, ask, profile::update),
        Command::Rotate(ask) => work(inner, ask, succession::rotate),
        Command::Delete(ask) => work(inner, ask, delete::delete),
        Command::List(_) | Command::Get(_) | Command::Search(_) | Command::Events(_) => {
            tracing::warn!("a question about users anywhere has come to those of this node");
        }
    }
}

fn now<M: Method>(ask: Ask<M>, answer: impl FnOnce(&M) -> Result<M::Reply, M::Error>) {
    let answer = answer(&ask.request);
    ask.reply(answer);
}

fn work<M, F>(inner: &Arc<Inner>, ask: Ask<M>, answer: impl FnOnce(Arc<Inner>, M) -> F)
where
    M: Method<Error = UsersError>,
    F: Future<Output = Result<M::Reply, UsersError>> + Send + 'static,
{
    let Ok(permit) = Arc::clone(&inner.working).try_acquire_owned() else {
        return ask.reply(Err(UsersError::Busy {}));
    };
    let (request, door) = ask.split();
    let answer = answer(Arc::clone(inner), request);
    inner.runtime.spawn(async move {
        let answer = answer.await;
        drop(permit);
        let _ = door.send(answer);
    });
}
