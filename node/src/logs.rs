//! Where logs go and how much of them there is.

use std::{io, io::IsTerminal, path::Path};

use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::{EnvFilter, fmt, fmt::MakeWriter};

mod rotate;

use self::rotate::Rotating;
use crate::{
    config::{Config, keys},
    failed::{Exit, Failed},
};

/// Keeps the log file's writer alive; writes what is left when dropped.
#[derive(Debug)]
pub(crate) struct Logs {
    _file: Option<WorkerGuard>,
}

/// What each `-v` adds.
const LEVELS: [&str; 4] =
    ["warn,peerage=info", "info,peerage=debug", "debug,peerage=trace", "trace"];

fn filter(level: &str, verbose: u8) -> Result<EnvFilter, Failed> {
    let level = match usize::from(verbose) {
        0 => level,
        n => LEVELS[(n - 1).min(LEVELS.len() - 1)],
    };
    EnvFilter::try_new(level).map_err(|e| {
        let problem =
            format!("`log.level`: {level:?} is not a level such as warn,peerage=debug: {e}");
        Failed::new(Exit::Failed, "bad_config", problem)
    })
}

/// Logs of the daemon, as configured.
pub(crate) fn daemon(config: &Config, verbose: u8) -> Result<Logs, Failed> {
    let filter = filter(config.text(&keys::LOG_LEVEL), verbose)?;
    let json = config.text(&keys::LOG_FORMAT) == "json";
    let Some(file) = config.optional(&keys::LOG_FILE) else {
        install(filter, json, io::stderr().is_terminal(), io::stderr);
        return Ok(Logs { _file: None });
    };
    let max_bytes = config.number(&keys::LOG_MAX_MB) as u64 * 1_000_000;
    let keep = config.number(&keys::LOG_KEEP);
    let rotating = Rotating::open(Path::new(file), max_bytes, keep).map_err(|e| {
        Failed::new(Exit::Failed, "log_file", format!("cannot write the log file {file}: {e}"))
    })?;
    // 128,000 lines may wait (the default); more are dropped and counted rather than stall the node.
    let (writer, guard) = tracing_appender::non_blocking(rotating);
    install(filter, json, false, writer);
    Ok(Logs { _file: Some(guard) })
}

/// Logs of a command: nothing unless asked for.
pub(crate) fn client(verbose: u8) {
    if let (1.., Ok(filter)) = (verbose, filter("off", verbose)) {
        install(filter, false, io::stderr().is_terminal(), io::stderr);
    }
}

fn install<W>(filter: EnvFilter, json: bool, ansi: bool, writer: W)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let builder = fmt().with_env_filter(filter).with_ansi(ansi).with_writer(writer);
    // Only fails when logs are installed already.
    let _ = match json {
        true => builder.json().flatten_event(true).try_init(),
        false => builder.try_init(),
    };
}
