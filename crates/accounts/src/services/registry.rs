//! Which services there are, and who follows whom.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use peerage_api::services::{
    MAX_DESCRIPTION_BYTES, MAX_SERVICES, MAX_VERSION_BYTES, Register, Service, ServicesError,
};
use peerage_store::AccountChange;
use peerage_types::{ServiceName, Token, UnixMillis, UserId};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::follow::{Follower, Present};
use crate::turns::Turns;

const VERSION: u8 = 1;
/// Feeds of one service.
const MAX_FOLLOWERS: usize = 16;

/// A service as it is stored: `0x01` and a CBOR map. Of its token there is only the hash: whoever
/// reads the disk cannot pretend to be it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Row {
    version: String,
    description: String,
    registered: UnixMillis,
    token: [u8; 32],
}

#[derive(Debug)]
struct Entry {
    row: Row,
    /// Its feeds end when it is dropped.
    alive: watch::Sender<()>,
}

/// The services of this node, and the users that are there for them.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    services: BTreeMap<ServiceName, Entry>,
    /// Names whose rows cannot be read. They are kept, and the names stay taken: whoever got one
    /// would get what the service stored for users.
    unreadable: BTreeSet<ServiceName>,
    present: watch::Sender<Arc<Present>>,
    openings: u64,
    turns: Arc<Turns>,
}

/// A service that is to be registered or changed, once that is durable.
#[derive(Debug)]
pub(crate) struct Registration {
    name: ServiceName,
    row: Row,
    pub(crate) token: Token,
}

impl Registration {
    pub(crate) fn change(&self) -> AccountChange {
        AccountChange::Service(self.name.to_string(), Some(self.row.encode()))
    }
}

impl Registry {
    /// As they were stored.
    pub(crate) fn restore(rows: Vec<(String, Bytes)>) -> Self {
        let mut registry = Self::default();
        for (name, row) in rows {
            let Ok(name) = ServiceName::new(&name) else {
                tracing::warn!(%name, "a service with an impossible name is passed over and kept");
                continue;
            };
            match Row::decode(&row) {
                Some(row) => _ = registry.services.insert(name, Entry::new(row)),
                None => {
                    tracing::warn!(%name, "a service cannot be read; its row and its name are kept");
                    registry.unreadable.insert(name);
                }
            }
        }
        registry
    }

    /// Who may change the registry next.
    pub(crate) fn turns(&self) -> Arc<Turns> {
        Arc::clone(&self.turns)
    }

    /// Whether it is the token of that service.
    pub(crate) fn is_token(&self, service: &ServiceName, token: &Token) -> bool {
        self.services.get(service).is_some_and(|entry| entry.row.is_token(token))
    }

    pub(crate) fn list(&self) -> Vec<Service> {
        self.services.iter().map(|(name, entry)| entry.view(name.clone())).collect()
    }

    /// # Errors
    /// [`ServicesError::Taken`], [`ServicesError::BadField`], [`ServicesError::TooMany`].
    pub(crate) fn plan_registration(
        &self,
        request: Register,
        now: UnixMillis,
    ) -> Result<Registration, ServicesError> {
        let Register { name, version, description, token } = request;
        let (before, token) = match self.services.get(&name) {
            Some(Entry { row, .. }) => {
                let own = token.filter(|token| row.is_token(token));
                let taken = || ServicesError::Taken { name: name.clone() };
                (row.clone(), own.ok_or_else(taken)?)
            }
            None => {
                self.check_new(&name)?;
                let token = Token::new(rand::random());
                (Row::new(&token, now), token)
            }
        };
        let row = Row {
            version: version.unwrap_or(before.version),
            description: description.unwrap_or(before.description),
            ..before
        };
        check_text("version", &row.version, MAX_VERSION_BYTES)?;
        check_text("description", &row.description, MAX_DESCRIPTION_BYTES)?;
        Ok(Registration { name, row, token })
    }

    fn check_new(&self, name: &ServiceName) -> Result<(), ServicesError> {
        if self.unreadable.contains(name) {
            return Err(ServicesError::Taken { name: name.clone() });
        }
        match self.services.len() {
            0..MAX_SERVICES => Ok(()),
            _ => Err(ServicesError::TooMany { what: "services".into(), max: MAX_SERVICES as u64 }),
        }
    }

