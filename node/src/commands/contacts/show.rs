//! Contacts for people.

use peerage_api::contacts::{Contact, Event};

use super::super::Context;
use crate::output::{Table, printable, since};

/// What a contact is called: as its user does, or as it does itself.
fn name(contact: &Contact) -> String {
    match (&contact.nick, &contact.handle) {
        (Some(nick), _) => printable(nick),
        (None, Some(handle)) => format!("@{handle}"),
        (None, None) => String::new(),
    }
}

/// All that is noted of one.
pub(super) fn contact(contact: &Contact) -> String {
    let mut table = Table::plain();
    let mut row = |name: &str, value: String| table.row([name.to_owned(), value]);
    let text = |text: &Option<String>| text.as_deref().map(printable).unwrap_or_default();
    row("user", contact.user.to_string());
    row("nick", text(&contact.nick));
    row("handle", contact.handle.as_ref().map(|h| format!("@{h}")).unwrap_or_default());
    row("name", text(&contact.display_name));
    row("online", yes(contact.online));
    row("trust", contact.trust.to_string());
    row("met", yes(contact.met));
    row("verified", yes(contact.verified));
    if contact.revoked {
        row("key", "revoked: nothing it signs counts any more".to_owned());
    }
    row("blocked", yes(contact.blocked));
    row("location", text(&contact.location));
    row("notes", text(&contact.notes));
    row("tags", tags(contact));
    row("added", since(contact.added_ms));
    if let Some(before) = contact.moved_from {
        row("moved from", before.to_string());
    }
    table.to_string()
}

fn yes(is: bool) -> String {
    if is { "yes" } else { "no" }.to_owned()
}

fn tags(contact: &Contact) -> String {
    contact.tags.iter().map(|tag| printable(tag)).collect::<Vec<_>>().join(", ")
}

/// Many, a line each.
pub(super) fn contacts(contacts: &[Contact]) -> String {
    if contacts.is_empty() {
        return "no contacts".to_owned();
    }
    let mut table = Table::new(["USER", "NAME", "TRUST", "MARKS", "TAGS"]);
    for contact in contacts {
        let (name, trust) = (name(contact), contact.trust.to_string());
        table.row([contact.user.to_string(), name, trust, marks(contact), tags(contact)]);
    }
    table.to_string()
}

fn marks(contact: &Contact) -> String {
    let marks = [
        ("online", contact.online),
        ("met", contact.met),
        ("verified", contact.verified),
        ("blocked", contact.blocked),
        ("revoked!", contact.revoked),
        ("lookalike!", !contact.lookalikes.is_empty()),
    ];
    let marks: Vec<_> = marks.into_iter().filter(|(_, set)| *set).map(|(name, _)| name).collect();
    marks.join(" ")
}

/// Other keys that use the handle of a contact, and keys that have changed.
pub(super) fn warn(context: Context<'_>, contacts: &[Contact]) {
    if context.out.json {
        return;
    }
    for warning in contacts.iter().flat_map(warnings) {
        context.out.note(warning);
    }
}

fn warnings(contact: &Contact) -> Vec<String> {
    let (user, name) = (contact.user, name(contact));
    if contact.blocked {
        // Nobody looks out for it.
        return vec![];
    }
    let mut warnings: Vec<_> = contact
        .lookalikes
        .iter()
        .map(|other| {
            format!("warning: {other} uses the handle of {name} ({user}) and is somebody else")
        })
        .collect();
    if contact.revoked {
        warnings.push(format!(
            "warning: the key of {name} ({user}) was revoked: whoever uses it is not to be trusted; get \
             the new key from the contact itself"
        ));
    } else if let (Some(before), false) = (contact.moved_from, contact.verified) {
        warnings.push(format!(
            "warning: {name} ({user}) had the key {before} before; compare safety numbers again: \
             peerage contact verify {user}"
        ));
    }
    warnings
}

/// What happened in or to the book.
pub(super) fn event(event: &Event) -> String {
    match event {
        Event::Changed { contact } => format!("{contact}: changed"),
        Event::Removed { contact } => format!("{contact}: removed"),
        Event::Moved { from, to } => format!("{from}: moved to {to}, which is not verified"),
        Event::Revoked { contact } => format!("{contact}: its key was revoked"),
        Event::Lookalike { contact, other, handle } => {
            format!(
                "warning: {other} uses @{handle}, the handle of {contact}, and is somebody else"
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use peerage_api::types::{UnixMillis, UserId};

    use super::*;

    fn ada() -> Contact {
        Contact {
            user: UserId([1; 32]),
            nick: Some("aunt\u{1b}[2J".into()),
            trust: -5,
            met: true,
            location: None,
            notes: Some("two\nlines".into()),
            tags: ["b".to_owned(), "a".to_owned()].into(),
            verified: false,
            revoked: false,
            blocked: false,
            added_ms: UnixMillis::now(),
            updated_ms: UnixMillis::now(),
            moved_from: None,
            handle: Some("ada".parse().unwrap()),
            display_name: None,
            online: false,
            lookalikes: vec![],
        }
    }

    #[test]
    fn what_is_noted_is_shown_and_cannot_play_with_the_terminal() {
        let text = contact(&ada());
        for part in ["aunt\\u{1b}[2J", "two\\nlines", "a, b", "-5", "@ada"] {
            assert!(text.contains(part), "no {part}: {text}");
        }
        let listed = contacts(&[ada()]);
        assert!(listed.contains("met ") && !listed.contains('\u{1b}'), "{listed}");
        assert_eq!(contacts(&[]), "no contacts");
    }

    #[test]
    fn lookalikes_and_new_keys_are_warned_of() {
        assert_eq!(warnings(&ada()), Vec::<String>::new());
        let (other, before) = (UserId([2; 32]), UserId([3; 32]));
        let doubtful = Contact { lookalikes: vec![other], moved_from: Some(before), ..ada() };
        let [lookalike, moved] = &warnings(&doubtful)[..] else { panic!("not two") };
        assert!(lookalike.contains(&other.to_string()) && moved.contains(&before.to_string()));
        assert!(contacts(std::slice::from_ref(&doubtful)).contains("lookalike!"));
        let hidden = Contact { blocked: true, ..doubtful.clone() };
        assert_eq!(warnings(&hidden), Vec::<String>::new());
        assert!(contacts(&[hidden]).contains("met blocked"));
        let compared = Contact { verified: true, lookalikes: vec![], ..doubtful };
        assert_eq!(warnings(&compared), Vec::<String>::new());
    }

    #[test]
    fn a_revoked_contact_is_marked_and_warned_of() {
        let gone = Contact { revoked: true, moved_from: Some(UserId([3; 32])), ..ada() };
        assert!(contact(&gone).contains("revoked"));
        let [warning] = &warnings(&gone)[..] else { panic!("not one") };
        assert!(warning.contains("revoked") && !warning.contains("compare"), "{warning}");
        assert!(contacts(&[gone]).contains("revoked!"));
    }
}
