//! Around every call: bounds, giving up at the caller's wish, giving up when the server stops.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    future::Future,
    sync::{Arc, Mutex, PoisonError},
};

use jsonrpsee::{
    core::middleware::{Batch, BatchEntry, Notification, Request, RpcServiceT},
    server::{BatchResponseBuilder, MethodResponse},
    types::{
        ErrorCode, ErrorObject, ErrorObjectOwned, Id,
        error::{INTERNAL_ERROR_CODE, METHOD_NOT_FOUND_CODE},
    },
};
use peerage_api::LinkError;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::{Limits, methods};
use crate::{CANCEL, METHOD_ERROR};

/// Makes [`Calls`] for each connection.
#[derive(Debug, Clone)]
pub(super) struct CallsLayer {
    max_calls: usize,
    /// Bytes of one answer.
    max_response: usize,
    /// Names that open or end a feed.
    feeds: Arc<HashSet<&'static str>>,
    /// Bytes of parameters, of all connections together.
    room: Arc<Semaphore>,
    stop: CancellationToken,
}

impl CallsLayer {
    pub(super) fn new(limits: Limits, stop: &CancellationToken) -> Self {
        let room = Arc::new(Semaphore::new(limits.max_call_bytes as usize));
        let feeds = Arc::new(methods::feeds());
        let max_response = limits.max_response_bytes as usize;
        Self { max_calls: limits.max_calls, max_response, feeds, room, stop: stop.clone() }
    }
}

impl<S> tower::Layer<S> for CallsLayer {
    type Service = Calls<S>;

    fn layer(&self, inner: S) -> Calls<S> {
        let slots = Arc::new(Semaphore::new(self.max_calls));
        Calls { inner, layer: self.clone(), slots, running: Running::default() }
    }
}

/// The calls of one connection.
#[derive(Debug, Clone)]
pub(super) struct Calls<S> {
    inner: S,
    layer: CallsLayer,
    slots: Arc<Semaphore>,
    running: Running,
}

/// What stops each running call, by the caller's id of it.
type Running = Arc<Mutex<HashMap<Id<'static>, CancellationToken>>>;

/// A call's place; gives it back when dropped.
struct Place {
    stop: CancellationToken,
    /// Where the call is listed, unless another running call has the same id: the caller cannot
    /// give up such a call.
    listed: Option<(Id<'static>, Running)>,
    _slot: OwnedSemaphorePermit,
    _room: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some((id, running)) = self.listed.take() {
            running.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        }
    }
}

impl<S> Calls<S> {
    /// Takes a place for a call, if there is one.
    fn place(&self, id: Id<'_>, bytes: usize) -> Option<Place> {
        let slot = Arc::clone(&self.slots).try_acquire_owned().ok()?;
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.layer.room).try_acquire_many_owned(bytes).ok()?;
        let stop = self.layer.stop.child_token();
        let id = id.into_owned();
        let listed = match self.running.lock().unwrap_or_else(PoisonError::into_inner).entry(id) {
            Entry::Occupied(_) => None,
            Entry::Vacant(free) => {
                let id = free.key().clone();
                free.insert(stop.clone());
                Some((id, Arc::clone(&self.running)))
            }
        };
        Some(Place { stop, listed, _slot: slot, _room: room })
    }

    fn give_up(&self, notification: &Notification<'_>) {
        #[derive(Deserialize)]
        struct Cancel<'a> {
            #[serde(borrow)]
            id: Id<'a>,
        }
        let params = notification.params.as_ref().map(|p| p.get());
        let Some(Ok(Cancel { id })) = params.map(serde_json::from_str) else { return };
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stop) = running.get(&id.into_owned()) {
            stop.cancel();
        }
    }
}

fn overloaded() -> ErrorObjectOwned {
    methods::failure(&LinkError::Overloaded)
}

fn stopped() -> ErrorObjectOwned {
    methods::failure(&LinkError::Stopped)
}

/// A feed needs a connection on which its items can come.
fn needs_websocket(method: &str) -> ErrorObjectOwned {
    let code = serde_json::json!({ "code": "needs_websocket" });
    let message = format!("{method} is a feed: open it over WebSocket; HTTP is for calls alone");
    ErrorObject::owned(METHOD_ERROR, message, Some(code))
}

