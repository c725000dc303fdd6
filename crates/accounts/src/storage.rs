//! The facet `storage`: what services keep for users, sealed.
//!
//! ```text
//! storage   commands: the one check, then a task that asks the space
//! spaces    the spaces of one account, read when they are first used
//! space     one service for one user: order of writes, disk, readers
//! alarm     when the next entry of a space is over
//! index     what a space holds, pure: conditions, quotas, expiry, pages
//! rows      how an entry is sealed
//! ```
//!
//! Invariant: an entry is told to readers and answered for only when it is durable, and an index is
//! either as the disk will be or not there at all.

use std::{
    future::Future,
    sync::{Arc, Weak},
    time::Duration,
};

use peerage_api::{
    Ask, Method, Open as OpenFeed,
    storage::{Apply, Command, Entry, Get, List, Place, Revision, StorageError, Watch},
    users::Paged,
};
use peerage_types::UnixMillis;
use tokio::{sync::Notify, time::timeout};

use crate::{inner::Inner, open::Open};

mod alarm;
mod feed;
mod index;
mod load;
mod rows;
mod space;
mod spaces;

use space::Space;
pub(crate) use spaces::Spaces;

/// Where a call is worked on; keeps the account open until it is answered.
struct Here {
    open: Arc<Open>,
    space: Arc<Space>,
    now: UnixMillis,
}

pub(crate) fn on_command(inner: &Arc<Inner>, command: Command) {
    match command {
        Command::Apply(ask) => serve(inner, ask, |apply| &apply.place, apply),
        Command::Get(ask) => serve(inner, ask, |get| &get.place, get),
        Command::List(ask) => serve(inner, ask, |list| &list.place, list),
        Command::Watch(feed) => watch(inner, feed),
    }
}

async fn apply(here: Here, request: Apply) -> Result<Revision, StorageError> {
    let revision = here.space.apply(&here.open.user, request.writes, here.now).await?;
    Ok(Revision { revision })
}

async fn get(here: Here, request: Get) -> Result<Entry, StorageError> {
    here.space.get(&here.open.user, request.key, here.now).await
}

async fn list(here: Here, request: List) -> Result<Paged<Entry>, StorageError> {
    here.space.list(&here.open.user, request.prefix, request.page, here.now).await
}

fn watch(inner: &Inner, feed: OpenFeed<Watch>) {
    match enter(inner, &feed.request.place) {
        Ok(here) => {
            here.space.watch(feed);
            inner.runtime.spawn(async move { here.space.read_for_readers().await });
        }
        Err(error) => feed.refuse(error),
    }
}

/// Checks a call and works on it in a task, which goes on if the caller goes away.
fn serve<M, F>(inner: &Inner, ask: Ask<M>, place: fn(&M) -> &Place, work: fn(Here, M) -> F)
where
    M: Method<Error = StorageError>,
    F: Future<Output = Result<M::Reply, StorageError>> + Send + 'static,
{
    match enter(inner, place(&ask.request)) {
        Err(error) => ask.reply(Err(error)),
        Ok(here) => {
            let (request, door) = ask.split();
            let answer = work(here, request);
            // A caller that no longer waits is no error.
            inner.runtime.spawn(async move { _ = door.send(answer.await) });
        }
    }
}

fn enter(inner: &Inner, place: &Place) -> Result<Here, StorageError> {
    let open = inner.check_place(place)?;
    let space = open.spaces.space(&open.user, &place.service, &open.store)?;
    Ok(Here { open, space, now: UnixMillis::now() })
}

/// A failed removal is tried again after so long, and a clock that was set is noticed.
const RETRY_INTERVAL: Duration = Duration::from_secs(60);

/// Removes what is over, as soon as it is, for as long as the accounts live. Nobody sees it from
/// that moment on; this tells readers and frees the space. Spaces that nobody has used since the
/// login wait until somebody does.
pub(crate) async fn expire_all(accounts: Weak<Inner>, wake: Arc<Notify>) {
    let mut not_before = UnixMillis(0);
    loop {
        let Some(inner) = accounts.upgrade() else { return };
        let now = UnixMillis::now();
        if now >= not_before && !expire(&inner, now).await {
            not_before = now.plus(RETRY_INTERVAL);
        }
        let next = inner.all_open().iter().filter_map(|open| open.spaces.next_expiry()).min();
        drop(inner);
        let wait = next.map_or(RETRY_INTERVAL, |next| {
            next.max(not_before).since(UnixMillis::now()).min(RETRY_INTERVAL)
        });
        match next {
            // Nothing is waited for: whoever writes an entry that will be over says so.
            None => wake.notified().await,
            Some(_) => _ = timeout(wait, wake.notified()).await,
        }
    }
}

/// Whether all that is over by now is gone.
async fn expire(inner: &Inner, now: UnixMillis) -> bool {
    let mut done = true;
    for open in inner.all_open() {
        for space in open.spaces.expired(now) {
            while done && space.next_expiry().is_some_and(|at| at <= now) {
                done = space.expire(&open.user, now).await.is_ok();
            }
        }
    }
    done
}
