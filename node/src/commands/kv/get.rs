//! `kv get` and `kv history`: one key.

use peerage_api::{
    kv::{Entry, Value, Version},
    types::{KvKey, UnixMillis},
};

use super::{
    super::Context,
    shapes::{self, Former},
    store::{Place, Store},
};
use crate::{
    failed::Failed,
    output::{Output, Table, bytes, printable, seconds, since, to_terminal},
};

pub(super) async fn run(
    context: Context<'_>,
    place: &Place,
    key: KvKey,
    raw: bool,
) -> Result<(), Failed> {
    let store = Store::new(context).await?;
    let space = store.space(place.name()).await?;
    let entry = match store.ask(store.on(space).get(key)).await {
        Err(failed) if failed.code() == Some("not_found") => {
            store.note_if_kept_out(space).await?;
            return Err(failed);
        }
        entry => entry?,
    };
    let out = context.out;
    if context.global.verbose > 0 {
        out.note(about(&entry));
    }
    match (out.json, raw) {
        (true, _) => out.line(&entry),
        (false, true) => as_it_is(out, &entry.value),
        (false, false) => show(out, &entry.value),
    }
}

/// The value and nothing else.
fn as_it_is(out: Output, value: &Value) -> Result<(), Failed> {
    match shapes::text(value) {
        Some(text) => out.raw(text.as_bytes()),
        None => out.raw(&value.to_bytes()),
    }
}

/// A line of text at least. What strangers wrote cannot play with a terminal.
fn show(out: Output, value: &Value) -> Result<(), Failed> {
    match (shapes::text(value), to_terminal()) {
        (Some(text), false) => out.text(&text),
        (Some(text), true) => out.text(&lines(&text)),
        (None, false) => out.raw(&value.to_bytes()),
        (None, true) => {
            let bytes = value.to_bytes();
            let base64 = data_encoding::BASE64.encode(&bytes);
            out.text(&format!("({} bytes) {base64}", bytes.len()))
        }
    }
}

/// Printable text of several lines.
fn lines(text: &str) -> String {
    let safe: Vec<_> = text.split('\n').map(printable).collect();
    safe.join("\n")
}

fn about(entry: &Entry) -> String {
    let mut table = Table::plain();
    let mut row = |name: &str, value: String| table.row([name.to_owned(), value]);
    row("key", printable(entry.key.as_str()));
    row("type", entry.value.kind().to_string());
    row("size", bytes(entry.value.to_bytes().len() as u64));
    row("revision", entry.revision.to_string());
    row("author", entry.author.to_string());
    row("written", since(entry.updated_ms));
    if let Some(until) = entry.expires_ms {
        row("expires", left(until));
    }
    row("sequence", entry.seq.to_string());
    table.to_string().trim_end().to_owned()
}

/// How long there is until then.
pub(super) fn left(until: UnixMillis) -> String {
    format!("in {}", seconds(until.since(UnixMillis::now()).as_secs()))
}

pub(super) async fn history(context: Context<'_>, place: &Place, key: KvKey) -> Result<(), Failed> {
    let store = Store::new(context).await?;
    let versions = store.ask(store.open(place).await?.history(key)).await?;
    let shapes: Vec<_> = versions.iter().map(Former::of).collect();
    context.out.result(&shapes, |_| table(&versions))
}

/// Characters of a value in a table.
const VALUE_WIDTH: usize = 40;

fn table(versions: &[Version]) -> String {
    let mut table = Table::new(["SEQ", "REVISION", "WHAT", "SIZE", "WRITTEN", "AUTHOR", "VALUE"]);
    for version in versions {
        let value = version.value.as_ref().map(|value| shapes::brief(value, VALUE_WIDTH));
        table.row([
            version.seq.to_string(),
            version.revision.to_string(),
            shapes::verb(version.op, version.expired).to_owned(),
            bytes(version.size),
            since(version.updated_ms),
            shapes::who(&version.author),
            value.unwrap_or_default(),
        ]);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use peerage_api::types::{Author, Hlc, Revision};

    use super::*;

    #[test]
    fn text_keeps_its_lines_and_loses_what_plays_with_the_terminal() {
        assert_eq!(lines("a\n\u{1b}[2Jb\n"), "a\n\\u{1b}[2Jb\n");
    }

    #[test]
    fn what_is_known_of_an_entry_is_told() {
        let entry = Entry {
            key: KvKey::new("a\u{1b}").unwrap(),
            value: Value::Int(5),
            revision: Revision { hlc: Hlc(5), mark: [1; 4] },
            author: Author::Node([2; 32]),
            updated_ms: UnixMillis::now(),
            expires_ms: Some(UnixMillis(UnixMillis::now().0 + 90_500)),
            seq: 12,
        };
        let about = about(&entry);
        for part in
            ["a\\u{1b}", "int", "8 B", "000000000000000501010101", "12D3", "in 1m 30s", "12"]
        {
            assert!(about.contains(part), "no {part}: {about}");
        }
    }
}
