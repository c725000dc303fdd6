//! `announce`, `find`, `resolve`.

use peerage_api::{
    Feeding,
    discovery::Found,
    types::{Namespace, PeerId},
};
use serde_json::json;

use super::{Context, missed};
use crate::failed::Failed;

#[derive(Debug, clap::Args)]
pub(crate) struct Announce {
    /// The namespace
    namespace: Namespace,
    /// Stop announcing instead
    #[arg(long)]
    off: bool,
}

pub(super) async fn announce(context: Context<'_>, args: Announce) -> Result<(), Failed> {
    let namespace = args.namespace;
    if args.off {
        let name = namespace.clone();
        context.ask(async |node| node.discovery().withdraw(name).await).await?;
        let gone = json!({ "namespace": namespace, "withdrawn": true });
        return context.out.result(&gone, |_| format!("no longer announced: {namespace}"));
    }
    let announced = context.ask(async |node| node.discovery().announce(namespace).await).await?;
    context.out.result(&announced, |announced| {
        let sources: Vec<_> = announced.sources.iter().map(|source| source.as_str()).collect();
        let (name, infohash) = (&announced.namespace, &announced.infohash);
        match sources.is_empty() {
            true => format!(
                "announcing {name} (infohash {infohash}); nobody could be told yet, the node goes on"
            ),
            false => format!("announced {name} (infohash {infohash}) by {}", sources.join(", ")),
        }
    })
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
        context.out.note(format_args!("nobody who announces {namespace} was found"));
    }
    Ok(())
}

pub(super) async fn resolve(context: Context<'_>, peer: PeerId) -> Result<(), Failed> {
    let found = context.ask(async |node| node.discovery().resolve(peer).await).await?;
    context.out.result(&found, describe)
}
