//! `kv space`: who shares what with whom.

use std::{io::Read, time::Duration};

use peerage_api::{
    kv::{GrantRequest, Rights},
    types::{Author, SpaceId},
};
use serde_json::json;

use super::{
    super::{
        Context, peers,
        storage::ttl,
        who::{self, Named},
    },
    store::Store,
};
use crate::{
    failed::Failed,
    output::{printable, qr},
};

mod show;

#[derive(Debug, Clone, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum Command {
    /// Make a space that this node owns, or the user of --as
    #[command(after_help = "\
Examples:
  peerage kv space create team
  peerage --as ada kv space create team        Ada owns it, on whichever node she is")]
    Create {
        /// How it is called here; the same name gives the same space again
        name: String,
    },
    /// The spaces of this node
    Ls,
    /// A space, and who may do what in it
    #[command(after_help = "Example: peerage kv space show team")]
    Show {
        #[command(flatten)]
        one: One,
    },
    /// Let somebody read or write
    #[command(after_help = "\
Examples:
  peerage kv space grant team --to 12D3KooW… --write
  peerage kv space grant team --to @ben --read --prefix public/ --ttl 30d

Prints a ticket that works for them alone: it says where the space is. They may also join by the id
of the space.")]
    Grant {
        #[command(flatten)]
        one: One,
        /// A node, or a user on whichever node
        #[arg(long, value_name = "PEER|USER", value_parser = To::parse)]
        to: To,
        #[command(flatten)]
        terms: Terms,
    },
    /// Take a grant back, and all that were derived from it
    #[command(after_help = "\
Example: peerage kv space revoke team 3f2a…      `kv space show team` lists them

What was written under it before stays.")]
    Revoke {
        #[command(flatten)]
        one: One,
        /// Its id, 32 hexadecimal digits
        grant: String,
    },
    /// Print a ticket with which whoever has it may join; it is a secret
    #[command(after_help = "\
Examples:
  peerage kv space ticket team --write --ttl 1d
  peerage kv space ticket team --read --prefix public/ --qr")]
    Ticket {
        #[command(flatten)]
        one: One,
        #[command(flatten)]
        terms: Terms,
        /// Also draw the ticket as a QR code
        #[arg(long)]
        qr: bool,
    },
    /// Join a space by a ticket, or by its id; without a grant it stays empty until there is one
    #[command(after_help = "\
Examples:
  peerage kv space join TICKET
  peerage kv space join space1… --name team
  peerage kv space join - < ticket.txt           keeps the ticket out of the shell's history")]
    Join {
        /// A ticket, an id, or - for stdin
        #[arg(value_name = "TICKET|SPACE")]
        ticket: String,
        /// How this node calls it
        #[arg(long, value_name = "N")]
        name: Option<String>,
    },
    /// Leave a space and remove all that this node has of it
    #[command(after_help = "Example: peerage kv space leave team")]
    Leave {
        #[command(flatten)]
        one: One,
    },
}

#[derive(Debug, Clone, clap::Args)]
struct One {
    /// default, an id, or the name it has on this node
    space: String,
}

impl One {
    /// The command that takes a grant back, with the name of the space if a shell takes it as it is.
    fn revoking(&self, space: SpaceId, grant: &str) -> String {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        match self.space.chars().all(plain) && !self.space.starts_with('-') {
            true => format!("peerage kv space revoke {} {grant}", self.space),
            false => format!("peerage kv space revoke {space} {grant}"),
        }
    }
}

/// What is granted.
#[derive(Debug, Clone, clap::Args)]
struct Terms {
    /// Reading only [default]
    #[arg(long, conflicts_with = "write")]
    read: bool,
    /// Reading and writing
    #[arg(long)]
    write: bool,
    /// Only keys that begin so
    #[arg(long, value_name = "P", default_value = "", hide_default_value = true)]
    prefix: String,
    /// For so long: seconds, or such as 90s, 15m, 12h, 7d [default: until it is revoked]
    #[arg(long, value_name = "T", value_parser = ttl)]
    ttl: Option<Duration>,
}

impl Terms {
    fn rights(&self) -> Rights {
        if self.write { Rights::Write } else { Rights::Read }
    }
}

/// To whom.
#[derive(Debug, Clone, PartialEq, Eq)]
enum To {
    Author(Author),
    User(Named),
}

