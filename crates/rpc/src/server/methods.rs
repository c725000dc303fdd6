//! The methods and feeds of the contract, registered by walking over it.

use std::{collections::HashSet, sync::Arc};

use jsonrpsee::{
    core::SubscriptionError,
    server::{PendingSubscriptionSink, RegisterMethodError, RpcModule, SubscriptionCloseResponse},
    types::{
        ErrorObject, ErrorObjectOwned, Params,
        error::{INTERNAL_ERROR_CODE, INVALID_PARAMS_CODE},
    },
};
use peerage_api::{Feed, Link, Method, Visitor, visit};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{json, value::RawValue, value::to_raw_value};

use super::openrpc;
use crate::METHOD_ERROR;

/// Everything that can be called, answered by `link`.
pub(super) fn module(link: Link) -> Result<RpcModule<Link>, RegisterMethodError> {
    let mut register = Register { module: RpcModule::new(link), outcome: Ok(()) };
    visit(&mut register);
    register.outcome?;
    let mut module = register.module;
    // Made anew for whoever asks: kept, it would be a third of an idle node's memory.
    module.register_method(openrpc::DISCOVER, |_, _, _| openrpc::document())?;
    Ok(module)
}

/// The names by which feeds are opened and ended.
pub(super) fn feeds() -> HashSet<&'static str> {
    #[derive(Default)]
    struct Names(HashSet<&'static str>);
    impl Visitor for Names {
        fn method<M: Method>(&mut self) {}
        fn feed<F: Feed>(&mut self) {
            self.0.extend([F::NAME, F::END]);
        }
    }
    let mut names = Names::default();
    visit(&mut names);
    names.0
}

struct Register {
    module: RpcModule<Link>,
    outcome: Result<(), RegisterMethodError>,
}

impl Visitor for Register {
    fn method<M: Method>(&mut self) {
        let registered = self.module.register_async_method(M::NAME, |params, link, _| async move {
            let request: M = parse(M::NAME, &params)?;
            let reply = link.call(request).await.map_err(|e| failure(&e))?;
            json(M::NAME, &reply)
        });
        keep(&mut self.outcome, registered.map(drop));
    }

    fn feed<F: Feed>(&mut self) {
        let registered = self.module.register_subscription(
            F::NAME,
            F::NAME,
            F::END,
            |params, pending, link, _| feed::<F>(params, pending, link),
        );
        keep(&mut self.outcome, registered.map(drop));
    }
}

fn keep(
    outcome: &mut Result<(), RegisterMethodError>,
    registered: Result<(), RegisterMethodError>,
) {
    if outcome.is_ok() {
        *outcome = registered;
    }
}

/// Passes the items of a feed on until it ends, the client unsubscribes or is gone. Waits for the
/// client: when it is slow, the node's queue fills and the node tells how many items it left out.
async fn feed<F: Feed>(
    params: Params<'static>,
    pending: PendingSubscriptionSink,
    link: Arc<Link>,
) -> SubscriptionCloseResponse {
    const CLOSED: SubscriptionCloseResponse = SubscriptionCloseResponse::None;
    let opened = match parse::<F>(F::NAME, &params) {
        Ok(request) => link.open(request).await.map_err(|e| failure(&e)),
        Err(error) => Err(error),
    };
    let mut items = match opened {
        Ok(items) => items,
        Err(error) => {
            pending.reject(error).await;
            return CLOSED;
        }
    };
    let Ok(sink) = pending.accept().await else { return CLOSED };
    loop {
        let next = tokio::select! {
            biased;
            () = sink.closed() => return CLOSED,
            next = items.next() => next,
        };
        let Some(step) = next else { return ended("the feed has ended") };
        let Ok(message) = json(F::NAME, &step) else { return ended("an item is not JSON") };
        tokio::select! {
            biased;
            () = sink.closed() => return CLOSED,
            sent = sink.send(message) => if sent.is_err() { return CLOSED },
        }
    }
}

fn ended(reason: &str) -> SubscriptionCloseResponse {
    let reason = to_raw_value(&json!({ "code": "ended", "reason": reason }));
    match reason {
        Ok(reason) => SubscriptionCloseResponse::NotifErr(SubscriptionError::from_json(reason)),
        Err(error) => SubscriptionCloseResponse::NotifErr(error.into()),
    }
}

/// Reads named parameters; absent ones are an empty object.
pub(super) fn parse<T: DeserializeOwned>(
    method: &str,
    params: &Params<'_>,
) -> Result<T, ErrorObjectOwned> {
    let text = match params.as_str().map(str::trim) {
        None | Some("null") => "{}",
        Some(text) => text,
    };
    if !text.starts_with('{') {
        return Err(invalid(method, "parameters are an object with named members"));
    }
    let mut json = serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(&mut json).map_err(|e| match e.path().to_string().as_str() {
        "." => invalid(method, &e.inner().to_string()),
        path => invalid(method, &format!("{path}: {}", e.inner())),
    })
}

fn invalid(method: &str, reason: &str) -> ErrorObjectOwned {
    let detail = json!({ "code": "invalid_params", "reason": reason });
    ErrorObject::owned(INVALID_PARAMS_CODE, format!("{method}: {reason}"), Some(detail))
}

fn json(method: &str, value: &impl Serialize) -> Result<Box<RawValue>, ErrorObjectOwned> {
    to_raw_value(value).map_err(|e| {
        tracing::warn!(method, error = %e, "an answer cannot be written as JSON");
        ErrorObject::owned(INTERNAL_ERROR_CODE, format!("{method}: {e}"), None::<()>)
    })
}

/// The JSON-RPC form of a method's own error.
pub(super) fn failure(error: &(impl std::error::Error + Serialize)) -> ErrorObjectOwned {
    ErrorObject::owned(METHOD_ERROR, error.to_string(), Some(error))
}
