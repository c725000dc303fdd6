//! `user update`: a change of the profile, field by field.

use std::collections::BTreeSet;

use peerage_api::{
    types::{ContentHash, Handle, PeerId, ServiceName},
    users::{ProfileChange, Update, UsersError},
};

use super::{
    super::{Context, acting::Acting, peers},
    changed, show,
};
use crate::failed::Failed;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  peerage user update --handle ada --display-name 'Ada Lovelace'
  peerage user update --bio work='analytical engines' --remove-bio hobby
  peerage user update --avatar $(peerage share me.png --json | jq -r .hash)
  peerage user update --unset avatar --add-service org.example.notes

The new profile is signed and spreads to everybody who knows the user.")]
#[command(group = clap::ArgGroup::new("change").required(true).multiple(true))]
pub(crate) struct Args {
    /// What it calls itself; others may use the same
    #[arg(long, value_name = "H", group = "change")]
    handle: Option<Handle>,
    /// Its name as it is to be shown
    #[arg(long, value_name = "NAME", group = "change")]
    display_name: Option<String>,
    /// Add or replace an entry of the bio; repeat for more
    #[arg(long, value_name = "TOPIC=TEXT", value_parser = entry, group = "change")]
    bio: Vec<(String, String)>,
    /// Remove an entry of the bio; repeat for more
    #[arg(long, value_name = "TOPIC", group = "change")]
    remove_bio: Vec<String>,
    /// Hash of a picture that is shared
    #[arg(long, value_name = "HASH", group = "change")]
    avatar: Option<ContentHash>,
    /// Add a service that the user has; repeat for more
    #[arg(long, value_name = "NAME", group = "change")]
    add_service: Vec<ServiceName>,
    /// Remove a service; repeat for more
    #[arg(long, value_name = "NAME", group = "change")]
    remove_service: Vec<ServiceName>,
    /// Add a node that holds mail for the user; repeat for more
    #[arg(long, value_name = "PEER", value_parser = peers::peer, group = "change")]
    add_mailbox: Vec<PeerId>,
    /// Remove such a node; repeat for more
    #[arg(long, value_name = "PEER", value_parser = peers::peer, group = "change")]
    remove_mailbox: Vec<PeerId>,
    /// Empty a field; repeat for more
    #[arg(long, value_name = "FIELD", value_enum, group = "change")]
    unset: Vec<Field>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Field {
    Handle,
    DisplayName,
    Avatar,
}

/// Reads `TOPIC=TEXT`.
fn entry(text: &str) -> Result<(String, String), String> {
    let (topic, text) = text.split_once('=').ok_or("expected TOPIC=TEXT")?;
    match topic.is_empty() {
        true => Err("expected a topic before the =".to_owned()),
        false => Ok((topic.to_owned(), text.to_owned())),
    }
}

pub(super) async fn run(context: Context<'_>, args: Args) -> Result<(), Failed> {
    let change = args.change();
    let acting = Acting::new(context).await?;
    let users = acting.desk.node.users();
    let mut replaced = None;
    let update = async {
        users.update(acting.auth(), change).await.inspect_err(|error| {
            if let UsersError::Revoked { user, successor } = error {
                replaced = Some(show::replaced(*user, *successor));
            }
        })
    };
    let updated = acting.ask(update).await;
    let user = updated.map_err(|failed| match &replaced {
        Some(advice) => failed.advise(advice),
        None => failed,
    })?;
    changed(&acting, &user)
}

/// Set if there is a value, else unset if it is listed.
pub(crate) fn update<T, F: PartialEq>(value: Option<T>, unset: &[F], field: &F) -> Update<T> {
    match value {
        Some(value) => Update::Set(value),
        None if unset.contains(field) => Update::Unset,
        None => Update::Ignore,
    }
}

impl Args {
    fn change(self) -> ProfileChange {
        let unset = &self.unset;
        ProfileChange {
            handle: update(self.handle, unset, &Field::Handle),
            display_name: update(self.display_name, unset, &Field::DisplayName),
            bio_set: self.bio.into_iter().collect(),
            bio_remove: self.remove_bio.into_iter().collect(),
            avatar: update(self.avatar, unset, &Field::Avatar),
            services_add: self.add_service.into_iter().collect(),
            services_remove: self.remove_service.into_iter().collect(),
            mailboxes_add: self.add_mailbox.into_iter().collect(),
            mailboxes_remove: self.remove_mailbox.into_iter().collect::<BTreeSet<_>>(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn parse(args: &[&str]) -> Result<ProfileChange, clap::Error> {
        let line = Line::try_parse_from([&["update"], args].concat())?;
        Ok(line.args.change())
    }

    #[test]
    fn what_is_not_named_stays_as_it_is() {
        let change = parse(&["--handle", "ada", "--unset", "avatar", "--bio", "a=b=c"]).unwrap();
        let expected = ProfileChange {
            handle: Update::Set("ada".parse().unwrap()),
            avatar: Update::Unset,
            bio_set: [("a".to_owned(), "b=c".to_owned())].into(),
            ..ProfileChange::default()
        };
        assert_eq!(change, expected);
    }

    #[test]
    fn a_change_of_nothing_is_a_usage_error() {
        for wrong in [&[][..], &["--bio", "topic"], &["--bio", "=text"], &["--unset", "bio"]] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
