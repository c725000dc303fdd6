//! The Peerage daemon and command line.
//!
//! `peerage up` runs a node; every other command speaks with it through [`peerage_api::Node`] over
//! the Unix socket in its data directory. Sits on top of everything and holds no logic of the
//! network. Follows the contract of names, shapes and exit codes that scripts depend on. Invariant:
//! with `--json` stdout holds JSON and nothing else, and the exit code says how it went.

mod bench;
mod cli;
mod commands;
mod config;
mod connect;
mod daemon;
mod demo;
mod dirs;
mod failed;
mod http;
mod interop;
mod logs;
mod memory;
mod output;
mod private;
mod secrets;
mod signals;
mod tokens;
mod up;

use std::{future::Future, process::ExitCode, time::Duration};

use clap::Parser;
use tokio::runtime::{Builder, Runtime};

use self::{
    cli::{Cli, Client, Command},
    commands::Context,
    config::{Config, keys},
    failed::{Exit, Failed, Reason},
    output::Output,
};

/// How long work on other threads may take after the result is known.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let out = cli.output();
    let context = Context { global: &cli.global, out };
    let outcome = match cli.command {
        Command::Up(flags) => up(context, &flags),
        Command::Client(command) => client(context, command),
    };
    match outcome {
        Ok(()) | Err(Failed::BrokenPipe) => ExitCode::SUCCESS,
        Err(Failed::Reported(exit)) => exit.into(),
        Err(Failed::Because(reason)) => {
            out.failed(&reason);
            reason.exit.into()
        }
    }
}

/// Runs the daemon, on as many threads as it is told.
fn up(context: Context<'_>, flags: &config::Flags) -> Result<(), Failed> {
    let config = Config::load(context.global.config.as_deref(), flags)?;
    let _logs = logs::daemon(&config, context.global.verbose)?;
    config.in_vain().iter().for_each(|what| tracing::warn!("{what}"));
    block_on(config.number(&keys::THREADS), up::run(context, &config))
}

/// Runs any other command; ctrl-C ends it with the code that scripts expect.
fn client(context: Context<'_>, command: Client) -> Result<(), Failed> {
    logs::client(context.global.verbose);
    block_on(threads(&command), async {
        tokio::select! {
            // First, so that a command that deals with ctrl-C itself has its say.
            biased;
            outcome = commands::run(command, context) => outcome,
            interrupted = signals::interrupt() => {
                interrupted?;
                Err(Failed::Reported(Exit::Interrupted))
            }
        }
    })
}

/// One thread, but a program to compare with has as many as `#[tokio::main]` gives it.
fn threads(command: &Client) -> usize {
    let plain = match command {
        Client::Bench(args) => match &args.command {
            bench::Command::Side(side) => side.role.is_plain(),
            _ => false,
        },
        _ => false,
    };
    if plain { std::thread::available_parallelism().map_or(1, usize::from) } else { 1 }
}

fn block_on(threads: usize, work: impl Future<Output = Result<(), Failed>>) -> Result<(), Failed> {
    memory::limit_heaps(threads);
    // One thread saves the wake-ups between two, which cost more than a second one brings.
    let runtime: Runtime = match threads {
        0 | 1 => Builder::new_current_thread().enable_all().build()?,
        threads => Builder::new_multi_thread().worker_threads(threads).enable_all().build()?,
    };
    let outcome = runtime.block_on(work);
    // A thread that reads a terminal never ends by itself.
    runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    outcome
}

/// Prints help or what is wrong with the command line.
fn usage(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    if !error.use_stderr() {
        return ExitCode::SUCCESS;
    }
    if std::env::args_os().any(|arg| arg == "--json" || arg == "--events") {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        let message = first.strip_prefix("error: ").unwrap_or(first);
        if let Failed::Because(reason) = Failed::new(Exit::Usage, "usage", message) {
            let out = Output { json: true, quiet: true };
            let _ = out.line(&Reason::to_json(&reason));
        }
    }
    Exit::Usage.into()
}
