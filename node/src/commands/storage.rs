//! `storage`: what services keep for a user, sealed.

use std::time::Duration;

use peerage_api::{
    storage::{Entry, Event, Storage},
    types::{ServiceName, UnixMillis},
};
use serde_json::json;

use super::{Context, Until, acting::Acting, message, pages::pages};
use crate::{
    failed::Failed,
    output::{Table, bytes, payload, printable, seconds, short, since, to_terminal},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum Command {
    /// Set a value
    #[command(after_help = "\
Examples:
  peerage storage put org.example.notes draft 'Dear Ben'
  peerage storage put org.example.notes draft - < draft.txt
  peerage storage put org.example.notes draft 'Dear Ben' --if-revision 0    only if there is none")]
    Put {
        #[command(flatten)]
        place: Place,
        /// The key
        key: String,
        /// The value; from stdin if absent or -
        value: Option<String>,
        /// Only if the entry is at this revision; 0 for no entry
        #[arg(long, value_name = "R")]
        if_revision: Option<u64>,
        /// It is gone after that: seconds, or such as 90s, 15m, 12h, 7d
        #[arg(long, value_name = "T", value_parser = ttl, allow_hyphen_values = true)]
        ttl: Option<Duration>,
    },
    /// Print a value as it is
    Get {
        #[command(flatten)]
        place: Place,
        /// The key
        key: String,
    },
    /// The entries whose keys begin so
    Ls {
        #[command(flatten)]
        place: Place,
        /// What the keys begin with
        #[arg(default_value = "")]
        prefix: String,
        /// Most entries that are listed [default: all]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        limit: Option<u32>,
    },
    /// Remove an entry
    Del {
        #[command(flatten)]
        place: Place,
        /// The key
        key: String,
        /// Only if the entry is at this revision
        #[arg(long, value_name = "R")]
        if_revision: Option<u64>,
    },
    /// Print changes as they happen
    Watch {
        #[command(flatten)]
        place: Place,
        /// What the keys begin with
        #[arg(default_value = "")]
        prefix: String,
        #[command(flatten)]
        until: Until,
    },
}

#[derive(Debug, Clone, clap::Args)]
struct Place {
    /// Name of the service, such as org.example.notes
    service: ServiceName,
}

/// Longest time to live: a hundred years.
const MAX_TTL: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Reads a number of seconds, or a number with a unit.
pub(super) fn ttl(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = match unit {
        "" | "s" => Some(1),
        "m" => Some(60),
        "h" => Some(3600),
        "d" => Some(86_400),
        _ => None,
    };
    let count =
        number.parse::<u64>().ok().zip(factor).and_then(|(n, factor)| n.checked_mul(factor));
    let ttl = count
        .map(Duration::from_secs)
        .filter(|ttl| (1..=MAX_TTL.as_secs()).contains(&ttl.as_secs()));
    ttl.ok_or_else(|| "expected seconds, or such as 90s, 15m, 12h, 7d".to_owned())
}

pub(super) async fn run(context: Context<'_>, args: Args) -> Result<(), Failed> {
    let acting = Acting::new(context).await?;
    let open = |place: Place| acting.desk.node.storage(acting.auth(), place.service);
    match args.command {
        Command::Put { place, key, value, if_revision, ttl } => {
            let value = message(context.out, value).await?;
            let put = open(place);
            let done = acting.ask(put.put(key.as_str(), value, if_revision, ttl)).await?;
            let line = json!({ "key": key, "revision": done.revision });
            context.out.result(&line, |_| format!("revision {}", done.revision))
        }
        Command::Get { place, key } => {
            let entry = acting.ask(open(place).get(key)).await?;
            show(context, &entry)
        }
        Command::Ls { place, prefix, limit } => list(&acting, &open(place), &prefix, limit).await,
        Command::Del { place, key, if_revision } => {
            let done = acting.ask(open(place).delete(key.as_str(), if_revision)).await?;
            let line = json!({ "key": key, "deleted": true, "revision": done.revision });
            context.out.result(&line, |_| format!("{}: deleted", printable(&key)))
        }
        Command::Watch { place, prefix, until } => {
            let feed = acting.ask(open(place).watch(prefix)).await?;
            context.out.note("watching; end with ctrl-C");
            acting.follow(until, feed, happened).await
        }
    }
}

/// The bytes as they are, unless a person looks at them.
fn show(context: Context<'_>, entry: &Entry) -> Result<(), Failed> {
    match (context.out.json, to_terminal()) {
        (true, _) => context.out.line(entry),
        (false, true) => context.out.text(&payload(&entry.value)),
        (false, false) => context.out.raw(&entry.value.0),
    }
}

async fn list(
    acting: &Acting<'_>,
    storage: &Storage,
    prefix: &str,
    limit: Option<u32>,
) -> Result<(), Failed> {
    let limit = limit.map_or(usize::MAX, |limit| limit as usize);
    let page = async |page| acting.ask(storage.list(prefix, page)).await;
    let (entries, more) = pages(limit, page).await?;
    let out = acting.context().out;
    out.result(&entries, |entries| table(entries))?;
    if more {
        out.note("there are more; list them with a higher --limit");
    }
    Ok(())
}

/// Characters of a value in a table.
const VALUE_WIDTH: usize = 40;

fn table(entries: &[Entry]) -> String {
    if entries.is_empty() {
        return "nothing is stored there".to_owned();
    }
    let mut table = Table::new(["KEY", "REVISION", "WRITTEN", "EXPIRES", "SIZE", "VALUE"]);
    for entry in entries {
        let value = entry.value.as_text().map(|text| printable(&short(text, VALUE_WIDTH)));
        table.row([
            printable(&entry.key),
            entry.revision.to_string(),
            since(entry.updated_ms),
            entry.expires_ms.map(left).unwrap_or_default(),
            bytes(entry.value.len() as u64),
            value.unwrap_or_else(|| "(not text)".to_owned()),
        ]);
    }
    table.to_string()
}

fn left(until: UnixMillis) -> String {
    format!("in {}", seconds(until.since(UnixMillis::now()).as_secs()))
}

fn happened(event: &Event) -> String {
    match event {
        Event::Put(entry) => {
            format!(
                "{} = {} (revision {})",
                printable(&entry.key),
                payload(&entry.value),
                entry.revision
            )
        }
        Event::Deleted { key, revision } => {
            format!("{} is gone (revision {revision})", printable(key))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_live_is_a_number_with_or_without_a_unit() {
        for (text, count) in [("1", 1), ("90s", 90), ("15m", 900), ("12h", 43_200), ("7d", 604_800)]
        {
            assert_eq!(ttl(text), Ok(Duration::from_secs(count)));
        }
        for wrong in
            ["", "0", "0d", "s", "-1", "1.5h", "1w", "1 h", "99999999999999999999", "40000d"]
        {
            assert!(ttl(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn entries_are_shown_with_values_that_cannot_play_with_the_terminal() {
        let entry = |key: &str, value: &[u8]| Entry {
            key: key.into(),
            value: value.to_vec().into(),
            revision: 7,
            updated_ms: UnixMillis::now(),
            expires_ms: None,
        };
        let table = table(&[entry("a\u{1b}", b"x\ny"), entry("b", b"\xff")]);
        for part in ["a\\u{1b}", "x\\ny", "(not text)", "1 B", " 7 "] {
            assert!(table.contains(part), "no {part}: {table}");
        }
        assert_eq!(happened(&Event::Put(entry("k", b"v"))), "k = v (revision 7)");
    }
}
