//! `service`: applications that act for users of this node.

use peerage_api::{
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

Its token is left in the directory `services` of the data directory, for you alone. The service
proves itself by it.")]
    Register {
        #[command(flatten)]
        one: One,
        /// Its version, as it likes
        #[arg(long, value_name = "V", default_value = "")]
        version: String,
        /// What it does, in a sentence
        #[arg(long, value_name = "D", default_value = "")]
        description: String,
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
}

pub(super) async fn run(context: Context<'_>, args: Args) -> Result<(), Failed> {
    match args.command {
        Command::Ls => {
            let services = context.ask(async |node| node.services().list().await).await?;
            context.out.result(&services, |services| table(services))
        }
        Command::Register { one: One { name }, version, description } => {
            let token = slot(context, &name)?.read()?;
            register(context, Register { name, version, description, token }).await
        }
        Command::Unregister(One { name }) => unregister(context, name).await,
        Command::Watch { one: One { name }, until } => watch(context, name, until).await,
    }
}

fn slot(context: Context<'_>, name: &ServiceName) -> Result<Slot, Failed> {
    Ok(Tokens::services(&connect::data_dir(context.global)?).of_service(name))
}

/// The token of a service that was registered from here.
fn token(slot: &Slot, name: &ServiceName) -> Result<Token, Failed> {
    let missing = || Failed::from(ServicesError::NotAuthorised { name: name.clone() });
    slot.read()?.ok_or_else(missing)
}

async fn register(context: Context<'_>, request: Register) -> Result<(), Failed> {
    let registered = context.ask(async |node| node.services().register(request).await).await?;
    let slot = slot(context, &registered.name)?;
    slot.write(&registered.token)?;
    let line = json!({ "name": registered.name, "registered": true, "token_file": slot.path() });
    context.out.result(&line, |_| format!("{} is registered", registered.name))?;
    context.out.note(format_args!("its token is in {}", slot.path().display()));
    Ok(())
}

async fn unregister(context: Context<'_>, name: ServiceName) -> Result<(), Failed> {
    let node = context.node().await?;
    let slot = slot(context, &name)?;
    let token = token(&slot, &name)?;
    let work = async {
        let done = node.services().unregister(name.clone(), token.clone()).await;
        done.inspect_err(|error| forget(&slot, &token, error))
    };
    context.within("no answer", work).await?;
    slot.remove()?;
    let line = json!({ "name": name, "registered": false });
    context.out.result(&line, |_| format!("{name} is no longer registered"))
}

/// A token that opens nothing any more is of no use.
fn forget(slot: &Slot, token: &Token, error: &ServicesError) {
    if let ServicesError::NoSuchService { .. } | ServicesError::NotAuthorised { .. } = error {
        slot.remove_stale(token);
    }
}

async fn watch(context: Context<'_>, name: ServiceName, until: Until) -> Result<(), Failed> {
    let node = context.node().await?;
    let token = token(&slot(context, &name)?, &name)?;
    let feed = context.within("no answer", node.services().watch(name, token)).await?;
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
