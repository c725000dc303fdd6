//! Both dialogs over an in-memory pipe, with content on disk, and peers without manners.

mod asking;
mod fetching;
mod serving;
mod several;

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use peerage_content::{
    Cache, Collector, Plan, PrepareOptions, Progress, Sink, Source, Target, disk::Disk, prepare,
};
use peerage_wire::files::{Answer, Part, RUN_BYTES, Request, Run, Status};
use tempfile::TempDir;
use tokio::{io::DuplexStream, task::JoinHandle, time::timeout};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt as _};

use super::{Fetched, Serving, SessionError, fetch, hear, say, serve};
use crate::{
    download::{Download, Place, lock},
    schedule::Provider,
    traffic::Traffic,
};

type Pipe = Compat<DuplexStream>;
type Outcome = Result<Fetched, SessionError>;

const MIB: usize = 1 << 20;
/// Fits less than a piece, so that both sides have to wait for each other.
const PIPE_BYTES: usize = 64 << 10;

fn pipe() -> (Pipe, Pipe) {
    let (a, b) = tokio::io::duplex(PIPE_BYTES);
    (a.compat(), b.compat())
}

/// What should happen; the limit is reached only when it does not.
async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match timeout(Duration::from_secs(30), future).await {
        Ok(done) => done,
        Err(_) => panic!("{what} did not happen"),
    }
}

/// Bytes that look random and are the same for the same length.
fn noise(len: usize) -> Vec<u8> {
    let mut state = len as u64 + 1;
    let step = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    std::iter::repeat_with(step).take(len).collect()
}

/// Directories of a provider and of who fetches from it.
struct Shelf {
    dir: TempDir,
    cache: Cache,
}

impl Shelf {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["in", "out"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let cache = Cache::open(&dir.path().join("cache")).unwrap();
        Self { dir, cache }
    }

    fn put(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.dir.path().join("in").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// What is shared of a path.
    fn source(&self, path: PathBuf) -> Arc<Source> {
        let options = PrepareOptions::default();
        let prepared = prepare(&[path], &options, &self.cache, &Progress::default()).unwrap();
        Arc::new(Source::open(&prepared.record, &self.cache).unwrap())
    }

    /// A file of so many bytes, shared.
    fn file(&self, len: usize) -> Arc<Source> {
        self.source(self.put("file", &noise(len)))
    }

    fn download(&self, plan: &Plan) -> Arc<Download> {
        self.download_on(Arc::new(peerage_content::disk::System), plan)
    }

    fn download_on(&self, disk: Arc<dyn Disk>, plan: &Plan) -> Arc<Download> {
        let target = Target { dir: self.dir.path().join("out"), name: None, file: None };
        let state = self.dir.path().join("state");
        let sink = Sink::create_on(disk, plan.clone(), "got", &target, &state).unwrap();
        let traffic = Arc::new(Traffic::new(None, None));
        Arc::new(Download::new(plan.clone(), Place::Disk(Box::new(sink)), traffic))
    }

    /// Puts what was fetched to its destination, which only takes what is complete.
    fn finish(&self, download: &Download) -> PathBuf {
        let Place::Disk(sink) = &download.place else { panic!("not on disk") };
        sink.finish().unwrap().paths.remove(0)
    }
}

fn in_memory(plan: &Plan) -> Arc<Download> {
    let place = Place::Memory(std::sync::Mutex::new(Some(Collector::new(plan.clone()))));
    Arc::new(Download::new(plan.clone(), place, Arc::new(Traffic::new(None, None))))
}

/// Starts to fetch what the other end of the returned pipe provides.
fn fetching(download: &Arc<Download>, provider: Provider) -> (Pipe, JoinHandle<Outcome>) {
    let (ours, theirs) = pipe();
    let root = download.plan.root();
    let request = Request::Fetch { transfer: None, root, part: Part::Root, have: 0 };
    let fetching = fetch(ours, request, Arc::clone(download), provider, Duration::ZERO);
    (theirs, tokio::spawn(fetching))
}

fn unlimited(source: &Arc<Source>) -> Serving {
    Serving { source: Arc::clone(source), traffic: Arc::new(Traffic::new(None, None)) }
}

/// Opens as the behaviour's dialogs do.
async fn open(stream: &mut Pipe, size: u64) {
    let Ok(Request::Fetch { .. }) = hear(stream).await else { panic!("no fetch") };
    say(stream, &Answer::Open { size }).await.unwrap();
}

/// Serves as the behaviour's dialogs do.
async fn provide(mut stream: Pipe, serving: Serving) -> Result<(), SessionError> {
    open(&mut stream, serving.source.plan().bytes()).await;
    serve(stream, serving).await
}

/// Serves what `answer` makes of each piece that is asked for, status and bytes; ends when it makes
/// nothing.
async fn provide_what(mut stream: Pipe, size: u64, mut answer: impl FnMut(u32) -> Vec<u8>) {
    open(&mut stream, size).await;
    let mut bytes = [0; RUN_BYTES];
    while stream.read_exact(&mut bytes).await.is_ok() {
        let run = Run::decode(bytes);
        for piece in run.first..run.first + run.count {
            let answer = answer(piece);
            if answer.is_empty() || stream.write_all(&answer).await.is_err() {
                return;
            }
        }
        let _ = stream.flush().await;
    }
}

/// A piece as an honest provider answers it.
fn honest(source: &Source, piece: u32) -> Vec<u8> {
    let mut encoded = Vec::new();
    source.read_piece(piece, &mut encoded).unwrap();
    encoded.insert(0, Status::Ok as u8);
    encoded
}

async fn outcome(fetching: JoinHandle<Outcome>) -> Outcome {
    within("the end of a fetch", fetching).await.unwrap()
}

/// Fetches everything from one that provides `source`.
async fn fetch_all(download: &Arc<Download>, source: &Arc<Source>) {
    let (stream, fetching) = fetching(download, 99);
    let providing = tokio::spawn(provide(stream, unlimited(source)));
    assert_eq!(outcome(fetching).await.unwrap(), Fetched::All);
    within("the end of the serving", providing).await.unwrap().unwrap();
    assert!(download.is_complete());
}
