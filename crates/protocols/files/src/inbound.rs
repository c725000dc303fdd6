//! Streams that peers open: the dialog reads what is wanted, the behaviour decides, the dialog does.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use libp2p_identity::PeerId;
use peerage_api::files::State;
use peerage_content::{Cache, PrepareOptions, Progress, SourceRecord, prepare};
use peerage_dialog::{self as dialog, Stream};
use peerage_types::{ContentHash, TransferId};
use peerage_wire::files::{Answer, Content, News, Part, Refusal, Request, reason};
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    task::spawn_blocking,
    time::interval,
};

use crate::{
    behaviour::{Behaviour, Done, Job},
    bounds::{MAX_ASKED, MAX_ASKED_PER_PEER, MAX_SERVING, MAX_TRANSFERS, OFFER_EXPIRY},
    pulls::Pull,
    session::{Serving, SessionError, hear, refusal, say, serve},
    traffic::Traffic,
    transfer::{Row, Side, Transfer},
    work::{Library, content_of, is_content},
};

/// How often a peer is told how far the hashing of a path is; keeps the stream alive.
const HASHING_INTERVAL: Duration = Duration::from_secs(1);

/// What a dialog asks the behaviour.
#[derive(Debug)]
pub(crate) enum Knock {
    /// A peer has opened a stream with this request.
    Request { token: u64, peer: PeerId, request: Request, verdict: oneshot::Sender<Verdict> },
    /// A published path was hashed for a peer, who may fetch it now.
    Resolved {
        peer: PeerId,
        share: TransferId,
        record: Box<SourceRecord>,
        noted: oneshot::Sender<()>,
    },
}

/// What the dialog is to do.
#[derive(Debug)]
pub(crate) enum Verdict {
    Answer(Answer),
    Serve { record: Box<SourceRecord>, part: Part, traffic: Arc<Traffic> },
    Resolve { share: TransferId, folder: PathBuf, path: PathBuf },
}

/// What an inbound dialog needs.
#[derive(Debug, Clone)]
struct Respond {
    token: u64,
    knock: mpsc::Sender<Knock>,
    cache: Cache,
    library: Arc<Library>,
    hashing: Arc<Semaphore>,
}

impl Behaviour {
    pub(crate) fn on_inbound(&mut self, inbound: dialog::Inbound) {
        if self.stopping || self.inbound.len() >= MAX_SERVING {
            return self.dialogs.refuse(inbound);
        }
        self.next_token += 1;
        let token = self.next_token;
        let respond = Respond {
            token,
            knock: self.knock.clone(),
            cache: self.cache.clone(),
            library: Arc::clone(&self.library),
            hashing: Arc::clone(&self.hashing),
        };
        let id =
            self.dialogs.serve(inbound, |stream| async { Done::Served(respond.run(stream).await) });
        self.jobs.insert(id, Job::Serve(token));
        self.inbound.insert(token, (id, None));
    }

    pub(crate) fn on_knock(&mut self, knock: Knock, now: Instant) {
        match knock {
            Knock::Request { token, peer, request, verdict } => {
                let decided = self.decide(token, peer, request, now);
                // A dialog that has gone needs no verdict.
                let _ = verdict.send(decided);
            }
            Knock::Resolved { peer, share, record, noted } => {
                self.grant(share, peer, *record, now);
                let _ = noted.send(());
            }
        }
    }

    fn decide(&mut self, token: u64, peer: PeerId, request: Request, now: Instant) -> Verdict {
        match request {
            Request::Offer { transfer, content } => {
                Verdict::Answer(self.on_offer(transfer, peer, content, now))
            }
            Request::Tell { transfer, news } => {
                Verdict::Answer(self.on_news(transfer, peer, news, now))
            }
            Request::Fetch { transfer, root, part, have } => {
                self.on_fetch(token, peer, transfer, root, (part, have), now)
            }
            Request::Resolve { path } => match self.published(&peer, &path) {
                Some((share, folder, path)) => Verdict::Resolve { share, folder, path },
                None => Verdict::Answer(Answer::Refused(Refusal::NotFound)),
            },
        }
    }

