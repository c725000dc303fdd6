//! What the commands do; each file holds the arguments and the work of one facet.

use std::{future::Future, io::Read, time::Duration};

use peerage_api::{Feeding, Node, Stream};
use serde::Serialize;
use serde_json::json;

use crate::{
    cli::{Client, Global},
    connect, demo,
    failed::{Exit, Failed},
    output::Output,
};

pub(crate) mod acting;
pub(crate) mod config;
pub(crate) mod contacts;
pub(crate) mod discovery;
pub(crate) mod exchange;
pub(crate) mod files;
pub(crate) mod kv;
pub(crate) mod man;
mod node;
mod pages;
pub(crate) mod peers;
pub(crate) mod pubsub;
pub(crate) mod services;
pub(crate) mod storage;
pub(crate) mod users;
pub(crate) mod who;

/// Everything a command needs besides its own arguments.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) global: &'a Global,
    pub(crate) out: Output,
}

impl Context<'_> {
    /// The daemon of the data directory.
    pub(crate) async fn node(&self) -> Result<Node, Failed> {
        let data = connect::data_dir(self.global)?;
        self.within("the daemon did not answer", connect::connect(&data)).await
    }

    /// Waits for an answer as long as `--timeout` says.
    pub(crate) async fn within<T, E: Into<Failed>>(
        &self,
        otherwise: &str,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Failed> {
        match tokio::time::timeout(self.timeout(), work).await {
            Ok(outcome) => outcome.map_err(Into::into),
            Err(_) => Err(Failed::timed_out(otherwise, self.global.timeout)),
        }
    }

    /// As `--timeout` says.
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_secs_f64(self.global.timeout)
    }

    /// Asks the daemon one question and waits for the answer as long as `--timeout` says.
    pub(crate) async fn ask<T, E: Into<Failed>, F: Future<Output = Result<T, E>>>(
        &self,
        question: impl FnOnce(Node) -> F,
    ) -> Result<T, Failed> {
        let node = self.node().await?;
        self.within("no answer", question(node)).await
    }
}

/// Runs a command other than `up`.
pub(crate) async fn run(command: Client, context: Context<'_>) -> Result<(), Failed> {
    match command {
        Client::Demo => demo::run(context.out).await,
        Client::Status => node::status(context).await,
        Client::Id => node::id(context).await,
        Client::Doctor => node::doctor(context).await,
        Client::Stop => node::stop(context).await,
        Client::Peers(args) => peers::run(context, args).await,
        Client::Connect { target } => peers::connect(context, target).await,
        Client::Disconnect { peer } => peers::disconnect(context, peer).await,
        Client::Ping(args) => peers::ping(context, args).await,
        Client::Announce(args) => discovery::announce(context, args).await,
        Client::Find { namespace } => discovery::find(context, namespace).await,
        Client::Resolve { peer } => discovery::resolve(context, peer).await,
        Client::Pub(args) => pubsub::publish(context, args).await,
        Client::Sub(args) => pubsub::subscribe(context, args).await,
        Client::Topics => pubsub::topics(context).await,
        Client::Exchange(args) => exchange::run(context, args).await,
        Client::Send(args) => files::send(context, args).await,
        Client::Share(args) => files::share(context, args).await,
        Client::Get(args) => files::get(context, args).await,
        Client::Shares(args) => files::shares(context, args).await,
        Client::Transfers(args) => files::transfers(context, args).await,
        Client::User(args) => users::run(context, args).await,
        Client::Contact(args) => contacts::run(context, args).await,
        Client::Service(args) => services::run(context, args).await,
        Client::Storage(args) => storage::run(context, args).await,
        Client::Kv(args) => kv::run(context, args).await,
        Client::Bench(args) => crate::bench::run(context, args).await,
        Client::Config(args) => config::run(context, args),
        Client::Completions { shell } => man::completions(context.out, shell),
        Client::Interop => crate::interop::run(context).await,
        Client::Man(args) => man::run(context.out, &args),
    }
}

/// When a stream ends by itself.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub(crate) struct Until {
    /// End after so many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End after so long
    #[arg(long = "for", value_name = "SECONDS", value_parser = crate::cli::positive)]
    duration: Option<f64>,
}

impl Until {
    /// Prints the items of a feed until it ends or enough came. A daemon that goes away is a
    /// failure; time that is up is none.
    pub(crate) async fn print<T: Serialize>(
        self,
        out: Output,
        mut feed: impl futures::Stream<Item = Feeding<T>> + Unpin,
        people: impl Fn(&T) -> String,
    ) -> Result<(), Failed> {
        let show = async |item: &T| out.item(item, &people);
        self.each(out, &mut feed, show).await
    }

    /// What ends by itself, or when time is up, which is no failure.
    pub(crate) async fn within(
        self,
        work: impl Future<Output = Result<(), Failed>>,
    ) -> Result<(), Failed> {
        match self.duration.map(Duration::from_secs_f64) {
            Some(limit) => tokio::time::timeout(limit, work).await.unwrap_or(Ok(())),
            None => work.await,
        }
    }

    /// As [`Until::print`], with anything done for each item.
    pub(crate) async fn each<T>(
        self,
        out: Output,
        feed: &mut (impl futures::Stream<Item = Feeding<T>> + Unpin),
        mut then: impl AsyncFnMut(&T) -> Result<(), Failed>,
    ) -> Result<(), Failed> {
        let mut left = self.count;
        let end = self.duration.map(|s| tokio::time::Instant::now() + Duration::from_secs_f64(s));
        let never = tokio::time::Instant::now() + Duration::from_secs(31_536_000);
        while left != Some(0) {
            let next = futures::StreamExt::next(&mut *feed);
            match tokio::time::timeout_at(end.unwrap_or(never), next).await {
                Err(_) => return Ok(()),
                Ok(None) => return Err(daemon_left()),
                Ok(Some(Feeding::Lagged(lagged))) => missed(out, lagged)?,
                Ok(Some(Feeding::Item(item))) => {
                    then(&item).await?;
                    left = left.map(|left| left - 1);
                }
            }
        }
        Ok(())
    }
}

fn daemon_left() -> Failed {
    Failed::new(Exit::Failed, "stopped", "the daemon has stopped")
}

/// Tells that items were lost because this reader was slow.
pub(crate) fn missed(out: Output, lagged: u64) -> Result<(), Failed> {
    if out.json {
        return out.line(&json!({ "lagged": lagged }));
    }
    out.note(format_args!("missed {lagged}: this reader is too slow"));
    Ok(())
}

/// A message as given, or from stdin when it is absent or `-`.
pub(crate) async fn message(out: Output, given: Option<String>) -> Result<Vec<u8>, Failed> {
    if let Some(text) = given.filter(|text| text != "-") {
        return Ok(text.into_bytes());
    }
    if std::io::IsTerminal::is_terminal(&std::io::stdin()) {
        out.note("type the message; end with ctrl-D");
    }
    // More than any message may have, so that the node's own limit answers.
    const MAX: u64 = 2 << 20;
    let read = tokio::task::spawn_blocking(|| {
        let mut bytes = Vec::new();
        std::io::stdin().lock().take(MAX).read_to_end(&mut bytes).map(|_| bytes)
    });
    Ok(read.await.map_err(anyhow::Error::from)??)
}

/// Merges feeds into one.
pub(crate) fn merge<T>(feeds: Vec<Stream<T>>) -> futures::stream::SelectAll<Stream<T>> {
    futures::stream::select_all(feeds)
}