    /// Takes a registration that has become durable.
    pub(crate) fn adopt(&mut self, registration: Registration) {
        let Registration { name, row, .. } = registration;
        match self.services.get_mut(&name) {
            Some(entry) => entry.row = row,
            None => _ = self.services.insert(name, Entry::new(row)),
        }
    }

    /// Checks that somebody may act for a service.
    ///
    /// # Errors
    /// [`ServicesError::NoSuchService`], [`ServicesError::NotAuthorised`].
    pub(crate) fn check(
        &self,
        name: &ServiceName,
        token: Option<&Token>,
    ) -> Result<(), ServicesError> {
        self.entry(name, token).map(|_| ())
    }

    fn entry(&self, name: &ServiceName, token: Option<&Token>) -> Result<&Entry, ServicesError> {
        let missing = ServicesError::NoSuchService { name: name.clone() };
        let entry = self.services.get(name).ok_or(missing)?;
        match token.is_some_and(|token| entry.row.is_token(token)) {
            true => Ok(entry),
            false => Err(ServicesError::NotAuthorised { name: name.clone() }),
        }
    }

    /// Forgets a service and ends its feeds, once its row is gone.
    pub(crate) fn remove(&mut self, name: &ServiceName) {
        self.services.remove(name);
    }

    /// What a feed of the service follows.
    ///
    /// # Errors
    /// As [`Registry::check`], and [`ServicesError::TooMany`] feeds.
    pub(crate) fn follow(
        &self,
        name: &ServiceName,
        token: Option<&Token>,
    ) -> Result<Follower, ServicesError> {
        let entry = self.entry(name, token)?;
        if entry.alive.receiver_count() >= MAX_FOLLOWERS {
            let max = MAX_FOLLOWERS as u64;
            return Err(ServicesError::TooMany { what: "readers".into(), max });
        }
        Ok(Follower::new(self.present.subscribe(), entry.alive.subscribe()))
    }

    /// The user is logged in.
    pub(crate) fn on_opened(&mut self, user: UserId) {
        self.openings += 1;
        let opening = self.openings;
        self.present.send_modify(|present| _ = Arc::make_mut(present).insert(user, opening));
    }

    /// The last session of the user has ended.
    pub(crate) fn on_closed(&self, user: UserId) {
        self.present.send_modify(|present| _ = Arc::make_mut(present).remove(&user));
    }

    /// The user has another key now.
    pub(crate) fn on_moved(&mut self, closed: UserId, opened: UserId) {
        self.on_closed(closed);
        self.on_opened(opened);
    }
}

impl Entry {
    fn new(row: Row) -> Self {
        Self { row, alive: watch::Sender::default() }
    }

    fn view(&self, name: ServiceName) -> Service {
        Service {
            name,
            version: self.row.version.clone(),
            description: self.row.description.clone(),
            registered_ms: self.row.registered,
            watching: self.alive.receiver_count() > 0,
        }
    }
}

impl Row {
    fn new(token: &Token, now: UnixMillis) -> Self {
        let (version, description) = (String::new(), String::new());
        Self { version, description, registered: now, token: hash(token).into() }
    }

    /// # Panics
    /// Never: text and bytes have a CBOR form.
    fn encode(&self) -> Bytes {
        let row = cbor4ii::serde::to_vec(vec![VERSION], self);
        row.expect("text and bytes have a CBOR form").into()
    }

    fn decode(row: &[u8]) -> Option<Self> {
        match row.split_first() {
            Some((&VERSION, row)) => cbor4ii::serde::from_slice(row).ok(),
            _ => None,
        }
    }

    /// Takes as long for a token that begins alike.
    fn is_token(&self, token: &Token) -> bool {
        hash(token) == self.token
    }
}

fn hash(token: &Token) -> blake3::Hash {
    blake3::derive_key("peerage 2026 services token", token.expose()).into()
}

fn check_text(field: &str, text: &str, max: usize) -> Result<(), ServicesError> {
    let reason = match text {
        _ if text.len() > max => format!("is longer than {max} bytes"),
        _ if text.contains(char::is_control) => "has control characters".to_owned(),
        _ => return Ok(()),
    };
    Err(ServicesError::BadField { field: field.into(), reason })
}

#[cfg(test)]
mod tests;
