//! On whose behalf a command acts, and the proof of it.

use std::{
    future::Future,
    path::{Path, PathBuf},
};

use peerage_api::{
    Node, Stream,
    contacts::{Contacts, ContactsError},
    kv::KvError,
    storage::StorageError,
    types::{Token, UserId},
    users::{Auth, AuthError, LocalUser, UsersError},
};
use serde::Serialize;

use super::{
    Context, Until,
    who::{self, Candidate, Named},
};
use crate::{
    connect,
    failed::{Exit, Failed},
    tokens::{Slot, Tokens},
};

/// An error that may say that a token is no longer good.
pub(crate) trait Scoped: Into<Failed> {
    /// That the call was refused because of the token, if it was.
    fn refusal(&self) -> Option<&AuthError>;
}

macro_rules! scoped {
    ($($error:ident)*) => {$(
        impl Scoped for $error {
            fn refusal(&self) -> Option<&AuthError> {
                match self {
                    Self::Auth(refusal) => Some(refusal),
                    _ => None,
                }
            }
        }
    )*};
}
scoped! { UsersError ContactsError StorageError KvError }

/// The node, and the tokens that are kept for its users.
#[derive(Debug, Clone)]
pub(crate) struct Desk<'a> {
    pub(crate) context: Context<'a>,
    pub(crate) node: Node,
    pub(crate) tokens: Tokens,
}

impl<'a> Desk<'a> {
    pub(crate) async fn new(context: Context<'a>) -> Result<Self, Failed> {
        let node = context.node().await?;
        let tokens = Tokens::sessions(&connect::data_dir(context.global)?);
        Ok(Self { context, node, tokens })
    }

    /// The users of this node.
    pub(crate) async fn local(&self) -> Result<Vec<LocalUser>, Failed> {
        self.context.within("no answer", self.node.users().local()).await
    }

    /// Where the token of a user is kept.
    pub(crate) fn slot(&self, user: UserId) -> Slot {
        self.tokens.of_user(user)
    }

    /// The user of this node that is named.
    pub(crate) async fn own(&self, named: &Named) -> Result<UserId, Failed> {
        match named {
            Named::Id(user) => Ok(*user),
            Named::Called { name, .. } => {
                let called = |user: &&LocalUser| {
                    let handle = user.handle.as_ref().map(ToString::to_string);
                    handle.is_some_and(|handle| who::is_same(&handle, name))
                };
                let mut local = self.local().await?;
                local.retain(|user| called(&user));
                // One that was deleted is meant if no other is called so.
                if local.iter().any(|user| !user.deleted) {
                    local.retain(|user| !user.deleted);
                }
                let candidates: Vec<_> = local.iter().map(Candidate::local).collect();
                let nobody = candidates.is_empty();
                let one =
                    who::one(named, candidates, "on this node; `peerage user ls` lists its users");
                match one {
                    Err(failed) if nobody => Err(self.explained(failed).await),
                    one => one,
                }
            }
        }
    }

    /// The user of this node that is meant: by name, by `--as`, the one that is logged in, or the
    /// only one that there is. It need not be logged in.
    pub(crate) async fn subject(&self, named: Option<&Named>) -> Result<UserId, Failed> {
        if let Some(named) = named.or(self.context.global.acting.as_ref()) {
            return self.own(named).await;
        }
        if let Some(user) = self.logged_in().await? {
            return Ok(user);
        }
        let mut local = self.local().await?;
        local.retain(|user| !user.deleted);
        match &local[..] {
            [one] => Ok(one.user),
            [] => {
                let nobody =
                    nobody("no user lives on this node; make one with `peerage user create`");
                Err(self.explained(nobody).await)
            }
            _ => Err(several("live on this node", &local)),
        }
    }

    /// The user who is logged in, if there is one.
    async fn logged_in(&self) -> Result<Option<UserId>, Failed> {
        let mut held = self.tokens.users()?;
        if held.len() > 1 {
            held = self.alive(held).await?;
        }
        match held[..] {
            [] => Ok(None),
            [one] => Ok(Some(one)),
            _ => {
                let mut local = self.local().await?;
                local.retain(|user| held.contains(&user.user));
                Err(several("are logged in", &local))
            }
        }
    }

