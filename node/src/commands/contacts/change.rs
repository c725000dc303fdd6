//! `contact set`: a change of a contact, field by field.

use peerage_api::contacts::{ContactChange, MAX_TRUST};

use super::{
    super::{
        acting::Acting,
        users::update,
        who::{self, Named},
    },
    find, noted,
};
use crate::failed::Failed;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  peerage contact set @ada                                  add a user that is known
  peerage contact set user1… --nick 'my aunt' --trust 80 --met --tag family
  peerage contact set 'my aunt' --untag family --unset location")]
pub(crate) struct Args {
    /// A user id, a handle, or what the contact is called
    #[arg(value_parser = who::named)]
    user: Named,
    #[command(flatten)]
    notes: Notes,
}

#[derive(Debug, clap::Args)]
struct Notes {
    /// What you call it
    #[arg(long)]
    nick: Option<String>,
    /// From -100, not at all, to 100, entirely
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[arg(value_parser = trust())]
    trust: Option<i8>,
    /// You have met
    #[arg(long)]
    met: bool,
    /// You have not met
    #[arg(long, conflicts_with = "met")]
    not_met: bool,
    /// Where it is
    #[arg(long, value_name = "TEXT")]
    location: Option<String>,
    /// Anything
    #[arg(long, value_name = "TEXT")]
    notes: Option<String>,
    /// Add a label; repeat for more
    #[arg(long, value_name = "T")]
    tag: Vec<String>,
    /// Remove a label; repeat for more
    #[arg(long, value_name = "T")]
    untag: Vec<String>,
    /// Empty a field; repeat for more
    #[arg(long, value_name = "FIELD", value_enum)]
    unset: Vec<Field>,
}

/// Reads a trust.
pub(super) fn trust() -> impl clap::builder::TypedValueParser<Value = i8> {
    let most = i64::from(MAX_TRUST);
    clap::value_parser!(i8).range(-most..=most)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Field {
    Nick,
    Trust,
    Met,
    Location,
    Notes,
}

impl Notes {
    fn change(self) -> ContactChange {
        let unset = &self.unset;
        let met = (self.met || self.not_met).then_some(self.met);
        ContactChange {
            nick: update(self.nick, unset, &Field::Nick),
            trust: update(self.trust, unset, &Field::Trust),
            met: update(met, unset, &Field::Met),
            location: update(self.location, unset, &Field::Location),
            notes: update(self.notes, unset, &Field::Notes),
            tags_add: self.tag.into_iter().collect(),
            tags_remove: self.untag.into_iter().collect(),
        }
    }
}

pub(super) async fn run(acting: &Acting<'_>, args: Args) -> Result<(), Failed> {
    let user = find(acting, &args.user).await?;
    let contact = acting.ask(acting.contacts().set(user, args.notes.change())).await?;
    noted(acting, user, &contact)
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use peerage_api::users::Update;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn parse(line: &str) -> Result<ContactChange, clap::Error> {
        let args = std::iter::once("set").chain(line.split(' '));
        Ok(Line::try_parse_from(args)?.args.notes.change())
    }

    #[test]
    fn what_is_not_named_stays_as_it_is() {
        assert_eq!(parse("ada").unwrap(), ContactChange::default());
        let change =
            parse("ada --nick aunt --trust -100 --not-met --tag a --tag b --untag c --unset notes");
        let expected = ContactChange {
            nick: Update::Set("aunt".into()),
            trust: Update::Set(-100),
            met: Update::Set(false),
            notes: Update::Unset,
            tags_add: ["a".to_owned(), "b".to_owned()].into(),
            tags_remove: ["c".to_owned()].into(),
            ..ContactChange::default()
        };
        assert_eq!(change.unwrap(), expected);
    }

    #[test]
    fn trust_out_of_range_and_contradictions_are_usage_errors() {
        for wrong in
            ["ada --trust 101", "ada --trust -101", "ada --met --not-met", "@", "ada --unset tags"]
        {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
