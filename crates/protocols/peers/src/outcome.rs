//! What became of a dial, in words for people and in types for the rest. Pure.

use std::{error::Error, io};

use libp2p_core::{Multiaddr, transport::TransportError};
use libp2p_identity::PeerId;
use libp2p_swarm::{ConnectionDenied, ConnectionError, DialError};
use peerage_api::peers::PeersError;

use crate::{Denied, address};

const BROKEN: &str = "the other side broke it off";
const CLOSED: &str = "the other side closed it";
const NO_NODE: &str = "what answers makes no sense";

/// Why a dial did not lead to a connection, by what is to be done about it.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It is none: the condition of the dial did not hold, there is or will be a connection.
    Unneeded,
    /// There was nothing to dial.
    NoAddress,
    /// Each address with what it said.
    Tried(Vec<(Multiaddr, String)>),
    /// Somebody else answered.
    Wrong { address: Multiaddr, found: PeerId },
    /// We answered ourselves.
    Own,
    /// This node refused, or stopped the dial.
    Refused(PeersError),
}

impl Failure {
    pub(crate) fn of(error: &DialError) -> Self {
        match error {
            DialError::DialPeerConditionFalse(_) => Self::Unneeded,
            DialError::NoAddresses => Self::NoAddress,
            DialError::Transport(errors) => Self::Tried(
                errors
                    .iter()
                    .map(|(address, error)| (address::split(address).0, transport_words(error)))
                    .collect(),
            ),
            DialError::WrongPeerId { obtained, address } => {
                Self::Wrong { address: address::split(address).0, found: *obtained }
            }
            DialError::LocalPeerId { .. } => Self::Own,
            DialError::Denied { cause } => Self::Refused(denied(cause)),
            DialError::Aborted => {
                Self::Refused(PeersError::Refused { reason: "the dial was called off".into() })
            }
        }
    }
}

fn denied(cause: &ConnectionDenied) -> PeersError {
    match cause.downcast_ref::<Denied>() {
        Some(Denied::Blocked { peer } | Denied::NotAllowed { peer }) => {
            PeersError::Blocked { peer: *peer }
        }
        Some(other) => PeersError::Refused { reason: other.to_string() },
        None => PeersError::Refused { reason: error_words(cause) },
    }
}

fn transport_words(error: &TransportError<io::Error>) -> String {
    match error {
        TransportError::MultiaddrNotSupported(_) => "no transport for this address".to_owned(),
        TransportError::Other(error) => match error_words(error) {
            // What does not understand the first bytes says nothing, or closes.
            words if words == CLOSED || words == BROKEN || words == NO_NODE => {
                format!("{words}; is it a node of this network, with the same network key?")
            }
            words => words,
        },
    }
}

/// Why a connection broke.
pub(crate) fn broken_words(cause: Option<&ConnectionError>) -> String {
    match cause {
        None => "closed here".to_owned(),
        Some(ConnectionError::KeepAliveTimeout) => "idle".to_owned(),
        Some(ConnectionError::IO(error)) => error_words(error),
    }
}

/// The cause at the bottom of an error, in a few words.
///
/// The errors of transports are nested a dozen deep, and most layers repeat or hide the next; the
/// last one says what happened.
pub(crate) fn error_words(error: &(dyn Error + 'static)) -> String {
    let mut deepest = error;
    loop {
        if let Some(words) = deepest.downcast_ref::<io::Error>().and_then(known_kind) {
            return words.to_owned();
        }
        // `io::Error::source` skips the error it wraps.
        let wrapped = deepest.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let next: Option<&(dyn Error + 'static)> = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => deepest.source(),
        };
        match next {
            Some(next) => deepest = next,
            None => break,
        }
    }
    short(&deepest.to_string())
}

/// Only what the operating system itself said: wrapped errors say more further down.
fn known_kind(error: &io::Error) -> Option<&'static str> {
    use io::ErrorKind::{
        AddrNotAvailable, BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset,
        HostUnreachable, NetworkUnreachable, TimedOut, UnexpectedEof,
    };
    if error.get_ref().is_some() {
        return None;
    }
    match error.kind() {
        ConnectionRefused => Some("connection refused"),
        ConnectionReset | ConnectionAborted | BrokenPipe => Some(BROKEN),
        UnexpectedEof => Some(CLOSED),
        HostUnreachable => Some("no route to the host"),
        NetworkUnreachable => Some("the network is unreachable"),
        AddrNotAvailable => Some("no local address fits"),
        TimedOut => Some("no answer in time"),
        _ => None,
    }
}

/// One line of at most 160 characters. Some layers pass on only the text of the operating system's
/// error, which ends in its number.
fn short(text: &str) -> String {
    let number = text.rsplit_once("(os error ").and_then(|(_, rest)| rest.split(')').next());
    let number = number.and_then(|number| number.parse().ok());
    if let Some(words) = number.map(io::Error::from_raw_os_error).as_ref().and_then(known_kind) {
        return words.to_owned();
    }
    match text {
        "Timeout has been reached" => "no answer in time".to_owned(),
        // Bytes of something else, taken for those of a handshake.
        "Maximum frame length exceeded" | "Received an invalid message." => NO_NODE.to_owned(),
        "" => "it failed without a reason".to_owned(),
        other => other.chars().map(|c| if c.is_control() { ' ' } else { c }).take(160).collect(),
    }
}
