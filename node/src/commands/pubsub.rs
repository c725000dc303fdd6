//! `pub`, `sub`, `topics`.

use peerage_api::types::Topic;

use super::{Context, Until, merge, message};
use crate::{
    failed::Failed,
    output::{Table, payload, printable},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Publish {
    /// The topic
    topic: Topic,
    /// The message; from stdin if absent or -
    message: Option<String>,
}

pub(super) async fn publish(context: Context<'_>, args: Publish) -> Result<(), Failed> {
    let node = context.node().await?;
    let data = message(context.out, args.message).await?;
    let published =
        context.within("not published", node.pubsub().publish(args.topic, data)).await?;
    context.out.result(&published, |published| format!("published {}", published.id))
}

#[derive(Debug, clap::Args)]
pub(crate) struct Subscribe {
    /// The topics
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<Topic>,
    #[command(flatten)]
    until: Until,
}

pub(super) async fn subscribe(context: Context<'_>, args: Subscribe) -> Result<(), Failed> {
    let node = context.node().await?;
    let (pubsub, mut feeds) = (node.pubsub(), Vec::new());
    for topic in &args.topics {
        let feed = pubsub.subscribe(topic.clone());
        feeds.push(context.within("not subscribed", feed).await?);
    }
    context.out.note("subscribed; end with ctrl-C");
    let many = args.topics.len() > 1;
    let show = |message: &peerage_api::pubsub::Message| {
        let topic = if many { format!("[{}] ", message.topic) } else { String::new() };
        format!("{topic}{}: {}", message.from, payload(&message.data))
    };
    args.until.print(context.out, merge(feeds), show).await
}

pub(super) async fn topics(context: Context<'_>) -> Result<(), Failed> {
    let topics = context.ask(async |node| node.pubsub().topics().await).await?;
    context.out.result(&topics, |topics| {
        if topics.is_empty() {
            return "no topics".to_owned();
        }
        let mut table = Table::new(["TOPIC", "SUBSCRIBED", "PEERS", "MESH"]);
        for topic in topics {
            let subscribed = if topic.subscribed { "yes" } else { "no" };
            table.row([
                printable(&topic.topic),
                subscribed.to_owned(),
                topic.peers.to_string(),
                topic.mesh.to_string(),
            ]);
        }
        table.to_string()
    })
}
