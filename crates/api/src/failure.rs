//! What every facet's error can say: the node is gone, or the way to it is.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The node could not be asked at all, whatever the question was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum LinkError {
    /// The node stopped before it answered.
    #[error("the node has stopped")]
    Stopped,
    /// The node has more questions waiting than it accepts; ask again shortly.
    #[error("the node is busy; ask again shortly")]
    Overloaded,
    /// The daemon cannot be reached or the connection to it broke.
    #[serde(rename = "daemon_unreachable")]
    #[error("no connection to the daemon: {reason}")]
    Unreachable {
        /// What the transport said.
        reason: String,
    },
    /// The daemon refused the credentials of this connection.
    #[error("the daemon refused the token; read it from the file rpc.token in its data directory")]
    Unauthorised,
    /// The daemon could not read the question, or this program not the answer.
    #[error("the daemon and this program disagree about {method}: {reason}")]
    Mismatch {
        /// Method that was asked.
        method: String,
        /// What could not be read.
        reason: String,
    },
}

impl LinkError {
    /// Whether the same question may succeed later without any change.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Overloaded | Self::Unreachable { .. })
    }
}

/// An error of a facet: the same value whether the node is in this process or behind a socket.
///
/// Its JSON form is an object with a stable `code` and the fields of the variant.
pub trait Failure:
    std::error::Error + Clone + Serialize + DeserializeOwned + From<LinkError> + Send + Sync + 'static
{
    /// Whether the same question may succeed later without any change.
    fn is_retryable(&self) -> bool;

    /// Whether the other side refused, as opposed to something going wrong.
    fn is_refusal(&self) -> bool {
        false
    }

    /// Whether a deadline passed.
    fn is_timeout(&self) -> bool {
        false
    }

    /// The stable code of the variant, such as `not_connected`.
    fn code(&self) -> String {
        serde_json::to_value(self)
            .ok()
            .and_then(|v| v.get("code").and_then(|c| c.as_str().map(str::to_owned)))
            .unwrap_or_else(|| "unknown".to_owned())
    }
}
