//! Users as they are named on the command line: by id, by handle, or by nick.

use std::fmt;

use peerage_api::{
    contacts::{Contact, ContactQuery, MAX_SHORT_BYTES},
    types::{Handle, UserId},
    users::{Attribute, LocalUser, Matching, Page, Search, User},
};

use super::{
    acting::{Acting, Desk},
    pages::pages,
};
use crate::{
    failed::{Exit, Failed},
    output::printable,
};

/// A user by its id, or by what it is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Named {
    Id(UserId),
    Called {
        /// Without the `@`.
        name: String,
        /// With an `@`, so that no nick is meant.
        handle: bool,
    },
}

/// Characters that an id has before they tell it from a handle.
const ID_BEGINS: &str = "user1";

/// Candidates that an error lists.
const MAX_CANDIDATES: usize = 10;

/// Known users of one handle that are looked at: enough to see that it is ambiguous.
const MAX_SAME: u32 = 50;

/// Where else to look for somebody who is not in the contact book.
const NOT_NOTED: &str =
    "in your contact book: `peerage contact ls` lists it, and `peerage contact set` adds a user";

/// Reads what stands for a user.
pub(crate) fn named(text: &str) -> Result<Named, String> {
    if let Ok(user) = text.parse() {
        return Ok(Named::Id(user));
    }
    // Longer than any handle: an id that was not copied whole.
    if text.to_ascii_lowercase().starts_with(ID_BEGINS) && text.len() > Handle::MAX_LEN {
        return Err("not a user id: copy it whole, it begins with `user1`".to_owned());
    }
    let (name, handle) = match text.strip_prefix('@') {
        Some(name) => (Handle::new(name).map_err(|error| error.to_string())?.to_string(), true),
        None => (text.to_owned(), false),
    };
    match (1..=MAX_SHORT_BYTES).contains(&name.trim().len()) {
        true => Ok(Named::Called { name: name.trim().to_owned(), handle }),
        false => Err("expected a user id, a handle, or what a contact is called".to_owned()),
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(user) => user.fmt(f),
            Self::Called { name, handle: true } => write!(f, "@{}", printable(name)),
            Self::Called { name, handle: false } => f.write_str(&printable(name)),
        }
    }
}

/// Whether two names are the same to people, for whom case does not matter.
pub(crate) fn is_same(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

/// Somebody who may be meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    user: UserId,
    /// What it is called, with what it is.
    text: String,
}

impl Candidate {
    pub(crate) fn local(user: &LocalUser) -> Self {
        Self { user: user.user, text: called(user.handle.as_ref()) }
    }

    fn known(user: &User) -> Self {
        Self { user: user.user, text: called(user.handle.as_ref()) }
    }

    fn contact(contact: &Contact) -> Self {
        let nick = contact.nick.as_deref().map(printable);
        let text = nick.unwrap_or_else(|| called(contact.handle.as_ref()));
        Self { user: contact.user, text: format!("contact {text}") }
    }
}

fn called(handle: Option<&Handle>) -> String {
    handle.map_or_else(|| "without a handle".to_owned(), |handle| format!("@{handle}"))
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.user, self.text)
    }
}

/// The one that is meant; an error lists them if there are several. `where_else` goes on after
/// "nobody is called so".
pub(crate) fn one(
    named: &Named,
    mut candidates: Vec<Candidate>,
    where_else: &str,
) -> Result<UserId, Failed> {
    // Contacts come first, so that one who is also a known user stays a contact.
    candidates.sort_by_key(|candidate| candidate.user);
    candidates.dedup_by_key(|candidate| candidate.user);
    match &candidates[..] {
        [one] => Ok(one.user),
        [] => {
            let text = format!("nobody is called {named} {where_else}");
            Err(Failed::new(Exit::Failed, "unknown_user", text))
        }
        many => {
            let shown: Vec<_> = many.iter().take(MAX_CANDIDATES).map(ToString::to_string).collect();
            let ids: Vec<_> = many.iter().map(|candidate| candidate.user.to_string()).collect();
            let text =
                format!("{named} can mean several users: {}; name one by id", shown.join(", "));
            Err(Failed::new(Exit::Failed, "ambiguous", text).about("users", ids))
        }
    }
}

impl Desk<'_> {
    /// The user that is meant, among the contacts of who acts, if anybody does, and known users.
    /// Strangers cannot call themselves so that a contact is no longer meant.
    pub(crate) async fn find(
        &self,
        named: &Named,
        acting: Option<&Acting<'_>>,
    ) -> Result<UserId, Failed> {
        let Named::Called { name, handle } = named else { return self.own(named).await };
        let book = match acting {
            Some(acting) => acting.book(name, *handle).await?,
            None => vec![],
        };
        let preferred = preferred(&book);
        if !preferred.is_empty() {
            return one(named, preferred, "");
        }
        let mut candidates: Vec<_> = book.iter().map(Candidate::contact).collect();
        candidates.extend(self.known(name, acting).await?);
        one(
            named,
            candidates,
            "as far as is known here; ask for the user id, which works in any case",
        )
    }

    /// Known users of that handle, but none whose key no longer counts.
    async fn known(
        &self,
        name: &str,
        acting: Option<&Acting<'_>>,
    ) -> Result<Vec<Candidate>, Failed> {
        if Handle::new(name).is_err() {
            return Ok(vec![]);
        }
        let search = Search {
            text: name.to_owned(),
            attribute: Attribute::Handle,
            matching: Matching::Exact,
            viewer: acting.map(Acting::auth),
            page: Page { limit: MAX_SAME, after: None },
        };
        let users = self.node.users();
        let found = users.search(search);
        let found = match acting {
            Some(acting) => acting.ask(found).await?,
            None => self.context.within("no answer", found).await?,
        };
        let valid = found.items.iter().filter(|user| !user.revoked && user.successor.is_none());
        Ok(valid.map(Candidate::known).collect())
    }
}

impl Acting<'_> {
    /// The contact that is meant; nobody else can be.
    pub(crate) async fn contact(&self, named: &Named) -> Result<UserId, Failed> {
        match named {
            Named::Id(user) => Ok(*user),
            Named::Called { name, handle } => {
                let book = self.book(name, *handle).await?;
                let candidates = book.iter().map(Candidate::contact).collect();
                one(named, candidates, NOT_NOTED)
            }
        }
    }

    /// Contacts that are called so.
    async fn book(&self, name: &str, handle: bool) -> Result<Vec<Contact>, Failed> {
        let query = ContactQuery { text: Some(name.to_owned()), ..ContactQuery::default() };
        let contacts = self.contacts();
        let page = async |page| self.ask(contacts.list(query.clone(), page)).await;
        let (near, _) = pages(usize::MAX, page).await?;
        Ok(near.into_iter().filter(|contact| is_called(contact, name, handle)).collect())
    }
}

/// Contacts that are meant before strangers of the same name: those with whom one has to do.
fn preferred(book: &[Contact]) -> Vec<Candidate> {
    let counts = |contact: &&Contact| !contact.blocked && !contact.revoked;
    book.iter().filter(counts).map(Candidate::contact).collect()
}

fn is_called(contact: &Contact, name: &str, handle: bool) -> bool {
    let nick = contact.nick.as_deref().filter(|_| !handle);
    let called = [nick, contact.handle.as_ref().map(Handle::as_str)];
    called.into_iter().flatten().any(|known| is_same(known, name))
}

#[cfg(test)]
mod tests;
