//! How a command fails: the exit code, and what people and scripts read about it.

use std::{io, process::ExitCode};

use peerage_api::{
    Failure, LinkError, contacts::ContactsError, discovery::DiscoveryError,
    exchange::ExchangeError, files::FilesError, kv::KvError, node::NodeError, peers::PeersError,
    pubsub::PubsubError, services::ServicesError, storage::StorageError, users::UsersError,
};
use serde_json::{Map, Value, json};

use crate::config::BadConfig;

/// The exit codes of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The reason is on stderr.
    Failed = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// No daemon runs.
    NoDaemon = 3,
    /// A deadline passed.
    TimedOut = 4,
    /// The other side refused.
    Refused = 5,
    /// A signal ended it.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command ended early.
#[derive(Debug)]
pub(crate) enum Failed {
    /// With something to report.
    Because(Box<Reason>),
    /// Everything was said already.
    Reported(Exit),
    /// The reader of stdout went away, as `| head` does: nothing is wrong.
    BrokenPipe,
}

/// What there is to report.
#[derive(Debug)]
pub(crate) struct Reason {
    pub(crate) exit: Exit,
    /// Stable, for scripts.
    pub(crate) code: String,
    /// For people.
    pub(crate) message: String,
    /// Whether the same may succeed later without any change.
    pub(crate) is_retryable: bool,
    /// Fields of the typed error.
    fields: Map<String, Value>,
}

impl Failed {
    /// A failure of this program rather than of the node.
    pub(crate) fn new(exit: Exit, code: &str, message: impl ToString) -> Self {
        let is_retryable = exit == Exit::TimedOut;
        let (code, message, fields) = (code.to_owned(), message.to_string(), Map::new());
        Self::Because(Box::new(Reason { exit, code, message, is_retryable, fields }))
    }

    /// A deadline passed.
    pub(crate) fn timed_out(what: impl std::fmt::Display, seconds: f64) -> Self {
        let message = format!("{what} within {seconds} s; give it longer with --timeout SECONDS");
        Self::new(Exit::TimedOut, "timed_out", message)
    }

    /// A typed error of a facet.
    pub(crate) fn of<E: Failure>(error: &E) -> Self {
        let exit = match error {
            _ if error.is_timeout() => Exit::TimedOut,
            _ if error.is_refusal() => Exit::Refused,
            _ => Exit::Failed,
        };
        let mut fields = match serde_json::to_value(error) {
            Ok(Value::Object(fields)) => fields,
            _ => Map::new(),
        };
        fields.remove("code");
        let (code, message) = (error.code(), error.to_string());
        let is_retryable = error.is_retryable();
        Self::Because(Box::new(Reason { exit, code, message, is_retryable, fields }))
    }

    /// Adds a field for scripts, unless the error has one of that name.
    pub(crate) fn about(mut self, field: &str, value: impl Into<Value>) -> Self {
        if let Self::Because(reason) = &mut self {
            reason.fields.entry(field).or_insert_with(|| value.into());
        }
        self
    }

    /// What scripts know it by.
    pub(crate) fn code(&self) -> Option<&str> {
        self.reason().map(|reason| &reason.code[..])
    }

    /// A field of the typed error.
    pub(crate) fn field(&self, name: &str) -> Option<&Value> {
        self.reason()?.fields.get(name)
    }

    /// Whether its message has that in it.
    pub(crate) fn says(&self, what: &str) -> bool {
        self.reason().is_some_and(|reason| reason.message.contains(what))
    }

    /// Says that otherwise.
    pub(crate) fn say(mut self, what: &str, instead: &str) -> Self {
        if let Self::Because(reason) = &mut self {
            reason.message = reason.message.replace(what, instead);
        }
        self
    }

    fn reason(&self) -> Option<&Reason> {
        match self {
            Self::Because(reason) => Some(reason),
            Self::Reported(_) | Self::BrokenPipe => None,
        }
    }

    /// Adds to the message what can be done.
    pub(crate) fn advise(mut self, advice: &str) -> Self {
        if let Self::Because(reason) = &mut self {
            reason.message = format!("{}; {advice}", reason.message);
        }
        self
    }
}

impl Reason {
    /// `{"error":{"code","message",…}}` with the fields of the typed error.
    pub(crate) fn to_json(&self) -> Value {
        let mut error = Map::new();
        error.insert("code".to_owned(), self.code.as_str().into());
        error.insert("message".to_owned(), self.message.as_str().into());
        for (name, value) in &self.fields {
            error.entry(name.clone()).or_insert_with(|| value.clone());
        }
        json!({ "error": error })
    }
}

macro_rules! from_failure {
    ($($error:ident)*) => {$(
        impl From<$error> for Failed {
            fn from(error: $error) -> Self {
                Self::of(&error)
            }
        }
    )*};
}
from_failure! { NodeError PeersError DiscoveryError PubsubError ExchangeError FilesError }
from_failure! { UsersError ContactsError ServicesError StorageError KvError }

impl From<LinkError> for Failed {
    fn from(error: LinkError) -> Self {
        NodeError::from(error).into()
    }
}

impl From<BadConfig> for Failed {
    fn from(error: BadConfig) -> Self {
        Self::new(Exit::Failed, "bad_config", error)
    }
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::BrokenPipe,
            _ => Self::new(Exit::Failed, "io", error),
        }
    }
}

impl From<anyhow::Error> for Failed {
    fn from(error: anyhow::Error) -> Self {
        match error.downcast::<io::Error>() {
            Ok(error) => error.into(),
            Err(error) => Self::new(Exit::Failed, "failed", format!("{error:#}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use peerage_api::types::{MessageType, PeerId};

    use super::*;

    fn reason(failed: Failed) -> Reason {
        match failed {
            Failed::Because(reason) => *reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_typed_error_keeps_its_code_and_fields_and_decides_the_exit_code() {
        let peer = PeerId::random();
        let timeout = ExchangeError::TimedOut { peer, deadline_ms: 5 };
        let nobody = ExchangeError::NoResponder { peer, kind: MessageType::new("greet").unwrap() };
        let gone = ExchangeError::from(LinkError::Stopped);
        for (error, exit, code) in [
            (timeout, Exit::TimedOut, "timed_out"),
            (nobody, Exit::Refused, "no_responder"),
            (gone, Exit::Failed, "stopped"),
        ] {
            let reason = reason(error.into());
            assert_eq!((reason.exit, reason.code.as_str()), (exit, code));
        }
        let refused = ExchangeError::Refused { peer, reason: "closed".into() };
        let json = reason(refused.into()).to_json();
        assert_eq!(json["error"]["code"], "refused");
        assert_eq!(json["error"]["reason"], "closed");
        assert_eq!(json["error"]["peer"], peer.to_string());
        assert_eq!(json["error"]["message"], format!("{peer} refused: closed"));
    }

    #[test]
    fn a_reader_that_goes_away_is_no_failure() {
        let error = io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(matches!(Failed::from(error), Failed::BrokenPipe));
    }
}
