//! The step of the demo in which people meet.

use peerage_api::{
    Node,
    contacts::{Contact, ContactChange},
    types::{Handle, Password, UserId},
    users::{Attribute, Created, Event, Matching, Search, Update, User},
};
use serde_json::json;

use super::{Actor, Story, ended};
use crate::failed::{Exit, Failed};

/// A user is made on Ben's node and one on Cleo's; Cleo's finds Ben's by handle, notes it in the
/// contact book, and both see the same safety number.
pub(super) async fn meet(story: &mut Story, ben: &Actor, cleo: &Actor) -> Result<(), Failed> {
    let mut news = cleo.node().users().events().await?;
    let mut made = Vec::new();
    for (actor, handle) in [(ben, "ben"), (cleo, "cleo")] {
        let user = create(actor.node(), handle).await?;
        let id = user.session.user;
        let text = format!("{} made the user @{handle}, {id}", actor.name);
        // Neither the token nor the recovery code: this is a demo for all to see.
        story.tell("user", &text, &json!({ "user": id, "handle": handle }))?;
        made.push(user);
    }
    let [ben_user, cleo_user] = &made[..] else { return Err(ended()) };
    let wanted = ben_user.session.user;
    while !matches!(
        news.item().await.ok_or_else(ended)?,
        Event::Changed { user, .. } if user == wanted
    ) {}
    let found = search(cleo.node(), "ben", wanted).await?;
    story.tell("search", "Cleo looked for @ben and found Ben's user", &json!(found))?;
    let contact = note(cleo.node(), cleo_user, wanted).await?;
    let numbers = [(ben, ben_user, cleo_user), (cleo, cleo_user, ben_user)];
    let mut seen = Vec::new();
    for (actor, own, other) in numbers {
        let contacts = actor.node().contacts(own.session.auth());
        seen.push(contacts.safety_number(other.session.user).await?.digits);
    }
    if seen[0] != seen[1] {
        let problem = "Ben and Cleo see different safety numbers";
        return Err(Failed::new(Exit::Failed, "differs", problem));
    }
    let text = "Cleo noted @ben as a contact; both see the same safety number";
    story.tell("contact", text, &json!({ "contact": contact, "digits": seen[0] }))
}

async fn create(node: &Node, handle: &str) -> Result<Created, Failed> {
    let password: Password = "for a demo".parse().map_err(anyhow::Error::from)?;
    let handle: Handle = handle.parse().map_err(anyhow::Error::from)?;
    Ok(node.users().create(password, Some(handle)).await?)
}

async fn search(node: &Node, handle: &str, wanted: UserId) -> Result<User, Failed> {
    let search = Search {
        text: handle.to_owned(),
        attribute: Attribute::Handle,
        matching: Matching::Exact,
        ..Search::default()
    };
    let found = node.users().search(search).await?.items;
    found.into_iter().find(|user| user.user == wanted).ok_or_else(|| {
        Failed::new(Exit::Failed, "not_found", format!("Cleo did not find @{handle}"))
    })
}

async fn note(node: &Node, own: &Created, contact: UserId) -> Result<Contact, Failed> {
    let change = ContactChange {
        nick: Update::Set("Ben from the demo".to_owned()),
        tags_add: ["demo".to_owned()].into(),
        ..ContactChange::default()
    };
    Ok(node.contacts(own.session.auth()).set(contact, change).await?)
}
