//! `service`: applications that act for users of this node.

use std::path::PathBuf;

use peerage_api::{
    Node,
    services::{Event, Register, Service, ServicesError},
    types::{ServiceName, Token},
};
use serde_json::json;

use super::{Context, Until};
use crate::{
    connect,
    failed::Failed,
    output::{Table, printable, since},
    tokens::{Slot, Tokens},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum Command {
    /// The services that are registered
    Ls,
    /// Register a service, or change its version and description
    #[command(after_help = "\
Example: peerage service register org.example.notes --version 1.0 --description 'Notes'

Its token is left in the directory `services` of the data directory, or in the file that is named,
for you alone. The service proves itself by it. What is not given stays as it was.")]
    Register {
        #[command(flatten)]
        one: One,
        /// Its version, as it likes
        #[arg(long, value_name = "V")]
        version: Option<String>,
        /// What it does, in a sentence
        #[arg(long, value_name = "D")]
        description: Option<String>,
    },
    /// Remove a service; what it stored for users stays theirs
    Unregister(One),
    /// Print which users are logged in, and as they come and go
    Watch {
        #[command(flatten)]
        one: One,
        #[command(flatten)]
        until: Until,
    },
}

#[derive(Debug, Clone, clap::Args)]
struct One {
    /// Name of the service, such as org.example.notes
    name: ServiceName,
    /// File of its token [default: where `register` left it]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl One {
    fn slot(&self, context: Context<'_>) -> Result<Slot, Failed> {
        match &self.token_file {
            Some(file) => Ok(Slot::at(file)),
            None => {
                Ok(Tokens::services(&connect::data_dir(context.global)?).of_service(&self.name))
            }
        }
    }

    /// The token of a service that is registered.
    async fn token(&self, context: Context<'_>, node: &Node) -> Result<(Slot, Token), Failed> {
        let slot = self.slot(context)?;
        if let Some(token) = slot.read()? {
            return Ok((slot, token));
        }
        let name = self.name.clone();
        let services = context.within("no answer", node.services().list()).await?;
        Err(match services.iter().any(|service| service.name == name) {
            true => ServicesError::NotAuthorised { name }.into(),
            false => ServicesError::NoSuchService { name }.into(),
        })
    }
}

pub(super) async fn run(context: Context<'_>, args: Args) -> Result<(), Failed> {
    match args.command {
        Command::Ls => {
            let services = context.ask(async |node| node.services().list().await).await?;
            context.out.result(&services, |services| table(services))
        }
        Command::Register { one, version, description } => {
            let slot = one.slot(context)?;
            let token = slot.read()?;
            register(context, slot, Register { name: one.name, version, description, token }).await
        }
        Command::Unregister(one) => unregister(context, one).await,
        Command::Watch { one, until } => watch(context, one, until).await,
    }
}

async fn register(context: Context<'_>, slot: Slot, request: Register) -> Result<(), Failed> {
    let registered = context.ask(async |node| node.services().register(request).await).await?;
    slot.write(&registered.token)?;
    let line = json!({ "name": registered.name, "registered": true, "token_file": slot.path() });
    context.out.result(&line, |_| format!("{} is registered", registered.name))?;
    context.out.note(format_args!("its token is in {}", slot.path().display()));
    Ok(())
}

async fn unregister(context: Context<'_>, one: One) -> Result<(), Failed> {
    let node = context.node().await?;
    let (slot, token) = one.token(context, &node).await?;
    // A file that somebody names may be of use for something else.
    let own = Some(&slot).filter(|_| one.token_file.is_none());
    let name = one.name;
    let work = async {
        let done = node.services().unregister(name.clone(), token.clone()).await;
        done.inspect_err(|error| forget(own, &token, error))
    };
    context.within("no answer", work).await?;
    own.map_or(Ok(()), Slot::remove)?;
    let line = json!({ "name": name, "registered": false });
    context.out.result(&line, |_| format!("{name} is no longer registered"))
}

/// A token that opens nothing any more is of no use.
fn forget(own: Option<&Slot>, token: &Token, error: &ServicesError) {
    if let ServicesError::NoSuchService { .. } | ServicesError::NotAuthorised { .. } = error {
        own.into_iter().for_each(|slot| slot.remove_stale(token));
    }
}

async fn watch(context: Context<'_>, one: One, until: Until) -> Result<(), Failed> {
    let node = context.node().await?;
    let (_, token) = one.token(context, &node).await?;
    let feed = context.within("no answer", node.services().watch(one.name, token)).await?;
    context.out.note("watching; end with ctrl-C");
    let show = |event: &Event| match event {
        Event::Opened { user } => format!("{user}: logged in"),
        Event::Closed { user } => format!("{user}: logged out"),
    };
    until.print(context.out, feed, show).await
}

fn table(services: &[Service]) -> String {
    if services.is_empty() {
        return "no services".to_owned();
    }
    let mut table = Table::new(["SERVICE", "VERSION", "REGISTERED", "WATCHING", "DESCRIPTION"]);
    for service in services {
        let watching = if service.watching { "yes" } else { "no" };
        table.row([
            service.name.to_string(),
            printable(&service.version),
            since(service.registered_ms),
            watching.to_owned(),
            printable(&service.description),
        ]);
    }
    table.to_string()
}