    fn on_offer(&mut self, id: TransferId, peer: PeerId, content: Content, now: Instant) -> Answer {
        if let Some(known) = self.transfers.get(&id) {
            // It asks again because our answer was lost, or it wants somebody else's id.
            let same = known.is_pushed() && known.row.peer == Some(peer);
            let over = same && matches!(known.row.state, State::Done | State::Failed);
            let answer = match known.row.state {
                _ if !same => Answer::Refused(Refusal::Declined("the id is taken".into())),
                State::Asked => Answer::Later,
                State::Rejected | State::Cancelled => {
                    Answer::Refused(Refusal::Declined("declined".into()))
                }
                _ => Answer::Accepted,
            };
            if over {
                self.tell_end_again(id, now);
            }
            return answer;
        }
        let asked = |transfer: &&Transfer| transfer.row.state == State::Asked;
        let all = self.transfers.values().filter(asked);
        let theirs = all.clone().filter(|transfer| transfer.row.peer == Some(peer)).count();
        if theirs >= MAX_ASKED_PER_PEER || all.count() >= MAX_ASKED || !self.make_room() {
            return Answer::Refused(Refusal::Busy);
        }
        let accepted = self.config.accept_from.contains(&peer)
            && content.bytes <= self.config.accept_max_bytes;
        let state = if accepted { State::Connecting } else { State::Asked };
        let side = Side::Receive {
            pushed: true,
            published: None,
            providers: vec![(peer, Vec::new())],
            into: self.config.downloads.clone(),
            rename: None,
            share: false,
            begun: false,
        };
        let row = Row {
            peer: Some(peer),
            name: content.name.clone(),
            content: Some(content),
            ..Row::new(state, side)
        };
        let mut transfer = Transfer::new(id, row, Arc::clone(&self.received), now);
        transfer.patience = (!accepted).then_some(now + OFFER_EXPIRY);
        self.transfers.insert(id, transfer);
        self.save(id);
        self.tell_state(id, now);
        if !accepted {
            return Answer::Later;
        }
        self.step(id, now);
        Answer::Accepted
    }

    /// The other side has not heard how it ended.
    fn tell_end_again(&mut self, id: TransferId, _now: Instant) {
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        transfer.row.untold = Some(match &transfer.row.error {
            Some(error) => News::Failed(reason(&error.to_string())),
            None => News::Done,
        });
        self.tell_peer(id);
    }

    /// Forgets the oldest transfer that is over if there are too many; false if there is none.
    pub(crate) fn make_room(&mut self) -> bool {
        if self.transfers.len() < MAX_TRANSFERS {
            return true;
        }
        let over = self.transfers.values().filter(|transfer| transfer.row.state.is_over());
        // First what peers only offered: they must not displace what our user knows.
        let ours = |t: &Transfer| !t.is_pull() && (!t.is_pushed() || t.wire_bytes() > 0);
        let worth = |t: &&Transfer| (ours(t), t.row.started);
        let oldest = over.min_by_key(worth).map(|transfer| transfer.id);
        let Some(oldest) = oldest else { return false };
        self.drop_transfer(oldest);
        true
    }

    fn on_fetch(
        &mut self,
        token: u64,
        peer: PeerId,
        transfer: Option<TransferId>,
        root: ContentHash,
        (part, have): (Part, u64),
        now: Instant,
    ) -> Verdict {
        if let Some(verdict) =
            transfer.and_then(|id| self.fetch_of_push(token, peer, id, root, (part, have), now))
        {
            return verdict;
        }
        match self.shared_with(&peer, root, now) {
            None => Verdict::Answer(Answer::Refused(Refusal::NotFound)),
            Some((record, share)) => {
                self.on_pull(token, Pull { peer, share, record, part, have }, now)
            }
        }
    }

