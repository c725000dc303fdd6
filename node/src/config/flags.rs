//! The keys as flags of `peerage up`.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, error::ErrorKind};

use super::{Key, Kind, Value, keys};

/// The values that were given as flags.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flags(pub(crate) Vec<(&'static Key, Value)>);

/// Flags that contradict each other.
const CONFLICTS: &[(&str, &str)] = &[("mainline-bootstrap", "no-mainline")];

fn flag(key: &'static Key) -> Arg {
    let others = CONFLICTS.iter().filter(|(flag, _)| *flag == key.flag).map(|(_, other)| *other);
    let arg = Arg::new(key.flag).long(key.flag).help_heading(key.title());
    let arg = arg.conflicts_with_all(others);
    let doc = match key.flag.strip_prefix("no-") {
        Some(_) => format!("Do not: {}", lower(key.doc)),
        None => key.doc.to_owned(),
    };
    let arg = arg.help(doc.trim_end_matches('.').to_owned());
    match key.kind {
        Kind::Bool => arg.action(ArgAction::SetTrue),
        kind => {
            let action = if kind.is_list() { ArgAction::Append } else { ArgAction::Set };
            arg.action(action)
                .value_name(kind.placeholder())
                .value_parser(move |text: &str| kind.read(text))
        }
    }
}

fn lower(doc: &str) -> String {
    let mut doc = doc.to_owned();
    if let Some(first) = doc.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    doc
}

impl Args for Flags {
    fn augment_args(command: Command) -> Command {
        command.args(keys::ALL.iter().copied().map(flag))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        for key in keys::ALL {
            if let Some(value) = given(key, matches) {
                let value = key.kind.check(value);
                let value = value.map_err(|e| clap::Error::raw(ErrorKind::InvalidValue, e))?;
                flags.0.push((key, value));
            }
        }
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn given(key: &Key, matches: &ArgMatches) -> Option<Value> {
    if matches!(key.kind, Kind::Bool) {
        let set = matches.get_flag(key.flag);
        return set.then(|| Value::Bool(!key.flag.starts_with("no-")));
    }
    if !key.kind.is_list() {
        return matches.get_one::<Value>(key.flag).cloned();
    }
    let lists = matches.get_many::<Value>(key.flag)?;
    let items = lists.flat_map(|value| match value {
        Value::List(items) => items.clone(),
        _ => Vec::new(),
    });
    Some(Value::List(items.collect()))
}
