//! JSON-RPC messages as the client writes and reads them.

use peerage_api::{LinkError, RemoteError};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{MAX_MESSAGE_BYTES, METHOD_ERROR};

/// Codes with which jsonrpsee says that a limit is reached.
const TOO_MANY_SUBSCRIPTIONS: i32 = -32006;
const SERVER_IS_BUSY: i32 = -32009;

#[derive(Serialize)]
struct Request<'a> {
    jsonrpc: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    method: &'a str,
    params: Value,
}

/// Writes a request, or a notification if it has no id.
pub(super) fn request(id: Option<u64>, method: &str, params: Value) -> Result<String, RemoteError> {
    let request = Request { jsonrpc: "2.0", id, method, params };
    let text = serde_json::to_string(&request).map_err(|e| mismatch(method, e.to_string()))?;
    if text.len() > MAX_MESSAGE_BYTES as usize {
        let reason =
            format!("the request has {} bytes; the most is {MAX_MESSAGE_BYTES}", text.len());
        return Err(mismatch(method, reason));
    }
    Ok(text)
}

/// Whatever the daemon sends.
#[derive(Debug, Deserialize)]
pub(super) struct Incoming {
    /// Of the request this answers; absent in notifications.
    #[serde(default)]
    pub(super) id: Option<u64>,
    #[serde(default)]
    result: Value,
    #[serde(default)]
    error: Option<Fault>,
    #[serde(default)]
    params: Option<Notice>,
}

#[derive(Debug, Deserialize)]
struct Fault {
    code: i32,
    message: String,
    #[serde(default)]
    data: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Notice {
    #[serde(default)]
    result: Value,
    #[serde(default)]
    error: Option<Value>,
}

impl Incoming {
    /// The answer to a call of `method`.
    pub(super) fn answer(self, method: &str) -> Result<Value, RemoteError> {
        match self.error {
            None => Ok(self.result),
            Some(fault) => Err(fault.into_error(method)),
        }
    }

    /// The next item of a feed; `None` when the feed has ended.
    pub(super) fn item(self) -> Option<Value> {
        let notice = self.params?;
        notice.error.is_none().then_some(notice.result)
    }
}

impl Fault {
    fn into_error(self, method: &str) -> RemoteError {
        match (self.code, self.data) {
            (METHOD_ERROR, Some(typed)) => RemoteError::Failed(typed),
            (TOO_MANY_SUBSCRIPTIONS | SERVER_IS_BUSY, _) => {
                RemoteError::Link(LinkError::Overloaded)
            }
            _ => mismatch(method, self.message),
        }
    }
}

fn mismatch(method: &str, reason: String) -> RemoteError {
    RemoteError::Link(LinkError::Mismatch { method: method.to_owned(), reason })
}

/// What a call fails with when the connection is gone.
pub(super) fn unreachable(reason: impl ToString) -> RemoteError {
    RemoteError::Link(LinkError::Unreachable { reason: reason.to_string() })
}