    /// The peer fetches what we have offered to it.
    fn fetch_of_push(
        &mut self,
        token: u64,
        peer: PeerId,
        id: TransferId,
        root: ContentHash,
        (part, have): (Part, u64),
        now: Instant,
    ) -> Option<Verdict> {
        let transfer = self.transfers.get_mut(&id)?;
        let Side::Send { record: Some(record), offered, .. } = &mut transfer.row.side else {
            return None;
        };
        if transfer.row.peer != Some(peer) || record.root != root {
            return None;
        }
        let refused = |refusal| Some(Verdict::Answer(Answer::Refused(refusal)));
        match transfer.row.state {
            State::Paused => return refused(Refusal::Paused),
            // The news of it may come later than this.
            State::Cancelled | State::Rejected => {
                return refused(Refusal::Declined("cancelled".into()));
            }
            _ => {}
        }
        *offered = true;
        let main = is_content(part, record);
        let (record, traffic) = (Box::new(record.clone()), Arc::clone(&transfer.traffic));
        let verdict = Verdict::Serve { record, part, traffic };
        if main {
            transfer.take_up(have);
        }
        let (dialog, of) = self.inbound.get_mut(&token)?;
        *of = Some(id);
        transfer.serving.push(*dialog);
        transfer.path = self.dialogs.best(&peer).map(crate::fetching::shown_path);
        transfer.retry_at = None;
        if transfer.row.state != State::Done {
            (transfer.row.error, transfer.row.finished) = (None, None);
            self.set_state(id, State::Running, now);
        }
        Some(verdict)
    }

    /// A stream that a peer had opened is over.
    pub(crate) fn on_served(
        &mut self,
        token: u64,
        outcome: &Result<Done, dialog::DialogError>,
        now: Instant,
    ) {
        let Some((dialog, of)) = self.inbound.remove(&token) else { return };
        tracing::debug!(?outcome, "served");
        let Some(id) = of else { return };
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        transfer.serving.retain(|serving| *serving != dialog);
        if !transfer.serving.is_empty() || transfer.row.state != State::Running {
            return;
        }
        match outcome {
            _ if !transfer.is_pull() => self.step(id, now),
            Ok(Done::Served(Ok(()))) => self.on_pull_idle(id, Ok(()), now),
            Ok(Done::Served(Err(error))) => self.on_pull_idle(id, Err(Some(error)), now),
            _ => self.on_pull_idle(id, Err(None), now),
        }
    }

    fn on_news(&mut self, id: TransferId, peer: PeerId, news: News, now: Instant) -> Answer {
        let theirs = self.transfers.get_mut(&id).filter(|t| t.row.peer == Some(peer));
        let Some(transfer) = theirs else { return Answer::Refused(Refusal::NotFound) };
        let sending = match &mut transfer.row.side {
            Side::Receive { pushed: true, .. } => false,
            Side::Send { record: Some(_), offered, .. } => {
                // It may speak of it before its answer to the offer is here.
                *offered = true;
                true
            }
            _ => return Answer::Refused(Refusal::NotFound),
        };
        let state = transfer.row.state;
        match news {
            News::Resumed if state == State::Failed => self.resume_for_peer(id, now),
            _ if state.is_over() => {}
            News::Accepted if sending => self.on_accepted(id, now),
            News::Rejected(reason) if sending => self.on_rejected(id, peer, reason, now),
            News::Done if sending => self.on_done(id, now),
            News::Failed(reason) if sending => self.on_failed_there(id, peer, &reason),
            News::Failed(reason) => self.on_broken_there(id, peer, reason, now),
            News::Paused => self.pause_for_peer(id, now),
            News::Resumed => self.resume_for_peer(id, now),
            News::Cancelled => self.cancel_for_peer(id, now),
            News::Accepted | News::Rejected(_) | News::Done => {
                return Answer::Refused(Refusal::NotFound);
            }
        }
        Answer::Noted
    }
}

