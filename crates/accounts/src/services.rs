//! The facet `services`: applications that act for users of this node.
//!
//! ```text
//! services  commands; changes are tasks that take turns
//! registry  which services there are, with the hashes of their tokens
//! follow    one feed: which users are there
//! ```

use std::sync::Arc;

use peerage_api::{
    Ask, Open as OpenFeed,
    services::{Command, Register, Registered, ServicesError, Unregister, Watch},
};
use peerage_store::AccountChange;
use peerage_types::UnixMillis;

use crate::inner::Inner;

mod follow;
mod registry;

pub(crate) use registry::Registry;

pub(crate) fn on_command(inner: &Arc<Inner>, command: Command) {
    match command {
        Command::Register(ask) => on_register(inner, ask),
        Command::List(ask) => ask.reply(Ok(inner.lock().services.list())),
        Command::Unregister(ask) => on_unregister(inner, ask),
        Command::Watch(feed) => watch(inner, feed),
    }
}

fn on_register(inner: &Arc<Inner>, ask: Ask<Register>) {
    let (request, door) = ask.split();
    let inner = Arc::clone(inner);
    // A caller that no longer waits is no error.
    inner.clone().runtime.spawn(async move { _ = door.send(register(&inner, request).await) });
}

fn on_unregister(inner: &Arc<Inner>, ask: Ask<Unregister>) {
    let (request, door) = ask.split();
    let inner = Arc::clone(inner);
    inner.clone().runtime.spawn(async move { _ = door.send(unregister(&inner, &request).await) });
}

/// # Cancel safety
/// None: the disk would know more than memory until the next start. Runs in a task of its own.
async fn register(inner: &Inner, request: Register) -> Result<Registered, ServicesError> {
    let turns = inner.lock().services.turns();
    let _turn = turns.take().await.map_err(unsaved)?;
    let name = request.name.clone();
    let registration = inner.lock().services.plan_registration(request, UnixMillis::now())?;
    save(inner, registration.change()).await?;
    let token = registration.token.clone();
    inner.lock().services.adopt(registration);
    Ok(Registered { name, token })
}

/// # Cancel safety
/// As [`register`].
async fn unregister(inner: &Inner, request: &Unregister) -> Result<(), ServicesError> {
    let turns = inner.lock().services.turns();
    let _turn = turns.take().await.map_err(unsaved)?;
    inner.lock().services.check(&request.name, request.token.as_ref())?;
    save(inner, AccountChange::Service(request.name.to_string(), None)).await?;
    inner.lock().services.remove(&request.name);
    Ok(())
}

async fn save(inner: &Inner, change: AccountChange) -> Result<(), ServicesError> {
    let saved = inner.store.accounts().apply(vec![change]).await;
    saved.map_err(|error| unsaved(error.to_string()))
}

fn unsaved(reason: String) -> ServicesError {
    ServicesError::Store { reason }
}

fn watch(inner: &Inner, feed: OpenFeed<Watch>) {
    let Watch { name, token } = &feed.request;
    let follower = inner.lock().services.follow(name, token.as_ref());
    match follower {
        Ok(follower) => _ = inner.runtime.spawn(follower.run(feed.accept().1)),
        Err(error) => feed.refuse(error),
    }
}
