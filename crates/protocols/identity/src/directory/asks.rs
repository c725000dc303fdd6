//! Questions of the facet `users` that are about everybody.

use std::{collections::HashSet, time::Instant};

use peerage_api::{
    Ask, LinkError, Open,
    users::{AuthError, Command, Events, Get, List, Page, Paged, Search, User, UsersError},
};
use peerage_types::{UnixMillis, UserId};

use super::{Directory, lock};
use crate::{
    bounds::{MAX_FEEDS, SCAN_CHUNK},
    known::{
        Top,
        text::{Query, no_page, read_place, show_place},
    },
};

impl Directory {
    /// Answers `users.list`, `get`, `search` and `events`; others are dropped. A question with a
    /// viewer is refused: who may ask so is for accounts to say, which then ask with a set of
    /// blocked users.
    pub fn on_command(&self, command: Command) {
        match command {
            Command::List(ask) => self.on_list(ask),
            Command::Get(ask) => self.on_get(ask),
            Command::Search(ask) => self.on_search(ask),
            Command::Events(open) => self.on_events(open),
            other => tracing::error!(?other, "a command that no one answers"),
        }
    }

    /// Answers with what is known of a user; if nothing is, when the network has been asked.
    pub fn on_get(&self, ask: Ask<Get>) {
        if let Some(user) = self.get(&ask.request.user) {
            return ask.reply(Ok(user));
        }
        let user = ask.request.user;
        self.outbox().lookups.add(ask, Instant::now());
        // It may have become known meanwhile.
        if let Some(found) = self.get(&user) {
            self.outbox().lookups.answer(user, Some(&found));
        }
        self.0.waker.wake();
    }

    /// The network has nothing more to say of a user.
    pub(crate) fn on_missing(&self, user: UserId) {
        let known = self.get(&user);
        self.outbox().lookups.answer(user, known.as_ref());
    }

    fn on_list(&self, ask: Ask<List>) {
        if let Some(viewer) = &ask.request.viewer {
            let user = viewer.user;
            return ask.reply(Err(AuthError::NotAuthorised { user }.into()));
        }
        let directory = self.clone();
        self.0.runtime.spawn(async move {
            let page = ask.request.page.clone();
            ask.reply(directory.list(page, HashSet::new()).await);
        });
    }

    fn on_search(&self, ask: Ask<Search>) {
        if let Some(viewer) = &ask.request.viewer {
            let user = viewer.user;
            return ask.reply(Err(AuthError::NotAuthorised { user }.into()));
        }
        let directory = self.clone();
        self.0.runtime.spawn(async move {
            let search = ask.request.clone();
            ask.reply(directory.search(search, HashSet::new()).await);
        });
    }

    /// Grants a feed of what changes.
    pub fn on_events(&self, open: Open<Events>) {
        let mut feeds = lock(&self.0.feeds);
        feeds.retain(|feed| !feed.is_closed());
        if feeds.len() >= MAX_FEEDS {
            let (what, max) = ("readers of users' events".into(), MAX_FEEDS as u64);
            return open.refuse(UsersError::TooMany { what, max });
        }
        feeds.push(open.accept().1);
    }

    /// Known users that match, best first, without those in `exclude`. Runs on the blocking pool.
    ///
    /// The cursor names a place in the order, not a number of users: what becomes known between
    /// two pages neither repeats nor hides others.
    ///
    /// # Errors
    /// [`UsersError::BadField`] for a text or a cursor that is none.
    ///
    /// # Cancel safety
    /// A search that began runs to its end; its result is dropped.
    pub async fn search(
        &self,
        search: Search,
        exclude: HashSet<UserId>,
    ) -> Result<Paged<User>, UsersError> {
        let query = Query::new(&search.text, search.attribute, search.matching)?;
        let after = search.page.after.as_deref().map(read_place).transpose()?;
        let top = Top::new(search.page.limit(), after);
        self.run(move |directory| directory.find(&query, &exclude, top)).await
    }

    /// Known users by id, without those in `exclude`. Runs on the blocking pool.
    ///
    /// # Errors
    /// [`UsersError::BadField`] for a cursor that is none.
    ///
    /// # Cancel safety
    /// A list that was begun is read to its end; it is dropped.
    pub async fn list(
        &self,
        page: Page,
        exclude: HashSet<UserId>,
    ) -> Result<Paged<User>, UsersError> {
        let after = page.after.as_deref().map(str::parse).transpose().map_err(|_| no_page())?;
        self.run(move |directory| directory.read_list(after, page.limit(), &exclude)).await
    }

    async fn run(
        &self,
        work: impl FnOnce(&Self) -> Paged<User> + Send + 'static,
    ) -> Result<Paged<User>, UsersError> {
        let stopped = || UsersError::from(LinkError::Stopped);
        let _permit = self.0.searches.acquire().await.map_err(|_| stopped())?;
        let directory = self.clone();
        let work = self.0.runtime.spawn_blocking(move || work(&directory));
        work.await.map_err(|_| stopped())
    }

    fn find(&self, query: &Query, exclude: &HashSet<UserId>, mut top: Top) -> Paged<User> {
        let mut next = Some(0);
        while let Some(from) = next {
            next = self.read().scan(query, exclude, from, &mut top);
        }
        let (places, next) = top.finish();
        let items = places.iter().filter_map(|(_, user)| self.get(user)).collect();
        Paged { items, next: next.map(show_place) }
    }

    fn read_list(
        &self,
        mut after: Option<UserId>,
        limit: usize,
        exclude: &HashSet<UserId>,
    ) -> Paged<User> {
        let mut items = Vec::new();
        loop {
            let known = self.read();
            let part: Vec<_> = known.users_after(after).take(SCAN_CHUNK).collect();
            for user in part.iter().filter(|user| !exclude.contains(user)) {
                if items.len() == limit {
                    let last: Option<&User> = items.last();
                    return Paged { next: last.map(|last| last.user.to_string()), items };
                }
                items.extend(known.shown(user, UnixMillis::now()));
            }
            if part.len() < SCAN_CHUNK {
                return Paged { items, next: None };
            }
            after = part.last().copied();
        }
    }
}
