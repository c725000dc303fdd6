//! `config`: the configuration of the daemon.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    path::PathBuf,
};

use serde_json::json;

use super::Context;
use crate::{
    config::{self, Config, Flags},
    daemon,
    failed::{Exit, Failed},
    output::Table,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum Command {
    /// Write a commented configuration file; never overwrites one
    Init,
    /// Print every value that `peerage up` would use with the same flags
    Show {
        /// Also where each value comes from
        #[arg(long)]
        origin: bool,
        #[command(flatten)]
        flags: Flags,
    },
    /// Check the configuration file and the environment
    Check,
    /// Write a new pre-shared network key, for --network-key at every member; never overwrites one
    Key {
        /// Where to
        file: PathBuf,
    },
}

pub(super) fn run(context: Context<'_>, args: Args) -> Result<(), Failed> {
    match args.command {
        Command::Init => init(context),
        Command::Show { origin, flags } => show(context, origin, &flags),
        Command::Check => check(context),
        Command::Key { file } => {
            daemon::create_network_key(&file)?;
            context.out.result(&json!({ "file": file }), |_| format!("wrote {}", file.display()))
        }
    }
}

fn load(context: Context<'_>, flags: &Flags) -> Result<Config, Failed> {
    Ok(Config::load(context.global.config.as_deref(), flags)?)
}

fn init(context: Context<'_>) -> Result<(), Failed> {
    let chosen = context.global.config.clone().or_else(config::default_file);
    let path = chosen.ok_or_else(|| {
        Failed::new(
            Exit::Failed,
            "no_home",
            "no home directory is known; name a file with --config",
        )
    })?;
    write_new(&path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            let message = format!("{} exists already and is left as it is", path.display());
            Failed::new(Exit::Failed, "exists", message)
        }
        _ => Failed::new(Exit::Failed, "io", format!("cannot write {}: {error}", path.display())),
    })?;
    context.out.result(&json!({ "file": path }), |_| format!("wrote {}", path.display()))
}

fn write_new(path: &PathBuf) -> io::Result<()> {
    if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        std::fs::create_dir_all(dir)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(config::example().as_bytes())
}

fn show(context: Context<'_>, origin: bool, flags: &Flags) -> Result<(), Failed> {
    let config = load(context, flags)?;
    let rows: Vec<_> = config
        .settings()
        .iter()
        .map(|s| json!({ "key": s.key.path(), "value": s.value, "origin": s.origin.to_string() }))
        .collect();
    context.out.result(&rows, |_| {
        let mut table = Table::plain();
        for setting in config.settings() {
            let value = setting.value.to_string();
            let from = if origin { setting.origin.to_string() } else { String::new() };
            table.row([setting.key.path(), value, from]);
        }
        table.to_string()
    })
}

fn check(context: Context<'_>) -> Result<(), Failed> {
    let config = load(context, &Flags::default())?;
    config.in_vain().iter().for_each(|what| context.out.note(format_args!("warning: {what}")));
    let file = config.file;
    context.out.result(&json!({ "ok": true, "file": file }), |_| match &file {
        Some(file) => format!("{} is fine", file.display()),
        None => "there is no configuration file; the defaults and the environment are fine".into(),
    })
}
