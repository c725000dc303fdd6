//! The facet `contacts`: a user's private book of other users.
//!
//! ```text
//! contacts  commands: the one check, then the book; changes are tasks that take turns
//! book      what is in it, and what a change would do to it
//! row       one entry, its bounds, and how it is sealed
//! query     which entries a query means
//! safety    the number that two users compare
//! ```

use std::sync::Arc;

use peerage_api::{
    Ask, Door, Method, Open as OpenFeed,
    contacts::{
        Block, Command, ContactsError, Get, GetSafetyNumber, List, Remove, Set, Unblock, Verify,
        Watch,
    },
    users::{Auth, Event},
};
use peerage_types::{UnixMillis, UserId};

use crate::{inner::Inner, open::Open};

mod book;
mod query;
mod row;
mod safety;

pub(crate) use book::Book;
use book::Edit;
use row::Row;
use safety::{is_same, safety_number};

type Outcome<T> = Result<T, ContactsError>;

pub(crate) fn on_command(inner: &Arc<Inner>, command: Command) {
    match command {
        Command::Set(ask) => set(inner, ask),
        Command::Get(ask) => get(inner, ask),
        Command::List(ask) => list(inner, ask),
        Command::Remove(ask) => remove(inner, ask),
        Command::GetSafetyNumber(ask) => get_safety_number(inner, ask),
        Command::Verify(ask) => verify(inner, ask),
        Command::Block(ask) => block(inner, ask),
        Command::Unblock(ask) => unblock(inner, ask),
        Command::Watch(feed) => watch(inner, feed),
    }
}

fn set(inner: &Inner, ask: Ask<Set>) {
    let (Set { auth, contact, change }, door) = ask.split();
    let plan = move |book: &Book, now| book.plan_put(&contact, now, |row| row.changed(change));
    edit::<Set>(inner, &auth, door, plan, move |book| book.get(&contact));
}

fn block(inner: &Inner, ask: Ask<Block>) {
    let (Block { auth, contact }, door) = ask.split();
    let blocked = |row| Ok(Row { blocked: true, ..row });
    let plan = move |book: &Book, now| book.plan_put(&contact, now, blocked);
    edit::<Block>(inner, &auth, door, plan, move |book| book.get(&contact));
}

fn unblock(inner: &Inner, ask: Ask<Unblock>) {
    let (Unblock { auth, contact }, door) = ask.split();
    let plan = move |book: &Book, now| book.plan_unblock(&contact, now);
    edit::<Unblock>(inner, &auth, door, plan, move |book| book.get(&contact));
}

fn remove(inner: &Inner, ask: Ask<Remove>) {
    let (Remove { auth, contact }, door) = ask.split();
    let plan = move |book: &Book, _| book.plan_removal(&contact);
    edit::<Remove>(inner, &auth, door, plan, |_| Ok(()));
}

fn verify(inner: &Inner, ask: Ask<Verify>) {
    let (Verify { auth, contact, compared }, door) = ask.split();
    let check = move |user: &UserId| match &compared {
        Some(compared) if !is_same(&safety_number(user, &contact), compared)? => {
            Err(ContactsError::SafetyMismatch { contact })
        }
        Some(_) | None => Ok(()),
    };
    let verified = |row| Ok(Row { verified: true, ..row });
    let plan = move |book: &Book, now| {
        book.check_other(&contact)?;
        book.check_valid(&contact)?;
        check(book.user())?;
        book.plan_put(&contact, now, verified)
    };
    edit::<Verify>(inner, &auth, door, plan, move |book| book.get(&contact));
}

fn get(inner: &Inner, ask: Ask<Get>) {
    let answer = enter(inner, &ask.request.auth);
    let answer = answer.and_then(|open| open.book().get(&ask.request.contact));
    ask.reply(answer);
}

