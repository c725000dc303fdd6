//! `contact ls`: contacts that fulfil every condition.

use peerage_api::contacts::ContactQuery;

use super::{
    super::{acting::Acting, pages::pages},
    change::trust,
    show,
};
use crate::failed::Failed;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  peerage contact ls
  peerage contact ls --tag family --trust-min 50
  peerage contact ls --text lond --met=false")]
pub(crate) struct Args {
    /// Somewhere in nick, handle, name, location, notes or tags
    #[arg(long)]
    text: Option<String>,
    /// At least this trust
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = trust())]
    trust_min: Option<i8>,
    /// At most this trust
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = trust())]
    trust_max: Option<i8>,
    /// You have met; =false: you have not
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    met: Option<bool>,
    /// Somewhere in the location
    #[arg(long, value_name = "TEXT")]
    location: Option<String>,
    /// With this label; repeat for all of several
    #[arg(long, value_name = "T")]
    tag: Vec<String>,
    /// With one of these labels; repeat for more
    #[arg(long, value_name = "T")]
    any_tag: Vec<String>,
    /// Without this label; repeat for more
    #[arg(long, value_name = "T")]
    without_tag: Vec<String>,
    /// Whose safety number was compared; =false: was not
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    verified: Option<bool>,
    /// Who is blocked; =false: is not
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    blocked: Option<bool>,
}

impl Args {
    fn query(self) -> ContactQuery {
        ContactQuery {
            text: self.text,
            trust_min: self.trust_min,
            trust_max: self.trust_max,
            met: self.met,
            location: self.location,
            tags_all: self.tag.into_iter().collect(),
            tags_any: self.any_tag.into_iter().collect(),
            tags_none: self.without_tag.into_iter().collect(),
            verified: self.verified,
            blocked: self.blocked,
        }
    }
}

pub(super) async fn run(acting: &Acting<'_>, args: Args) -> Result<(), Failed> {
    let (contacts, query) = (acting.contacts(), args.query());
    let page = async |page| acting.ask(contacts.list(query.clone(), page)).await;
    let (found, _) = pages(usize::MAX, page).await?;
    acting.context().out.result(&found, |found| show::contacts(found))?;
    show::warn(acting.context(), &found);
    Ok(())
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

    #[test]
    fn each_flag_is_a_condition() {
        let line = "ls --text a --trust-min -5 --trust-max 9 --met --location b --tag c --tag d \
                    --any-tag e --without-tag f --verified=false --blocked=true";
        let query = Line::try_parse_from(line.split_whitespace()).unwrap().args.query();
        let expected = ContactQuery {
            text: Some("a".into()),
            trust_min: Some(-5),
            trust_max: Some(9),
            met: Some(true),
            location: Some("b".into()),
            tags_all: ["c".to_owned(), "d".to_owned()].into(),
            tags_any: ["e".to_owned()].into(),
            tags_none: ["f".to_owned()].into(),
            verified: Some(false),
            blocked: Some(true),
        };
        assert_eq!(query, expected);
        for wrong in ["--trust-min=101", "--trust-max=-101", "--trust-min=200"] {
            let error = Line::try_parse_from(["ls", wrong]).unwrap_err().to_string();
            assert!(error.contains("-100..=100"), "{error}");
        }
        let all = Line::try_parse_from(["ls"]).unwrap().args.query();
        assert_eq!(all, ContactQuery::default());
    }
}
