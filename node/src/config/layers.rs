//! Which value counts: flag before environment before file before default.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use super::{BadConfig, Flags, Key, Value, file, keys};

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    Default,
    File { path: PathBuf, line: usize },
    Variable(String),
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => write!(f, "${name}"),
            Self::Flag(name) => write!(f, "--{name}"),
        }
    }
}

/// A key with the value that counts.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    pub(crate) key: &'static Key,
    pub(crate) value: Value,
    pub(crate) origin: Origin,
}

/// The value of every key.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    settings: Vec<Setting>,
    /// The file that was read, if there is one.
    pub(crate) file: Option<PathBuf>,
    /// Variables that are none of ours but look as if they were meant to be.
    strays: Vec<String>,
}

/// From here on a word is taken for another with a letter wrong, missing, too many or exchanged.
const SLIP: f64 = 0.7;

impl Config {
    /// Loads `chosen`, or else the user's file if there is one, under the process environment and
    /// `flags`.
    pub(crate) fn load(chosen: Option<&Path>, flags: &Flags) -> Result<Self, BadConfig> {
        let path = match chosen {
            Some(path) => Some(path.to_owned()),
            None => default_file().filter(|path| path.exists()),
        };
        let text = path.as_deref().map(read).transpose()?;
        let file = path.as_deref().zip(text.as_deref());
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| name.into_string().ok().map(|name| (name, value)))
            .filter(|(name, _)| name.starts_with("PEERAGE_"))
            .map(|(name, value)| match value.into_string() {
                Ok(value) => Ok((name, value)),
                Err(_) => Err(BadConfig(format!("${name} is not UTF-8 text"))),
            })
            .collect::<Result<Vec<_>, _>>()?;
        Self::of(file, &variables, flags)
    }

    /// As [`Config::load`], of given parts.
    pub(crate) fn of(
        file: Option<(&Path, &str)>,
        variables: &[(String, String)],
        flags: &Flags,
    ) -> Result<Self, BadConfig> {
        let default =
            |key: &&'static Key| Setting { key, value: key.default(), origin: Origin::Default };
        let mut config = Self {
            settings: keys::ALL.iter().map(default).collect(),
            file: file.map(|(path, _)| path.to_owned()),
            strays: Vec::new(),
        };
        if let Some((path, text)) = file {
            for entry in file::parse(path, text)? {
                let origin = Origin::File { path: path.to_owned(), line: entry.line };
                config.set(entry.key, entry.value, origin);
            }
        }
        for (name, text) in variables {
            let Some(key) = of_variable(name)? else {
                config.strays.extend(stray(name));
                continue;
            };
            let value = key.kind.read(text);
            let value = value.map_err(|e| BadConfig(format!("${name}: {e}")))?;
            config.set(key, value, Origin::Variable(name.clone()));
        }
        for (key, value) in &flags.0 {
            config.set(key, value.clone(), Origin::Flag(key.flag));
        }
        Ok(config)
    }

    fn set(&mut self, key: &'static Key, value: Value, origin: Origin) {
        if let Some(setting) = self.settings.iter_mut().find(|s| std::ptr::eq(s.key, key)) {
            *setting = Setting { key, value, origin };
        }
    }

    pub(crate) fn settings(&self) -> &[Setting] {
        &self.settings
    }

    /// What was set and has no effect, and why; as flags alone it would not have been taken.
    pub(crate) fn in_vain(&self) -> Vec<String> {
        let (hosts, bridge) =
            (self.setting(&keys::MAINLINE_BOOTSTRAP), self.setting(&keys::MAINLINE));
        let is_vain = !self.bool(&keys::MAINLINE) && hosts.value != hosts.key.default();
        let vain = is_vain.then(|| {
            format!(
                "{} ({}) has no effect, as {} is off ({})",
                hosts.key.path(),
                hosts.origin,
                bridge.key.path(),
                bridge.origin
            )
        });
        vain.into_iter().chain(self.strays.iter().cloned()).collect()
    }

    fn setting(&self, key: &Key) -> &Setting {
        let found =
            self.settings.iter().find(|s| s.key.section == key.section && s.key.name == key.name);
        found.expect("the settings hold every key of the table")
    }

    fn value(&self, key: &Key) -> &Value {
        &self.setting(key).value
    }

    /// A text; empty when the key is of another kind.
    pub(crate) fn text(&self, key: &Key) -> &str {
        match self.value(key) {
            Value::Text(text) => text,
            _ => "",
        }
    }

    /// A text that may be left empty for "not set".
    pub(crate) fn optional(&self, key: &Key) -> Option<&str> {
        Some(self.text(key)).filter(|text| !text.is_empty())
    }

    pub(crate) fn bool(&self, key: &Key) -> bool {
        matches!(self.value(key), Value::Bool(true))
    }

    /// A number, which the table's range keeps from being negative.
    pub(crate) fn number(&self, key: &Key) -> usize {
        match self.value(key) {
            Value::Int(number) => usize::try_from(*number).unwrap_or(0),
            _ => 0,
        }
    }

    /// The items of a list, which the table's kind has checked.
    pub(crate) fn list<T: std::str::FromStr>(&self, key: &Key) -> Vec<T> {
        match self.value(key) {
            Value::List(items) => items.iter().filter_map(|item| item.parse().ok()).collect(),
            _ => Vec::new(),
        }
    }
}

/// The key of an environment variable. Variables of no section are others' business.
fn of_variable(name: &str) -> Result<Option<&'static Key>, BadConfig> {
    if let Some(key) = keys::ALL.iter().find(|key| key.variable() == name) {
        return Ok(Some(key));
    }
    let rest = name.strip_prefix("PEERAGE_").unwrap_or_default().to_lowercase();
    let section = keys::SECTIONS
        .iter()
        .find_map(|s| Some((s.name, rest.strip_prefix(s.name)?.strip_prefix('_')?)));
    match section {
        Some((section, key)) => {
            let problem = file::unknown_key(section, &format!("{section}.{key}"));
            Err(BadConfig(format!("${name}: {problem}")))
        }
        None => Ok(None),
    }
}

/// What to say of a variable of no section, if its first word is but a slip away from one.
fn stray(name: &str) -> Option<String> {
    let first = |name: &str| name.split('_').nth(1).unwrap_or_default().to_owned();
    let likeness =
        |known: &str| strsim::normalized_damerau_levenshtein(&first(name), &first(known));
    let slip = |known: &&String| likeness(known) >= SLIP;
    let all: Vec<_> = keys::ALL.iter().map(|key| key.variable()).collect();
    let meant = super::nearest(name, all.iter().filter(slip).map(String::as_str))?;
    Some(format!("${name} has no effect; did you mean ${meant}?"))
}

fn read(path: &Path) -> Result<String, BadConfig> {
    std::fs::read_to_string(path).map_err(|error| {
        let remedy = match error.kind() {
            io::ErrorKind::NotFound => "; write one with `peerage config init`",
            _ => "",
        };
        BadConfig(format!("cannot read {}: {error}{remedy}", path.display()))
    })
}

/// Where the user's configuration file belongs.
pub(crate) fn default_file() -> Option<PathBuf> {
    crate::dirs::config().map(|dir| dir.join("config.toml"))
}

#[cfg(test)]
mod tests;