fn get_safety_number(inner: &Inner, ask: Ask<GetSafetyNumber>) {
    let answer = enter(inner, &ask.request.auth).and_then(|open| {
        open.book().check_other(&ask.request.contact)?;
        open.book().check_valid(&ask.request.contact)?;
        Ok(safety_number(&open.user, &ask.request.contact))
    });
    ask.reply(answer);
}

/// On the blocking pool: 10,000 contacts with long notes take some ten milliseconds.
fn list(inner: &Inner, ask: Ask<List>) {
    match enter(inner, &ask.request.auth) {
        Err(error) => ask.reply(Err(error)),
        Ok(open) => {
            let (List { query, page, .. }, door) = ask.split();
            // A caller that no longer waits is no error.
            inner.runtime.spawn_blocking(move || _ = door.send(open.book().list(query, &page)));
        }
    }
}

fn watch(inner: &Inner, feed: OpenFeed<Watch>) {
    match enter(inner, &feed.request.auth) {
        Ok(open) => open.book().watch(feed),
        Err(error) => feed.refuse(error),
    }
}

fn enter(inner: &Inner, auth: &Auth) -> Outcome<Arc<Open>> {
    Ok(inner.check(auth)?)
}

/// Changes the book when the turn comes, and answers once that is durable; goes on if the caller
/// goes away.
fn edit<M: Method<Error = ContactsError>>(
    inner: &Inner,
    auth: &Auth,
    door: Door<M>,
    plan: impl FnOnce(&Book, UnixMillis) -> Outcome<Edit> + Send + 'static,
    answer: impl FnOnce(&Book) -> Outcome<M::Reply> + Send + 'static,
) {
    let open = enter(inner, auth);
    inner.runtime.spawn(async move {
        let answered = async {
            let open = open?;
            write(&open, plan).await?;
            answer(&open.book())
        };
        // A caller that no longer waits is no error.
        _ = door.send(answered.await);
    });
}

/// # Cancel safety
/// None: the disk would know more than memory until the next login. Runs in a task of its own.
async fn write(open: &Open, plan: impl FnOnce(&Book, UnixMillis) -> Outcome<Edit>) -> Outcome<()> {
    let turns = open.book().turns();
    let unsaved = |reason| ContactsError::Store { reason };
    let _turn = turns.take().await.map_err(unsaved)?;
    let (edit, pending) = {
        // Held while the write is queued, so that none is once the book was closed.
        let book = open.book();
        let edit = plan(&book, UnixMillis::now())?;
        let changes = book.seal(&edit)?;
        (edit, open.store.accounts().apply(changes))
    };
    pending.await.map_err(|error| unsaved(error.to_string()))?;
    open.book().adopt(edit);
    Ok(())
}

/// Something became known of a user: its contacts are told, and entries follow keys that moved.
pub(crate) fn on_learned(inner: &Arc<Inner>, open: &Arc<Open>, event: &Event) {
    match *event {
        Event::Changed { user, .. } => {
            if open.book().on_changed(&user) {
                save(inner, open, move |book, _| book.plan_rewrite(&user));
            }
        }
        Event::Revoked { user, successor: None } => open.book().on_revoked(&user),
        Event::Revoked { user, successor: Some(_) } => {
            if open.book().has(&user) {
                save(inner, open, move |book, now| book.plan_move(&user, now));
            }
        }
        Event::Online { .. } | Event::Offline { .. } => {}
    }
}

/// Writes what nobody asked for; if it fails, it is found again at the next login.
fn save(
    inner: &Inner,
    open: &Arc<Open>,
    plan: impl FnOnce(&Book, UnixMillis) -> Option<Edit> + Send + 'static,
) {
    let open = Arc::clone(open);
    inner.runtime.spawn(async move {
        // Nothing to do is nothing to write.
        let plan = |book: &Book, now| Ok(plan(book, now).unwrap_or_default());
        if let Err(error) = write(&open, plan).await {
            tracing::warn!(user = %open.user, %error, "news of a contact were not saved");
        }
    });
}
