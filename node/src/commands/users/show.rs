//! Users for people.

use peerage_api::{
    types::{Handle, UserId},
    users::{Event, User},
};

use crate::output::{Table, printable, since};

/// All that is known of one.
pub(super) fn user(user: &User) -> String {
    let mut table = Table::plain();
    let mut row = |name: &str, value: String| table.row([name.to_owned(), value]);
    row("user", user.user.to_string());
    row("handle", handle(user.handle.as_ref()));
    row("name", user.display_name.as_deref().map(printable).unwrap_or_default());
    for (topic, text) in &user.bio {
        row("bio", format!("{}: {}", printable(topic), printable(text)));
    }
    if let Some(avatar) = user.avatar {
        row("avatar", avatar.to_string());
    }
    for service in &user.services {
        row("service", service.to_string());
    }
    for mailbox in &user.mailboxes {
        row("mailbox", mailbox.to_string());
    }
    row("profile", profile(user));
    row("online", online(user));
    for node in &user.nodes {
        row("node", node.to_string());
    }
    if let Some(state) = validity(user) {
        row("key", state);
    }
    table.to_string()
}

fn profile(user: &User) -> String {
    match user.seq {
        0 => "none yet".to_owned(),
        seq => format!("number {seq}, signed {}", since(user.updated_ms)),
    }
}

/// Whether the user is there, or when it was.
pub(super) fn online(user: &User) -> String {
    match (user.online, user.last_seen_ms) {
        (true, _) => "yes".to_owned(),
        (false, Some(then)) => format!("no, last seen {}", since(then)),
        (false, None) => "no".to_owned(),
    }
}

/// Why a key does not count, if it does not.
fn validity(user: &User) -> Option<String> {
    match (user.successor, user.revoked) {
        (Some(successor), _) => Some(format!("no longer valid; moved to {successor}")),
        (None, true) => Some("revoked: nothing it signs counts any more".to_owned()),
        (None, false) => None,
    }
}

/// What can be done with a user of this node whose key does not count any more; follows on what
/// says so, and where it moved.
pub(super) fn replaced(user: UserId, successor: Option<UserId>) -> String {
    match successor {
        Some(_) => format!(
            "to have that here, export it where it lives, then `peerage user delete {user}` and \
             `peerage user import` here"
        ),
        None => format!(
            "what it signs counts nowhere: make a new user, and `peerage user delete {user}` once \
             nothing of it is needed"
        ),
    }
}

/// Such as `@ada`, or nothing.
pub(super) fn handle(handle: Option<&Handle>) -> String {
    handle.map(|handle| format!("@{handle}")).unwrap_or_default()
}

/// As they were found, but those whose key no longer counts behind all others.
pub(super) fn live_first(mut users: Vec<User>) -> Vec<User> {
    users.sort_by_key(|user| validity(user).is_some());
    users
}

/// Many, a line each.
pub(super) fn users(users: &[User]) -> String {
    if users.is_empty() {
        return "nobody".to_owned();
    }
    let mut table = Table::new(["USER", "HANDLE", "NAME", "ONLINE"]);
    for user in users {
        let state = match (user.successor, user.revoked) {
            (Some(_), _) => "moved".to_owned(),
            (None, true) => "revoked".to_owned(),
            (None, false) => online(user),
        };
        let name = user.display_name.as_deref().map(printable).unwrap_or_default();
        table.row([user.user.to_string(), handle(user.handle.as_ref()), name, state]);
    }
    table.to_string()
}

/// What became known of a user.
pub(crate) fn event(event: &Event) -> String {
    match event {
        Event::Changed { user, seq } => format!("{user}: profile number {seq}"),
        Event::Online { user, node } => format!("{user}: online at {node}"),
        Event::Offline { user, node } => format!("{user}: no longer online at {node}"),
        Event::Revoked { user, successor: Some(next) } => format!("{user}: moved to {next}"),
        Event::Revoked { user, successor: None } => format!("{user}: revoked"),
    }
}

#[cfg(test)]
mod tests {
    use peerage_api::types::UnixMillis;

    use super::*;

    pub(in super::super) fn ada() -> User {
        User {
            user: UserId([1; 32]),
            handle: Some("ada".parse().unwrap()),
            display_name: Some("Ada\u{1b}[2J".into()),
            bio: [("work".to_owned(), "engines\nand more".to_owned())].into(),
            avatar: None,
            services: [].into(),
            mailboxes: [].into(),
            seq: 3,
            updated_ms: UnixMillis::now(),
            local: false,
            online: false,
            nodes: vec![],
            last_seen_ms: None,
            revoked: false,
            successor: None,
        }
    }

    #[test]
    fn a_user_is_shown_whole_and_cannot_play_with_the_terminal() {
        let text = user(&ada());
        assert!(text.contains(&UserId([1; 32]).to_string()) && text.contains("@ada"), "{text}");
        assert!(text.contains("Ada\\u{1b}[2J") && text.contains("engines\\nand more"), "{text}");
        assert!(text.contains("number 3, signed 0s ago"), "{text}");
        assert!(!text.contains("key"), "{text}");
    }

    #[test]
    fn a_key_that_no_longer_counts_is_said_to_be_so() {
        let mut moved = ada();
        (moved.successor, moved.revoked) = (Some(UserId([2; 32])), true);
        assert!(user(&moved).contains(&format!("moved to {}", UserId([2; 32]))));
        let gone = User { revoked: true, ..ada() };
        let listed = users(&[gone.clone(), moved.clone()]);
        assert!(listed.contains("revoked") && listed.contains("moved"), "{listed}");
        assert!(!users(&[moved.clone()]).contains("revoked"));
        let behind: Vec<_> = live_first(vec![gone, ada(), moved, ada()]);
        let behind: Vec<_> = behind.iter().map(|user| validity(user).is_some()).collect();
        assert_eq!(behind, [false, false, true, true]);
        assert_eq!(users(&[]), "nobody");
    }
}
