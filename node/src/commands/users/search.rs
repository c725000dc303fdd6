//! `user search`: known users by any attribute.

use peerage_api::users::{Attribute, Matching, Search};

use super::{
    super::{Context, acting::Desk, pages::pages},
    listed::cut,
    show,
};
use crate::failed::Failed;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  peerage user search ada                    anywhere, best match first
  peerage user search @ada --exact           by handle
  peerage user search engines --in bio --limit 5

Searches what this node knows; it learns of users from the nodes it is connected to.")]
pub(crate) struct Args {
    /// What is looked for; case does not matter
    #[arg(value_parser = query)]
    query: String,
    /// Where to look
    #[arg(long = "in", value_name = "WHERE", value_enum, default_value_t)]
    attribute: Where,
    /// The attribute is the query, rather than contains it
    #[arg(long)]
    exact: bool,
    /// The attribute begins with the query
    #[arg(long, conflicts_with = "exact")]
    prefix: bool,
    /// Most users that are listed
    #[arg(long, value_name = "N", default_value_t = 100)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
enum Where {
    #[default]
    Any,
    Id,
    Handle,
    Name,
    Bio,
    Service,
}

fn query(text: &str) -> Result<String, String> {
    match text.trim().trim_start_matches('@').is_empty() {
        true => Err("expected something to look for; `peerage user ls --remote` lists all".into()),
        false => Ok(text.to_owned()),
    }
}

impl Args {
    /// With an `@` a handle is meant.
    fn search(&self) -> Search {
        let (text, attribute) = match (self.query.strip_prefix('@'), self.attribute) {
            (Some(handle), Where::Any | Where::Handle) => (handle, Attribute::Handle),
            (_, Where::Any) => (self.query.as_str(), Attribute::Any),
            (_, Where::Id) => (self.query.as_str(), Attribute::Id),
            (_, Where::Handle) => (self.query.as_str(), Attribute::Handle),
            (_, Where::Name) => (self.query.as_str(), Attribute::Name),
            (_, Where::Bio) => (self.query.as_str(), Attribute::Bio),
            (_, Where::Service) => (self.query.as_str(), Attribute::Service),
        };
        let matching = match (self.exact, self.prefix) {
            (true, _) => Matching::Exact,
            (false, true) => Matching::Prefix,
            (false, false) => Matching::Contains,
        };
        Search { text: text.to_owned(), attribute, matching, ..Search::default() }
    }
}

pub(super) async fn run(context: Context<'_>, args: Args) -> Result<(), Failed> {
    let desk = Desk::new(context).await?;
    let viewer = desk.may_act().await?.map(|acting| acting.auth());
    let (users, search) = (desk.node.users(), Search { viewer, ..args.search() });
    let page = async |page| {
        let search = Search { page, ..search.clone() };
        context.within("no answer", users.search(search)).await
    };
    let (found, more) = pages(args.limit as usize, page).await?;
    let found = show::live_first(found);
    context.out.result(&found, |found| show::users(found))?;
    cut(context, more);
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
    fn a_query_says_where_and_how_to_look() {
        for (line, text, attribute, matching) in [
            ("ada", "ada", Attribute::Any, Matching::Contains),
            ("@ada --exact", "ada", Attribute::Handle, Matching::Exact),
            ("@ada --in handle", "ada", Attribute::Handle, Matching::Contains),
            ("@ada --in bio", "@ada", Attribute::Bio, Matching::Contains),
            ("org. --in service --prefix", "org.", Attribute::Service, Matching::Prefix),
        ] {
            let args = std::iter::once("search").chain(line.split(' '));
            let search = Line::try_parse_from(args).unwrap().args.search();
            assert_eq!(
                (search.text.as_str(), search.attribute, search.matching),
                (text, attribute, matching)
            );
        }
        assert!(Line::try_parse_from(["search", "ada", "--exact", "--prefix"]).is_err());
        assert!(Line::try_parse_from(["search", "ada", "--limit", "0"]).is_err());
        assert!(["", " ", "@"].iter().all(|no| Line::try_parse_from(["search", no]).is_err()));
    }
}
