//! `kv ls`: what there is.

use peerage_api::{
    kv::{Entry, List},
    types::{KvKey, Space},
    users::{Page, Paged},
};

use super::{
    super::{Context, pages::pages},
    get::left,
    shapes,
    store::{Place, Store},
};
use crate::{
    failed::Failed,
    output::{Table, bytes, printable, since},
};

#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Examples:
  peerage kv ls settings/
  peerage kv ls --from 2026-01 --to 2026-02       keys from one to another, without that one
  peerage kv ls settings/ --keys-only | wc -l
  peerage kv ls --limit 10 --json
  peerage kv ls --limit 10 --after settings/mail/port    the next 10")]
pub(super) struct Ls {
    /// What the keys begin with
    #[arg(default_value = "", hide_default_value = true)]
    prefix: String,
    /// The first key
    #[arg(long, value_name = "KEY")]
    from: Option<KvKey>,
    /// The key behind the last
    #[arg(long, value_name = "KEY")]
    to: Option<KvKey>,
    /// Only keys behind this one: the last one of the page before
    #[arg(long, value_name = "KEY")]
    after: Option<KvKey>,
    /// Most entries that are listed [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// Only the keys, one a line
    #[arg(long)]
    keys_only: bool,
    #[command(flatten)]
    place: Place,
}

pub(super) async fn run(context: Context<'_>, args: Ls) -> Result<(), Failed> {
    let store = Store::new(context).await?;
    let space = store.space(args.place.name()).await?;
    let limit = args.limit.map_or(usize::MAX, |limit| limit as usize);
    let all = Listing { store: &store, space, args: &args };
    let out = context.out;
    // Only what is shown of an entry is kept, however many there are.
    let (more, is_empty): (Option<KvKey>, _) = match (args.keys_only, out.json) {
        (true, _) => {
            let (keys, last) = all.collect(limit, |entry| entry.key).await?;
            out.result(&keys, |keys| joined(keys))?;
            (last, keys.is_empty())
        }
        (false, true) => {
            let (entries, last) = all.collect(limit, |entry| entry).await?;
            out.line(&entries)?;
            (last, entries.is_empty())
        }
        (false, false) => {
            let (rows, last) = all.collect(limit, |entry| row(&entry)).await?;
            let is_empty = rows.is_empty();
            out.text(&table(rows))?;
            (last, is_empty)
        }
    };
    if is_empty {
        store.note_if_kept_out(space).await?;
    }
    more.iter().for_each(|last| out.note(hint(last)));
    Ok(())
}

/// How to see what follows the last key that was listed.
fn hint(last: &KvKey) -> String {
    let word = match last.as_str() {
        key if key.chars().any(char::is_control) => format!("$'{}'", key.escape_default()),
        key => format!("'{}'", printable(key).replace('\'', r"'\''")),
    };
    format!("there are more; the next ones: the same with --after={word}")
}

/// What is to be listed.
#[derive(Debug)]
struct Listing<'a> {
    store: &'a Store<'a>,
    space: Space,
    args: &'a Ls,
}

impl Listing<'_> {
    /// What `keep` makes of up to `limit` entries, and the last of their keys if there are more.
    async fn collect<T>(
        &self,
        limit: usize,
        keep: impl Fn(Entry) -> T,
    ) -> Result<(Vec<T>, Option<KvKey>), Failed> {
        let link = self.store.desk.node.link();
        let mut last = None;
        let page = async |mut page: Page| {
            let Ls { prefix, from, to, after, .. } = self.args.clone();
            page.after = page.after.or(after.map(String::from));
            let list = List { space: self.space, prefix, from, to, page };
            let Paged { items, next } = self.store.ask(link.call(list)).await?;
            last = items.last().map(|entry| entry.key.clone()).or(last.take());
            Ok(Paged { items: items.into_iter().map(&keep).collect(), next })
        };
        let (kept, more) = pages(limit, page).await?;
        Ok((kept, last.filter(|_| more)))
    }
}

fn joined(keys: &[KvKey]) -> String {
    let keys: Vec<_> = keys.iter().map(|key| printable(key.as_str())).collect();
    keys.join("\n")
}

/// Characters of a value in a table.
const VALUE_WIDTH: usize = 40;

fn row(entry: &Entry) -> [String; 7] {
    [
        printable(entry.key.as_str()),
        entry.value.kind().to_string(),
        bytes(entry.value.to_bytes().len() as u64),
        since(entry.updated_ms),
        entry.expires_ms.map(left).unwrap_or_default(),
        shapes::who(&entry.author),
        shapes::brief(&entry.value, VALUE_WIDTH),
    ]
}

fn table(rows: Vec<[String; 7]>) -> String {
    if rows.is_empty() {
        return "nothing is stored there".to_owned();
    }
    let mut table = Table::new(["KEY", "TYPE", "SIZE", "WRITTEN", "EXPIRES", "AUTHOR", "VALUE"]);
    rows.into_iter().for_each(|row| table.row(row));
    table.to_string()
}

#[cfg(test)]
mod tests {
    use peerage_api::{
        kv::Value,
        types::{Author, Hlc, Revision, UnixMillis},
    };

    use super::*;

    #[test]
    fn the_next_page_is_asked_for_by_the_last_key() {
        let of = |key: &str| hint(&KvKey::new(key).unwrap());
        assert!(of("a/b").ends_with("--after='a/b'"), "{}", of("a/b"));
        assert!(of("it's").ends_with(r"--after='it'\''s'"), "{}", of("it's"));
        assert!(of("a\nb").ends_with(r"--after=$'a\nb'"), "{}", of("a\nb"));
    }

    #[test]
    fn entries_are_aligned_and_cannot_play_with_the_terminal() {
        let entry = |key: &str, value: Value| Entry {
            key: KvKey::new(key).unwrap(),
            value,
            revision: Revision { hlc: Hlc(5), mark: [1; 4] },
            author: Author::Node([2; 32]),
            updated_ms: UnixMillis::now(),
            expires_ms: None,
            seq: 1,
        };
        let rows = vec![
            row(&entry("a\u{1b}", Value::from("x\ny"))),
            row(&entry("longer/key", Value::Bytes(vec![0; 2000].into()))),
        ];
        let table = table(rows);
        for part in ["a\\u{1b}", "x\\ny", "(2000 bytes)", "2.0 kB", "12D3", "…"] {
            assert!(table.contains(part), "no {part}: {table}");
        }
        let starts: Vec<_> = table.lines().map(|line| line.find("  ").unwrap()).collect();
        assert_eq!(starts.len(), 3);
        assert!(table.lines().next().unwrap().starts_with("KEY         TYPE"), "{table}");
    }
}