    /// Those of whom a session is alive; tokens of the others are forgotten, but not those of users
    /// who do not live here: with a backup of the store they may again.
    async fn alive(&self, held: Vec<UserId>) -> Result<Vec<UserId>, Failed> {
        let local = self.local().await?;
        let sessions = |id: &UserId| local.iter().find(|u| u.user == *id).map(|u| u.sessions);
        let over = held.iter().filter(|user| sessions(user) == Some(0));
        over.copied().try_for_each(|user| self.slot(user).remove())?;
        Ok(held.into_iter().filter(|user| sessions(user).is_some_and(|count| count > 0)).collect())
    }

    /// A damaged store that was moved out of the way, with all users that were in it.
    async fn kept_aside(&self) -> Option<PathBuf> {
        let status = self.context.within("no answer", self.node.status()).await;
        // An older daemon, or one that has just stopped, has nothing to say of it.
        status.ok()?.kept_aside
    }

    /// That somebody is not here, with the reason if there is one.
    pub(crate) async fn explained(&self, failed: Failed) -> Failed {
        let Some(kept) = self.kept_aside().await else { return failed };
        failed.advise(&set_aside(&kept)).about("kept_aside", kept.display().to_string())
    }

    /// The same where nothing fails: why there is nobody here, if there is a reason.
    pub(crate) async fn explain(&self) {
        if let Some(kept) = self.kept_aside().await {
            self.context.out.note(set_aside(&kept));
        }
    }

    /// Acts for the user of `--as`, or for the one that is logged in.
    pub(crate) async fn act(self) -> Result<Acting<'a>, Failed> {
        self.act_for(None).await
    }

    /// Acts for the user that is named, else as [`Desk::act`].
    pub(crate) async fn act_for(self, named: Option<&Named>) -> Result<Acting<'a>, Failed> {
        let user = match named.or(self.context.global.acting.as_ref()) {
            Some(named) => self.own(named).await?,
            None => self.logged_in().await?.ok_or_else(|| {
                nobody("nobody is logged in; log in with `peerage user login USER`")
            })?,
        };
        match self.slot(user).read()? {
            Some(token) => Ok(Acting { desk: self, user, token }),
            None => Err(self.missing(user).await?),
        }
    }

    /// Acts if `--as` says so, or if exactly one user is logged in.
    pub(crate) async fn may_act(&self) -> Result<Option<Acting<'a>>, Failed> {
        if self.context.global.acting.is_some() {
            return self.clone().act().await.map(Some);
        }
        let [user] = self.tokens.users()?[..] else { return Ok(None) };
        let token = self.slot(user).read()?;
        let acting = token.map(|token| Acting { desk: self.clone(), user, token });
        // A session that has expired is as good as none where none is needed.
        Ok(match acting {
            Some(acting) if acting.is_alive().await? => Some(acting),
            _ => None,
        })
    }

    /// Why there is no token of a user.
    async fn missing(&self, user: UserId) -> Result<Failed, Failed> {
        let local = self.local().await?;
        let why = match local.iter().find(|local| local.user == user) {
            Some(LocalUser { deleted: true, .. }) => UsersError::Deleted { user },
            Some(_) => AuthError::NotAuthorised { user }.into(),
            None => {
                let nobody = UsersError::from(AuthError::NoSuchUser { user });
                return Ok(self.explained(nobody.into()).await);
            }
        };
        Ok(why.into())
    }
}

fn set_aside(kept: &Path) -> String {
    format!(
        "the store of this node was damaged, which then began with an empty one; the former, with all \
         users, is kept as {}: restore a backup, or import your users",
        kept.display()
    )
}

fn nobody(text: &str) -> Failed {
    Failed::new(Exit::Failed, "not_logged_in", text)
}

