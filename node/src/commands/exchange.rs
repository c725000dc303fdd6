//! `exchange`: typed messages between connected nodes.

use peerage_api::{
    Failure, Node,
    exchange::{Body, Encoding, ExchangeError, Incoming, MAX_DEADLINE_MS, MAX_KINDS, Message},
    types::{MessageType, PeerId},
};
use serde_json::json;

use super::{Context, Until, message, peers};
use crate::{
    failed::{Exit, Failed},
    output::{self, payload},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Send a message to a peer; connects first if need be
    Send {
        #[command(flatten)]
        to: To,
        /// Wait until a listener of the peer has taken it
        #[arg(long)]
        ack: bool,
        #[command(flatten)]
        content: Content,
    },
    /// Send a message to every connected node of the network
    Broadcast {
        #[command(flatten)]
        kind: Kind,
        #[command(flatten)]
        content: Content,
    },
    /// Print messages of some types as they come
    Listen {
        /// The types
        #[arg(required = true, value_name = "TYPE", num_args = 1..=MAX_KINDS)]
        kinds: Vec<MessageType>,
        #[command(flatten)]
        until: Until,
    },
    /// Ask a peer and print its answer; connects first if need be
    Request {
        #[command(flatten)]
        to: To,
        #[command(flatten)]
        content: Content,
    },
    /// Answer every request of a type with the same message
    Respond {
        #[command(flatten)]
        kind: Kind,
        /// The answer; - sends back what was asked
        #[arg(value_name = "MESSAGE")]
        answer: String,
        #[command(flatten)]
        until: Until,
    },
}

#[derive(Debug, clap::Args)]
struct Kind {
    /// The type of the message
    #[arg(value_name = "TYPE")]
    kind: MessageType,
}

#[derive(Debug, clap::Args)]
struct To {
    /// Peer id
    #[arg(value_parser = peers::peer)]
    peer: PeerId,
    #[command(flatten)]
    kind: Kind,
}

#[derive(Debug, clap::Args)]
struct Content {
    /// The message; from stdin if absent or -
    message: Option<String>,
    /// How the other side is to read it
    #[arg(long, value_enum, default_value_t)]
    encoding: Read,
}

#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
enum Read {
    /// As it likes
    #[default]
    Bytes,
    /// As JSON
    Json,
    /// As CBOR, which stdin holds
    Cbor,
}

impl Content {
    async fn body(self, context: Context<'_>) -> Result<Body, Failed> {
        let data = message(context.out, self.message).await?;
        let encoding = match self.encoding {
            Read::Bytes => Encoding::Bytes,
            Read::Json => Encoding::Json,
            Read::Cbor => Encoding::Cbor,
        };
        if matches!(encoding, Encoding::Json) {
            let valid = serde_json::from_slice::<serde::de::IgnoredAny>(&data);
            valid.map_err(|e| Failed::new(Exit::Failed, "encoding", format!("not JSON: {e}")))?;
        }
        Ok(Body { encoding, data: data.into() })
    }
}

pub(super) async fn run(context: Context<'_>, args: Args) -> Result<(), Failed> {
    match args.command {
        Command::Send { to, ack, content } => send(context, to, ack, content).await,
        Command::Broadcast { kind: Kind { kind }, content } => {
            let node = context.node().await?;
            let body = content.body(context).await?;
            let done = context.within("not sent", node.exchange().broadcast(kind, body)).await?;
            context
                .out
                .result(&done, |done| format!("sent to {}, missed {}", done.sent, done.missed))
        }
        Command::Listen { kinds, until } => {
            let node = context.node().await?;
            let feed = context.within("not listening", node.exchange().subscribe(kinds)).await?;
            context.out.note("listening; end with ctrl-C");
            until.print(context.out, feed, arrived).await
        }
        Command::Request { to, content } => request(context, to, content).await,
        Command::Respond { kind: Kind { kind }, answer, until } => {
            respond(context, kind, &answer, until).await
        }
    }
}

fn arrived(message: &Message) -> String {
    format!("[{}] {}: {}", message.kind, message.peer, payload(&message.body.data))
}

/// Does `work`, once more after connecting if the peer is not connected.
async fn reaching<T>(
    node: &Node,
    peer: PeerId,
    mut work: impl AsyncFnMut() -> Result<T, ExchangeError>,
) -> Result<T, Failed> {
    match work().await {
        Err(ExchangeError::NotConnected { .. }) => {
            peers::reach(node, peer).await?;
            Ok(work().await?)
        }
        outcome => Ok(outcome?),
    }
}

async fn send(context: Context<'_>, to: To, ack: bool, content: Content) -> Result<(), Failed> {
    let node = context.node().await?;
    let body = content.body(context).await?;
    let (peer, kind) = (to.peer, to.kind.kind);
    let work = async || node.exchange().send(peer, kind.clone(), body.clone(), ack).await;
    context.within("not sent", reaching(&node, peer, work)).await?;
    let how = if ack { "taken" } else { "sent" };
    context.out.result(&json!({ "peer_id": peer, "sent": true, "acked": ack }), |_| how.to_owned())
}

async fn request(context: Context<'_>, to: To, content: Content) -> Result<(), Failed> {
    let node = context.node().await?;
    let body = content.body(context).await?;
    let (peer, kind) = (to.peer, to.kind.kind);
    let deadline = context.timeout().min(std::time::Duration::from_millis(MAX_DEADLINE_MS));
    let work = async || node.exchange().request(peer, kind.clone(), body.clone(), deadline).await;
    // The node keeps the deadline; ours only covers the way to it and connecting.
    let answer = match tokio::time::timeout(deadline * 2, reaching(&node, peer, work)).await {
        Ok(answer) => answer?,
        Err(_) => return Err(Failed::timed_out("no answer", context.global.timeout)),
    };
    if context.out.json {
        let line = json!({
            "peer_id": peer, "type": kind, "encoding": answer.encoding, "data": answer.data,
        });
        context.out.line(&line)
    } else if output::to_terminal() {
        context.out.text(&payload(&answer.data))
    } else {
        context.out.raw(&answer.data.0)
    }
}

async fn respond(
    context: Context<'_>,
    kind: MessageType,
    answer: &str,
    until: Until,
) -> Result<(), Failed> {
    let node = context.node().await?;
    let mut feed = context.within("not responding", node.exchange().respond(kind)).await?;
    context.out.note("responding; end with ctrl-C");
    let give = async |asked: &Incoming| {
        let body = match answer {
            "-" => asked.body.clone(),
            text => Body::from(text.as_bytes().to_vec()),
        };
        let outcome = node.exchange().reply(asked.id, body).await;
        let error = outcome.as_ref().err();
        let line = json!({
            "peer_id": asked.peer, "type": asked.kind, "data": asked.body.data,
            "answered": error.is_none(), "error": error.map(Failure::code),
        });
        context.out.item(&line, |_| {
            let problem = error.map(|e| format!(" (not answered: {e})")).unwrap_or_default();
            format!("[{}] {}: {}{problem}", asked.kind, asked.peer, payload(&asked.body.data))
        })
    };
    until.each(context.out, &mut feed, give).await
}