impl To {
    fn parse(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(author) => Ok(Self::Author(author)),
            // No user is called so.
            Err(_) if text.starts_with("12D3Koo") => peers::peer(text).and_then(|_| {
                Err("the key of that peer is of a kind that signs no entries".to_owned())
            }),
            Err(_) => who::named(text).map(Self::User),
        }
    }

    async fn author(self, store: &Store<'_>) -> Result<Author, Failed> {
        match self {
            Self::Author(author) => Ok(author),
            Self::User(named) => {
                let acting = store.desk.may_act().await?;
                store.desk.find(&named, acting.as_ref()).await.map(Author::User)
            }
        }
    }
}

pub(super) async fn run(context: Context<'_>, args: Args) -> Result<(), Failed> {
    let store = Store::new(context).await?;
    let (out, spaces) = (context.out, store.spaces());
    match args.command {
        Command::Create { name } => {
            let space = store.ask(spaces.create(name, store.auth())).await?;
            out.result(&space, show::id)
        }
        Command::Ls => {
            let spaces = store.ask(spaces.list()).await?;
            out.result(&spaces, |spaces| show::table(spaces))
        }
        Command::Show { one } => {
            let space = store.space(&one.space).await?;
            let space = store.ask(spaces.show(space)).await?;
            out.result(&space, show::about)
        }
        Command::Grant { one, to, terms } => grant(&store, &one, to, terms).await,
        Command::Revoke { one, grant } => {
            let space = store.owned(&one.space).await?;
            store.ask(spaces.revoke(space, grant.as_str(), store.auth())).await?;
            let line = json!({ "space": space, "grant": grant, "revoked": true });
            out.result(&line, |_| format!("{}: revoked", printable(&grant)))
        }
        Command::Ticket { one, terms, qr } => ticket(&store, &one, terms, qr).await,
        Command::Join { ticket, name } => {
            let ticket = given(ticket).await?;
            let joined = store.ask(spaces.join(ticket, name, store.auth())).await?;
            let space = store.first_contact(joined).await;
            out.result(&space, show::id)?;
            store.note_joined(&space).await;
            Ok(())
        }
        Command::Leave { one } => {
            let space = store.owned(&one.space).await?;
            store.ask(spaces.leave(space)).await?;
            let line = json!({ "space": space, "left": true });
            out.result(&line, |_| format!("{}: left", printable(&one.space)))
        }
    }
}

async fn grant(store: &Store<'_>, one: &One, to: To, terms: Terms) -> Result<(), Failed> {
    let space = store.owned(&one.space).await?;
    let (to, rights) = (to.author(store).await?, terms.rights());
    let ttl_ms = terms.ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
    let request = GrantRequest { to, rights, prefix: terms.prefix, ttl_ms };
    let granted = store.ask(store.spaces().grant(space, request, store.auth())).await?;
    let out = store.desk.context.out;
    out.note(format_args!("they join with: peerage kv space join TICKET, or by the id {space}"));
    out.note(format_args!("take it back with: {}", one.revoking(space, &granted.grant.id)));
    out.result(&granted, |granted| granted.ticket.clone())
}

/// The ticket alone on stdout, everything else on stderr.
async fn ticket(store: &Store<'_>, one: &One, terms: Terms, draw: bool) -> Result<(), Failed> {
    let space = store.owned(&one.space).await?;
    let (rights, auth) = (terms.rights(), store.auth());
    let made = store.spaces();
    let made = store.ask(made.ticket(space, rights, terms.prefix, terms.ttl, auth)).await?;
    if draw {
        qr::draw(&made.ticket.to_ascii_uppercase())?;
    }
    let out = store.desk.context.out;
    out.note("whoever has it may join, with: peerage kv space join TICKET");
    out.note(format_args!("worthless after: {}", one.revoking(space, &made.grant.id)));
    out.result(&made, |made| made.ticket.clone())
}

/// A ticket as it was given, or from stdin.
async fn given(ticket: String) -> Result<String, Failed> {
    if ticket != "-" {
        return Ok(ticket);
    }
    // Longer than any ticket.
    const MAX: u64 = 64 << 10;
    let read = || {
        let mut text = String::new();
        std::io::stdin().lock().take(MAX).read_to_string(&mut text).map(|_| text)
    };
    let text = tokio::task::spawn_blocking(read).await.map_err(anyhow::Error::from)??;
    Ok(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn access_goes_to_a_peer_a_user_or_whoever_is_called_so() {
        let peer = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
        assert!(matches!(To::parse(peer), Ok(To::Author(Author::Node(_)))));
        assert!(To::parse(&peer[..20]).unwrap_err().contains("full peer id"));
        assert!(matches!(To::parse("@ben"), Ok(To::User(Named::Called { handle: true, .. }))));
        let user = peerage_api::types::UserId([3; 32]);
        assert_eq!(To::parse(&user.to_string()), Ok(To::Author(Author::User(user))));
    }
}