fn several(what: &str, users: &[LocalUser]) -> Failed {
    let names: Vec<_> = users.iter().map(|user| Candidate::local(user).to_string()).collect();
    let ids: Vec<_> = users.iter().map(|user| user.user.to_string()).collect();
    let text = format!("several users {what}: {}; name one with --as USER", names.join(", "));
    Failed::new(Exit::Failed, "ambiguous", text).about("users", ids)
}

/// A user on whose behalf the command acts.
#[derive(Debug, Clone)]
pub(crate) struct Acting<'a> {
    pub(crate) desk: Desk<'a>,
    pub(crate) user: UserId,
    token: Token,
}

impl<'a> Acting<'a> {
    /// Acts for the user of `--as`, or for the one that is logged in.
    pub(crate) async fn new(context: Context<'a>) -> Result<Self, Failed> {
        Desk::new(context).await?.act().await
    }

    pub(crate) fn context(&self) -> Context<'a> {
        self.desk.context
    }

    /// What calls on the user's behalf carry.
    pub(crate) fn auth(&self) -> Auth {
        Auth::new(self.user, self.token.clone())
    }

    /// The user's contact book.
    pub(crate) fn contacts(&self) -> Contacts {
        self.desk.node.contacts(self.auth())
    }

    /// Where the token is kept.
    pub(crate) fn slot(&self) -> Slot {
        self.desk.slot(self.user)
    }

    /// The proof itself, to be kept under another name.
    pub(crate) fn token(&self) -> &Token {
        &self.token
    }

    /// Whether the user has blocked another.
    pub(crate) async fn has_blocked(&self, other: UserId) -> Result<bool, Failed> {
        let asked = async {
            match self.contacts().get(other).await {
                Err(ContactsError::NoSuchContact { .. } | ContactsError::Damaged { .. }) => {
                    Ok(false)
                }
                contact => contact.map(|contact| contact.blocked),
            }
        };
        self.ask(asked).await
    }

    /// Waits for an answer as long as `--timeout` says. A token that is good for nothing is
    /// forgotten.
    pub(crate) async fn ask<T, E: Scoped>(
        &self,
        question: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Failed> {
        let answer = async { Ok::<_, Failed>(question.await) };
        match self.context().within("no answer", answer).await? {
            Ok(answer) => Ok(answer),
            Err(error) => Err(self.failed(error).await),
        }
    }

    async fn failed(&self, error: impl Scoped) -> Failed {
        match error.refusal() {
            Some(AuthError::NotAuthorised { .. }) => self.slot().remove_stale(&self.token),
            // With a backup of the store the user may be here again.
            Some(AuthError::NoSuchUser { .. }) if self.desk.kept_aside().await.is_some() => {
                return self.desk.explained(error.into()).await;
            }
            Some(AuthError::NoSuchUser { .. }) => self.slot().remove_stale(&self.token),
            // Kept, so that it is said again until somebody logs in.
            Some(AuthError::SessionExpired { .. }) | None => {}
        }
        error.into()
    }

    /// Whether the session is alive.
    async fn is_alive(&self) -> Result<bool, Failed> {
        let users = self.desk.node.users();
        let answer = async {
            match users.sessions(self.auth()).await {
                Ok(_) => Ok(true),
                Err(error) if error.refusal().is_some() => {
                    self.failed(error).await;
                    Ok(false)
                }
                Err(error) => Err(Failed::from(error)),
            }
        };
        self.context().within("no answer", answer).await
    }

    /// Prints a feed of the user until it ends. It also ends with the session.
    pub(crate) async fn follow<T: Serialize>(
        &self,
        until: Until,
        feed: Stream<T>,
        people: impl Fn(&T) -> String,
    ) -> Result<(), Failed> {
        let ended = until.print(self.context().out, feed, people).await;
        match ended {
            Err(Failed::Because(reason)) if reason.code == "stopped" => {
                // The daemon, if it is still there, says why.
                self.ask(self.desk.node.users().sessions(self.auth())).await?;
                Err(Failed::Because(reason))
            }
            ended => ended,
        }
    }
}
