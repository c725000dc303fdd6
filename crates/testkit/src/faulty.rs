//! A peer of a node's network that provides files badly, and asks what it likes.

use std::{
    path::Path,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder,
    core::{Endpoint, transport::PortUse},
    identify, noise,
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, SwarmEvent, THandlerInEvent,
        THandlerOutEvent, ToSwarm,
    },
    tcp, yamux,
};
use peerage_api::types::Network;
use peerage_content::{Cache, PrepareOptions, Progress, Source, SourceKind, SourceRecord, prepare};
use peerage_dialog::{self as dialog, Dialogs, Handler, Open, Stream};
use peerage_wire::files::{
    Answer, Content, Frame, Kind, LENGTH_BYTES, Part, RUN_BYTES, Refusal, Request, Run, Status,
    Ticket, protocol,
};
use tempfile::TempDir;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};

use crate::within;

/// Everything that was asked for stays connected for as long as a test takes.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);

/// What a [`Faulty`] peer does to those who fetch from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: it serves as it should.
    None,
    /// Sends each piece with a wrong byte in the middle.
    WrongBytes,
    /// Ends the stream in the middle of a piece.
    Truncates,
    /// Opens, and never sends a piece.
    Stalls,
    /// Opens, and sends zeros without end.
    Floods,
    /// Answers with bytes that are no frame.
    Garbage,
    /// Says of each piece that it is gone.
    Lacks,
    /// Says that there is no such content.
    Denies,
    /// Says that it will not have it fetched.
    Declines,
}

/// A peer without manners that speaks the files protocol. Dropping it takes it away at once.
#[derive(Debug)]
pub struct Faulty {
    /// Who it is.
    pub peer_id: PeerId,
    /// Where it listens: TCP on loopback.
    pub address: Multiaddr,
    /// What it provides.
    pub content: Content,
    asks: mpsc::Sender<Asked>,
    fetches: watch::Receiver<u32>,
    task: JoinHandle<()>,
    _dir: TempDir,
}

#[derive(Debug)]
struct Asked {
    peer: PeerId,
    frame: Vec<u8>,
    answer: oneshot::Sender<Option<Answer>>,
}

impl Drop for Faulty {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Faulty {
    /// Starts one that has what is at `path`.
    pub async fn start(path: &Path, fault: Fault) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        let options = PrepareOptions::default();
        let prepared = prepare(&[path.to_owned()], &options, &cache, &Progress::default());
        let record = prepared.unwrap().record;
        let content = content_of(&record);
        let mut swarm = swarm();
        swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
        let address = within("an address", async {
            loop {
                if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                    return address;
                }
            }
        })
        .await;
        let peer_id = *swarm.local_peer_id();
        let (asks, asked) = mpsc::channel(64);
        let (count, fetches) = watch::channel(0);
        let provide = Arc::new(Provide { record, cache, fault, count });
        let task = tokio::spawn(run(swarm, asked, provide));
        Self { peer_id, address, content, asks, fetches, task, _dir: dir }
    }

    /// Text that names its content and the given peers, itself among them if it is to be asked.
    #[must_use]
    pub fn ticket(&self, peers: Vec<(PeerId, Vec<Multiaddr>)>) -> String {
        Ticket { content: self.content.clone(), peers }.encode()
    }

    /// Itself, as tickets name it.
    #[must_use]
    pub fn provider(&self) -> (PeerId, Vec<Multiaddr>) {
        (self.peer_id, vec![self.address.clone()])
    }

    /// Sends a request and returns the answer; `None` when it gets none.
    pub async fn ask(&self, peer: PeerId, request: &Request) -> Option<Answer> {
        self.pour(peer, request.encode()).await
    }

    /// Sends bytes in the place of a request.
    pub async fn pour(&self, peer: PeerId, frame: Vec<u8>) -> Option<Answer> {
        let (answer, answered) = oneshot::channel();
        self.asks.send(Asked { peer, frame, answer }).await.unwrap();
        within("an answer or the end of the stream", answered).await.ok().flatten()
    }

    /// Waits until so many pieces were asked of it.
    pub async fn asked_for(&self, pieces: u32) {
        let mut fetches = self.fetches.clone();
        within("a fetch", fetches.wait_for(|count| *count >= pieces)).await.unwrap();
    }
}

fn content_of(record: &SourceRecord) -> Content {
    let (kind, size) = match record.kind {
        SourceKind::Blob => (Kind::File, record.bytes),
        SourceKind::Tree => (Kind::Tree, record.manifest_bytes),
    };
    let SourceRecord { root, bytes, files, .. } = *record;
    Content { root, kind, size, bytes, files, name: record.name.clone(), file: None }
}

fn swarm() -> Swarm<Behaviour> {
    let files = StreamProtocol::try_from_owned(protocol(&Network::default())).unwrap();
    let mut config = dialog::Config::new([files]);
    config.progress_timeout = None;
    let version = format!("/peerage/{}/1", Network::default());
    SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|key| Behaviour {
            identify: identify::Behaviour::new(identify::Config::new(version, key.public())),
            files: Files(Dialogs::new(config)),
        })
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(IDLE_TIMEOUT))
        .build()
}