impl Respond {
    async fn run(self, mut stream: Stream) -> Result<(), SessionError> {
        let request = hear(&mut stream).await?;
        let (verdict, decided) = oneshot::channel();
        let peer = stream.peer();
        let knock = Knock::Request { token: self.token, peer, request, verdict };
        self.knock.send(knock).await.map_err(|_| SessionError::Abandoned)?;
        match decided.await.map_err(|_| SessionError::Abandoned)? {
            Verdict::Answer(answer) => finish(&mut stream, &answer).await,
            Verdict::Serve { record, part, traffic } => {
                self.serve(stream, *record, part, traffic).await
            }
            Verdict::Resolve { share, folder, path } => {
                self.resolve(stream, share, folder, path).await
            }
        }
    }

    async fn serve(
        self,
        mut stream: Stream,
        record: SourceRecord,
        part: Part,
        traffic: Arc<Traffic>,
    ) -> Result<(), SessionError> {
        let open = move || self.library.open(&record, part, &self.cache);
        match spawn_blocking(open).await.map_err(|_| SessionError::Abandoned)? {
            Ok(source) => {
                say(&mut stream, &Answer::Open { size: source.plan().bytes() }).await?;
                serve(stream, Serving { source, traffic }).await
            }
            Err(error) => {
                tracing::warn!(%error, "shared content cannot be served");
                let refusal = refusal(&error);
                finish(&mut stream, &Answer::Refused(refusal.clone())).await?;
                Err(SessionError::Refused(refusal))
            }
        }
    }

    /// Hashes what is at a published path and tells the peer meanwhile that it is at it.
    async fn resolve(
        self,
        mut stream: Stream,
        share: TransferId,
        folder: PathBuf,
        path: PathBuf,
    ) -> Result<(), SessionError> {
        let progress = Arc::new(Progress::default());
        let cancel = CancelOnDrop(Arc::clone(&progress));
        let permits = Arc::clone(&self.hashing);
        let (cache, counted) = (self.cache.clone(), Arc::clone(&progress));
        let hashing = async move {
            let _permit = permits.acquire_owned().await;
            let work = move || {
                let inside = within(&folder, &path)?;
                prepare(&[inside], &PrepareOptions::default(), &cache, &counted).ok()
            };
            spawn_blocking(work).await.ok().flatten()
        };
        tokio::pin!(hashing);
        let mut ticks = interval(HASHING_INTERVAL);
        let prepared = loop {
            tokio::select! {
                prepared = &mut hashing => break prepared,
                _ = ticks.tick() => {
                    let (bytes, total) = (progress.hashed_bytes(), progress.found_bytes());
                    say(&mut stream, &Answer::Hashing { bytes, total }).await?;
                }
            }
        };
        drop(cancel);
        let Some(prepared) = prepared else {
            return finish(&mut stream, &Answer::Refused(Refusal::NotFound)).await;
        };
        let content = content_of(&prepared.record);
        let (noted, granted) = oneshot::channel();
        let record = Box::new(prepared.record);
        let knock = Knock::Resolved { peer: stream.peer(), share, record, noted };
        self.knock.send(knock).await.map_err(|_| SessionError::Abandoned)?;
        granted.await.map_err(|_| SessionError::Abandoned)?;
        finish(&mut stream, &Answer::Resolved(content)).await
    }
}

/// The path without links, if it is there and within the folder.
fn within(folder: &std::path::Path, path: &std::path::Path) -> Option<PathBuf> {
    let (folder, path) = (folder.canonicalize().ok()?, path.canonicalize().ok()?);
    path.starts_with(folder).then_some(path)
}

async fn finish(stream: &mut Stream, answer: &Answer) -> Result<(), SessionError> {
    say(stream, answer).await?;
    Ok(futures::AsyncWriteExt::close(stream).await?)
}

/// Ends the hashing when the peer has gone.
struct CancelOnDrop(Arc<Progress>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}
