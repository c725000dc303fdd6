//! What the daemon can be told: one table of keys, four places a value can come from.
//!
//! A flag wins over an environment variable, that over the file, that over the default. Everything
//! about a key (documentation, default, flag, variable, checks, `config show`, the example file)
//! comes from its one entry in [`keys`].

mod example;
mod file;
mod flags;
pub(crate) mod keys;
mod kind;
mod layers;

pub(crate) use example::example;
pub(crate) use flags::Flags;
pub(crate) use keys::Key;
pub(crate) use kind::{Kind, Value};
pub(crate) use layers::{Config, default_file};

/// A configuration that cannot be used; the message names the place and the remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadConfig(pub(crate) String);

impl std::fmt::Display for BadConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadConfig {}

/// The word of `known` that `given` was most likely meant to be.
fn nearest<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|name| (strsim::normalized_damerau_levenshtein(given, name), name))
        .filter(|(likeness, _)| *likeness >= 0.4)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}
