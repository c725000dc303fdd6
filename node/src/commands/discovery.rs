//! `announce`, `find`, `resolve`.

use peerage_api::{
    Feeding,
    discovery::{Announced, Found},
    peers::Source,
    types::{Namespace, PeerId},
};
use serde_json::json;

use super::{Context, missed};
use crate::{
    failed::Failed,
    output::{Table, printable},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Announce {
    /// The namespace; without one, what is announced and where
    namespace: Option<Namespace>,
    /// Stop announcing instead
    #[arg(long, requires = "namespace")]
    off: bool,
}

pub(super) async fn announce(context: Context<'_>, args: Announce) -> Result<(), Failed> {
    let Some(namespace) = args.namespace else { return list(context).await };
    if args.off {
        let name = namespace.clone();
        context.ask(async |node| node.discovery().withdraw(name).await).await?;
        let gone = json!({ "namespace": namespace, "withdrawn": true });
        return context.out.result(&gone, |_| format!("no longer announced: {namespace}"));
    }
    let announced = context.ask(async |node| node.discovery().announce(namespace).await).await?;
    context.out.result(&announced, |announced| {
        let Announced { namespace: name, infohash, sources } = announced;
        match sources.is_empty() {
            true => format!(
                "announcing {name} (infohash {infohash}); nobody has been told yet, the node goes on"
            ),
            false => format!("announced {name} (infohash {infohash}) by {}", by(sources)),
        }
    })
}

/// What is announced.
async fn list(context: Context<'_>) -> Result<(), Failed> {
    let status = context.ask(async |node| node.discovery().status().await).await?;
    context.out.result(&status.announced, |announced| {
        if announced.is_empty() {
            return "nothing is announced".to_owned();
        }
        let mut table = Table::new(["NAMESPACE", "INFOHASH", "BY"]);
        for Announced { namespace, infohash, sources } in announced {
            let told = match by(sources) {
                nobody if nobody.is_empty() => "nobody yet".to_owned(),
                told => told,
            };
            table.row([printable(namespace.as_str()), infohash.clone(), told]);
        }
        table.to_string()
    })
}

fn by(sources: &[Source]) -> String {
    let mut names: Vec<_> = sources.iter().map(|source| source.as_str()).collect();
    names.sort_unstable();
    names.join(", ")
}

fn describe(found: &Found) -> String {
    let mut text = format!("{} ({})", found.peer_id, found.source.as_str());
    for address in &found.addresses {
        text.push_str(&format!("\n  {address}"));
    }
    text
}

/// Ends when every source has answered or the time is up, whatever was found until then.
pub(super) async fn find(context: Context<'_>, namespace: Namespace) -> Result<(), Failed> {
    let node = context.node().await?;
    let name = namespace.clone();
    let mut feed = context.within("no answer", node.discovery().find(name)).await?;
    let end = tokio::time::Instant::now() + context.timeout();
    let mut count = 0_usize;
    loop {
        match tokio::time::timeout_at(end, feed.next()).await {
            Ok(Some(Feeding::Item(found))) => {
                count += 1;
                context.out.item(&found, describe)?;
            }
            Ok(Some(Feeding::Lagged(lagged))) => missed(context.out, lagged)?,
            Ok(None) => break,
            Err(_) if count > 0 => break,
            Err(_) => {
                return Err(Failed::timed_out("the lookup did not end", context.global.timeout));
            }
        }
    }
    if count == 0 {
        context.out.note(format_args!("nobody who announces '{namespace}' was found"));
    }
    Ok(())
}

pub(super) async fn resolve(context: Context<'_>, peer: PeerId) -> Result<(), Failed> {
    let found = context.ask(async |node| node.discovery().resolve(peer).await).await?;
    context.out.result(&found, describe)
}
