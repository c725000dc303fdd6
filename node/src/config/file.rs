//! Reading the configuration file: every mistake names file, line and remedy.

use std::path::Path;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{BadConfig, Key, Value, keys, nearest};

/// A value of the file with the line it stands on.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: &'static Key,
    pub(crate) value: Value,
    pub(crate) line: usize,
}

/// Reads the text of a configuration file; `path` is for messages.
pub(crate) fn parse(path: &Path, text: &str) -> Result<Vec<Entry>, BadConfig> {
    let place = Place { path, text };
    let document = DeTable::parse(text).map_err(|error| {
        place.bad(error.span().map_or(0, |span| span.start), error.message().to_owned())
    })?;
    let mut entries = Vec::new();
    for (section, content) in document.get_ref() {
        let name = section.get_ref().as_ref();
        if !keys::SECTIONS.iter().any(|known| known.name == name) {
            return Err(place.unknown_section(section.span().start, name));
        }
        let Some(table) = content.get_ref().as_table() else {
            let message = format!("`{name}` must be a section: [{name}]");
            return Err(place.bad(section.span().start, message));
        };
        for (key, value) in table {
            entries.push(place.entry(name, key.span().start, key.get_ref().as_ref(), value)?);
        }
    }
    Ok(entries)
}

struct Place<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Place<'_> {
    fn line(&self, offset: usize) -> usize {
        1 + self.text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
    }

    fn bad(&self, offset: usize, message: String) -> BadConfig {
        BadConfig(format!("{}:{}: {message}", self.path.display(), self.line(offset)))
    }

    fn unknown_section(&self, offset: usize, name: &str) -> BadConfig {
        // A key that was left outside of its section is more likely than a misspelt section.
        let owner = keys::ALL.iter().find(|key| key.name == name);
        let hint = match (owner, nearest(name, keys::SECTIONS.iter().map(|known| known.name))) {
            (Some(key), _) => format!("; `{name}` belongs to [{}]", key.section),
            (None, Some(known)) => format!("; did you mean [{known}]?"),
            (None, None) => String::new(),
        };
        self.bad(offset, format!("unknown section [{name}]{hint}"))
    }

    fn entry(
        &self,
        section: &str,
        offset: usize,
        name: &str,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<Entry, BadConfig> {
        let path = format!("{section}.{name}");
        let Some(key) = keys::by_path(&path) else {
            return Err(self.bad(offset, unknown_key(section, &path)));
        };
        let given = plain(value.get_ref()).and_then(|value| key.kind.check(value));
        let value = given.map_err(|e| {
            let found = match value.get_ref() {
                DeValue::Table(_) | DeValue::Float(_) | DeValue::Datetime(_) => {
                    format!("expected {}, found a {e}", key.kind.expected())
                }
                _ => e,
            };
            self.bad(value.span().start, format!("`{path}`: {found}"))
        })?;
        Ok(Entry { key, value, line: self.line(offset) })
    }
}

/// Also used for environment variables: names the nearest key, first of the same section.
pub(super) fn unknown_key(section: &str, path: &str) -> String {
    let all: Vec<String> = keys::ALL.iter().map(|key| key.path()).collect();
    let within = |all: &Vec<String>| -> Option<String> {
        let same = all.iter().filter(|known| known.starts_with(&format!("{section}.")));
        nearest(path, same.map(String::as_str)).map(str::to_owned)
    };
    // The same name in another section is a key that stands in the wrong place.
    let name = path.rsplit('.').next().unwrap_or(path);
    let elsewhere = keys::ALL.iter().find(|key| key.name == name).map(|key| key.path());
    match elsewhere.or_else(|| within(&all)) {
        Some(known) => format!("unknown key `{path}`; did you mean `{known}`?"),
        None => format!("unknown key `{path}`; see `peerage config show`"),
    }
}

fn plain(value: &DeValue<'_>) -> Result<Value, String> {
    match value {
        DeValue::String(text) => Ok(Value::Text(text.to_string())),
        DeValue::Boolean(flag) => Ok(Value::Bool(*flag)),
        DeValue::Integer(number) => {
            let digits = number.as_str().replace('_', "");
            let parsed = i64::from_str_radix(&digits, number.radix());
            parsed.map(Value::Int).map_err(|_| format!("the number {digits} is too large"))
        }
        DeValue::Array(items) => items
            .iter()
            .map(|item| match item.get_ref() {
                DeValue::String(text) => Ok(text.to_string()),
                other => Err(format!("expected a list of texts, found a {}", other.type_str())),
            })
            .collect::<Result<Vec<_>, _>>()
            .map(Value::List),
        other => Err(other.type_str().to_owned()),
    }
}
