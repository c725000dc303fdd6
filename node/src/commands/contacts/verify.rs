//! `contact verify`: two people compare what their nodes see of each other's keys.

use peerage_api::{
    contacts::{ContactsError, SafetyNumber},
    types::UserId,
};
use serde::Serialize;

use super::super::{
    acting::Acting,
    who::{self, Named},
};
use crate::{
    failed::{Exit, Failed},
    output::{qr, to_terminal},
    secrets,
};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  peerage contact verify ada                          compare by eye, then say whether it is the same
  peerage contact verify ada --number '12345 67890 …' have it compared
  peerage contact verify ada --yes                    you have compared already

Both sides see the same sixty digits if nobody sits between them. Compare over a channel that
nobody can change: side by side, or on the telephone with a voice you know.")]
pub(crate) struct Args {
    /// A user id, a handle, or what the contact is called
    #[arg(value_parser = who::named)]
    user: Named,
    /// The digits, or the content of the QR code, that the other side shows
    #[arg(long, value_name = "DIGITS")]
    number: Option<String>,
    /// They were compared and are the same
    #[arg(long, conflicts_with = "number")]
    yes: bool,
    /// Draw the QR code even if nobody looks at a terminal
    #[arg(long)]
    qr: bool,
}

/// What is printed for scripts.
#[derive(Debug, Serialize)]
struct Compared {
    user: UserId,
    digits: String,
    qr: String,
    verified: bool,
}

pub(super) async fn run(acting: &Acting<'_>, args: Args) -> Result<(), Failed> {
    let user = acting.contact(&args.user).await?;
    let number = acting.ask(acting.contacts().safety_number(user)).await?;
    if args.qr || (to_terminal() && !acting.context().out.json) {
        // Case does not matter there, and in upper case it is smaller.
        qr::draw(&number.qr.to_ascii_uppercase())?;
    }
    if args.number.is_none() && !acting.context().out.json {
        acting.context().out.text(&grid(&number.digits))?;
    }
    let verified = match is_same(&args).await? {
        Some(true) => {
            let verify = acting.contacts();
            let verify = async { verify.verify(user, args.number).await.map_err(in_words) };
            acting.ask(verify).await?.verified
        }
        Some(false) => return Err(different(user)),
        None => is_verified(acting, user).await?,
    };
    tell(acting, user, number, verified)
}

/// The field as it is called here.
fn in_words(error: ContactsError) -> ContactsError {
    match error {
        ContactsError::BadField { field, reason } if field == "compared" => {
            ContactsError::BadField { field: "--number".into(), reason }
        }
        other => other,
    }
}

/// Whether they are the same, as far as that can be said; with a number the node says it.
async fn is_same(args: &Args) -> Result<Option<bool>, Failed> {
    match args.yes || args.number.is_some() {
        true => Ok(Some(true)),
        false => secrets::confirm("Does the other side see the same number?").await,
    }
}

async fn is_verified(acting: &Acting<'_>, user: UserId) -> Result<bool, Failed> {
    let asked = async {
        match acting.contacts().get(user).await {
            Err(ContactsError::NoSuchContact { .. }) => Ok(false),
            contact => contact.map(|contact| contact.verified),
        }
    };
    acting.ask(asked).await
}

fn different(user: UserId) -> Failed {
    let text = format!(
        "the numbers differ: do not trust {user} until you have compared again, over a channel \
         that nobody can change"
    );
    Failed::new(Exit::Failed, "not_confirmed", text)
}

fn tell(
    acting: &Acting<'_>,
    user: UserId,
    number: SafetyNumber,
    verified: bool,
) -> Result<(), Failed> {
    let out = acting.context().out;
    let SafetyNumber { digits, qr } = number;
    if out.json {
        return out.line(&Compared { user, digits, qr, verified });
    }
    match verified {
        true => out.note(format_args!("{user} is verified")),
        false => out.note(
            "not verified yet: compare with the other side, then say so with --yes or --number",
        ),
    }
    Ok(())
}

/// Groups of digits in lines of four.
fn grid(digits: &str) -> String {
    let groups: Vec<&str> = digits.split_whitespace().collect();
    groups.chunks(4).map(|line| line.join("  ")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twelve_groups_are_three_lines_of_four() {
        let digits: Vec<String> = (0..12).map(|group| format!("{group:05}")).collect();
        let grid = grid(&digits.join(" "));
        let lines: Vec<&str> = grid.lines().collect();
        assert_eq!(
            lines,
            [
                "00000  00001  00002  00003",
                "00004  00005  00006  00007",
                "00008  00009  00010  00011",
            ]
        );
    }
}