async fn run(mut swarm: Swarm<Behaviour>, mut asked: mpsc::Receiver<Asked>, provide: Arc<Provide>) {
    loop {
        tokio::select! {
            Some(Asked { peer, frame, answer }) = asked.recv() => {
                let files = StreamProtocol::try_from_owned(protocol(&Network::default())).unwrap();
                let dialogs = &mut swarm.behaviour_mut().files.0;
                dialogs.open(Open::new(peer, files), |stream| async {
                    let _ = answer.send(ask(stream, frame).await);
                });
            }
            event = swarm.select_next_some() => {
                if let SwarmEvent::Behaviour(BehaviourEvent::Files(inbound)) = event {
                    let provide = Arc::clone(&provide);
                    let dialogs = &mut swarm.behaviour_mut().files.0;
                    dialogs.serve(inbound, |stream| async move {
                        // Who fetches may be gone.
                        let _ = provide.serve(stream).await;
                    });
                }
            }
        }
    }
}

async fn ask(mut stream: Stream, frame: Vec<u8>) -> Option<Answer> {
    stream.write_all(&frame).await.ok()?;
    stream.flush().await.ok()?;
    loop {
        match hear(&mut stream).await? {
            Answer::Hashing { .. } => {}
            answer => return Some(answer),
        }
    }
}

async fn hear<F: Frame>(stream: &mut Stream) -> Option<F> {
    let mut head = [0; LENGTH_BYTES];
    stream.read_exact(&mut head).await.ok()?;
    let mut body = vec![0; peerage_wire::files::length(head).ok()?];
    stream.read_exact(&mut body).await.ok()?;
    F::decode(&body).ok()
}

#[derive(Debug)]
struct Provide {
    record: SourceRecord,
    cache: Cache,
    fault: Fault,
    count: watch::Sender<u32>,
}

impl Provide {
    async fn serve(&self, mut stream: Stream) -> std::io::Result<()> {
        let Some(Request::Fetch { part, .. }) = hear(&mut stream).await else {
            // It takes every offer and hears all news.
            stream.write_all(&Answer::Noted.encode()).await?;
            return stream.close().await;
        };
        let source = match (part, self.record.kind) {
            (Part::Root, SourceKind::Tree) => {
                Source::manifest(&self.cache.manifest(self.record.root).unwrap())
            }
            _ => Source::open(&self.record, &self.cache).unwrap(),
        };
        match self.fault {
            Fault::Garbage => return stream.write_all(&[0xff; 64]).await,
            Fault::Denies => return Self::refuse(stream, Refusal::NotFound).await,
            Fault::Declines => {
                return Self::refuse(stream, Refusal::Declined("no".into())).await;
            }
            _ => {
                let size = source.plan().bytes();
                stream.write_all(&Answer::Open { size }.encode()).await?;
            }
        }
        stream.flush().await?;
        if self.fault == Fault::Floods {
            let (mut reader, mut writer) = stream.split();
            let asked = async { while self.next(&mut reader).await.is_ok() {} };
            let flood = async { while writer.write_all(&[0; 1 << 16]).await.is_ok() {} };
            futures::join!(asked, flood);
            return Ok(());
        }
        loop {
            let run = self.next(&mut stream).await?;
            for piece in run.first..run.first + run.count {
                let Some(bytes) = self.answer(&source, piece) else { return Ok(()) };
                stream.write_all(&bytes).await?;
                stream.flush().await?;
                if self.fault == Fault::Truncates {
                    return Ok(());
                }
            }
        }
    }

    async fn refuse(mut stream: Stream, refusal: Refusal) -> std::io::Result<()> {
        stream.write_all(&Answer::Refused(refusal).encode()).await?;
        stream.close().await
    }

    async fn next(&self, stream: &mut (impl futures::AsyncRead + Unpin)) -> std::io::Result<Run> {
        let mut bytes = [0; RUN_BYTES];
        stream.read_exact(&mut bytes).await?;
        let run = Run::decode(bytes);
        self.count.send_modify(|count| *count += run.count);
        Ok(run)
    }

    /// What is sent for a piece, status and bytes; nothing for a stream that ends.
    fn answer(&self, source: &Source, piece: u32) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        source.read_piece(piece, &mut bytes).unwrap();
        bytes.insert(0, Status::Ok as u8);
        let middle = bytes.len() / 2;
        match self.fault {
            Fault::WrongBytes => bytes[middle] ^= 1,
            Fault::Truncates => bytes.truncate(middle),
            Fault::Stalls => bytes.clear(),
            Fault::Lacks => bytes = vec![Status::Missing as u8],
            Fault::None | Fault::Floods | Fault::Garbage => {}
            Fault::Denies | Fault::Declines => {}
        }
        Some(bytes)
    }
}

#[derive(NetworkBehaviour)]
struct Behaviour {
    identify: identify::Behaviour,
    files: Files,
}

/// Dialogs of the files protocol; their streams are its events.
struct Files(Dialogs<()>);

impl NetworkBehaviour for Files {
    type ConnectionHandler = Handler;
    type ToSwarm = dialog::Inbound;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(self.0.handler())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(self.0.handler())
    }

    fn on_swarm_event(&mut self, event: FromSwarm) {
        self.0.on_swarm_event(event);
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        self.0.on_handler_event(peer, connection, event);
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<dialog::Inbound, THandlerInEvent<Self>>> {
        loop {
            return match self.0.poll(cx) {
                Poll::Ready(ToSwarm::GenerateEvent(dialog::Event::Inbound(inbound))) => {
                    Poll::Ready(ToSwarm::GenerateEvent(inbound))
                }
                Poll::Ready(ToSwarm::GenerateEvent(_)) => continue,
                Poll::Ready(other) => {
                    Poll::Ready(other.map_out(|_| unreachable!("events are handled above")))
                }
                Poll::Pending => Poll::Pending,
            };
        }
    }
}