/// With the message that JSON-RPC gives it.
fn no_such_method() -> ErrorObjectOwned {
    let code = serde_json::json!({ "code": "no_such_method" });
    let error = ErrorObject::from(ErrorCode::MethodNotFound);
    ErrorObject::owned(error.code(), error.message(), Some(code))
}

/// An answer, with the documented error in place of what jsonrpsee says by itself: of a feed over
/// HTTP, and of what does not exist. Neither is said by any method or feed of ours.
fn explained(response: MethodResponse, id: Id<'static>, feed: Option<&str>) -> MethodResponse {
    match (response.as_error_code(), feed) {
        (Some(INTERNAL_ERROR_CODE), Some(feed)) => MethodResponse::error(id, needs_websocket(feed)),
        (Some(METHOD_NOT_FOUND_CODE), None) => MethodResponse::error(id, no_such_method()),
        _ => response,
    }
}

/// The calls of a batch, one after the other.
async fn one_by_one<S>(inner: &S, layer: &CallsLayer, batch: Batch<'_>) -> MethodResponse
where
    S: RpcServiceT<MethodResponse = MethodResponse, NotificationResponse = MethodResponse>,
{
    let mut answers = BatchResponseBuilder::new_with_limit(layer.max_response);
    let mut is_told = false;
    for entry in batch {
        let answer = match entry {
            Ok(BatchEntry::Call(request)) => {
                let id = request.id().into_owned();
                let feed = layer.feeds.get(request.method_name()).copied();
                explained(inner.call(request).await, id, feed)
            }
            Ok(BatchEntry::Notification(notification)) => {
                is_told = true;
                inner.notification(notification).await;
                continue;
            }
            Err(error) => {
                let (error, id) = error.into_parts();
                MethodResponse::error(id, error)
            }
        };
        if let Err(too_big) = answers.append(answer) {
            return too_big;
        }
    }
    match answers.is_empty() && is_told {
        true => MethodResponse::notification(),
        // Nothing at all is an invalid request.
        false => MethodResponse::from_batch(answers.finish()),
    }
}

fn given_up() -> ErrorObjectOwned {
    let code = serde_json::json!({ "code": "cancelled" });
    ErrorObject::owned(METHOD_ERROR, "given up by the caller", Some(code))
}

impl<S> RpcServiceT for Calls<S>
where
    S: RpcServiceT<
            MethodResponse = MethodResponse,
            BatchResponse = MethodResponse,
            NotificationResponse = MethodResponse,
        > + Clone
        + Send
        + Sync
        + 'static,
{
    type MethodResponse = MethodResponse;
    type BatchResponse = MethodResponse;
    type NotificationResponse = MethodResponse;

    fn call<'a>(&self, request: Request<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let bytes = request.params.as_ref().map_or(0, |p| p.get().len());
        let place = self.place(request.id(), bytes);
        let inner = self.inner.clone();
        let server_stop = self.layer.stop.clone();
        let feed = self.layer.feeds.get(request.method_name()).copied();
        async move {
            let id = request.id().into_owned();
            let Some(place) = place else { return MethodResponse::error(id, overloaded()) };
            tokio::select! {
                biased;
                () = place.stop.cancelled() => {
                    let why = if server_stop.is_cancelled() { stopped() } else { given_up() };
                    MethodResponse::error(id, why)
                }
                response = inner.call(request) => explained(response, id, feed),
            }
        }
    }

    fn batch<'a>(&self, batch: Batch<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let bytes = batch.iter().flatten().filter_map(|e| e.params()).map(|p| p.get().len()).sum();
        let place = self.place(Id::Null, bytes);
        let (inner, layer) = (self.inner.clone(), self.layer.clone());
        async move {
            let Some(place) = place else { return MethodResponse::error(Id::Null, overloaded()) };
            tokio::select! {
                biased;
                () = place.stop.cancelled() => MethodResponse::error(Id::Null, stopped()),
                response = one_by_one(&inner, &layer, batch) => response,
            }
        }
    }

    fn notification<'a>(
        &self,
        notification: Notification<'a>,
    ) -> impl Future<Output = MethodResponse> + Send + 'a {
        if notification.method_name() == CANCEL {
            self.give_up(&notification);
        }
        let inner = self.inner.clone();
        async move { inner.notification(notification).await }
    }
}
