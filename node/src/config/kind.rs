//! The types a configuration value can have, and how each is checked.

use std::{fmt, str::FromStr};

use peerage_api::types::{Multiaddr, Network, PeerId};
use serde::Serialize;

/// A value as it is written in the file, checked against the [`Kind`] of its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum Value {
    Bool(bool),
    Int(i64),
    Text(String),
    List(Vec<String>),
}

impl fmt::Display for Value {
    /// As TOML.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(flag) => write!(f, "{flag}"),
            Self::Int(number) => write!(f, "{number}"),
            Self::Text(text) => write!(f, "{}", toml::Value::from(text.as_str())),
            Self::List(items) => write!(f, "{}", toml::Value::from(items.clone())),
        }
    }
}

/// What a key accepts. The empty text stands for "not set" where a kind says so.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// Any text.
    Text,
    /// A network name.
    Network,
    /// One of some words.
    Choice(&'static [&'static str]),
    /// True or false.
    Bool,
    /// A whole number within a range.
    Int(i64, i64),
    /// Multiaddresses.
    Addresses,
    /// Peer ids.
    Peers,
    /// Hosts and ports.
    Hosts,
    /// A file, or empty.
    Path,
    /// A folder, or empty.
    Dir,
    /// A host and a port, or empty.
    Socket,
    /// A log level, also by module.
    Level,
}

impl Kind {
    /// What a value must be, in words.
    pub(crate) fn expected(self) -> String {
        match self {
            Self::Text => "text".to_owned(),
            Self::Network => {
                "a name of 1 to 32 lower-case letters, digits, '.', '_' and '-'".to_owned()
            }
            Self::Choice(words) => format!("one of {}", words.join(", ")),
            Self::Bool => "true or false".to_owned(),
            Self::Int(min, max) => format!("a whole number from {min} to {max}"),
            Self::Addresses => {
                "a list of multiaddresses such as /ip4/192.0.2.1/tcp/4001".to_owned()
            }
            Self::Peers => "a list of peer ids such as 12D3KooW…".to_owned(),
            Self::Hosts => "a list of HOST:PORT such as router.bittorrent.com:6881".to_owned(),
            Self::Path => "the path of a file".to_owned(),
            Self::Dir => "the path of a folder".to_owned(),
            Self::Socket => "HOST:PORT such as 127.0.0.1:9464".to_owned(),
            Self::Level => "off, error, warn, info, debug or trace, also by module such as \
                 warn,peerage=debug"
                .to_owned(),
        }
    }

    /// The name of a value in help texts.
    pub(crate) fn placeholder(self) -> &'static str {
        match self {
            Self::Text => "TEXT",
            Self::Network => "NAME",
            Self::Choice(_) => "WHICH",
            Self::Bool => "BOOL",
            Self::Int(..) => "N",
            Self::Addresses => "MULTIADDR",
            Self::Peers => "PEER",
            Self::Hosts => "HOST:PORT",
            Self::Path => "FILE",
            Self::Dir => "DIR",
            Self::Socket => "HOST:PORT",
            Self::Level => "LEVEL",
        }
    }

    pub(crate) fn is_list(self) -> bool {
        matches!(self, Self::Addresses | Self::Peers | Self::Hosts)
    }

    /// Checks a value; an error says what is wrong with it.
    pub(crate) fn check(self, value: Value) -> Result<Value, String> {
        let ok = match (self, &value) {
            (Self::Text, Value::Text(_)) | (Self::Bool, Value::Bool(_)) => true,
            (Self::Path | Self::Dir, Value::Text(text)) => !text.contains('\0'),
            (Self::Network, Value::Text(text)) => Network::new(text).is_ok(),
            (Self::Choice(words), Value::Text(text)) => words.contains(&text.as_str()),
            (Self::Int(min, max), Value::Int(number)) => (min..=max).contains(number),
            (Self::Socket, Value::Text(text)) => text.is_empty() || is_socket(text),
            (Self::Hosts, Value::List(items)) => items.iter().all(|item| is_host(item)),
            (Self::Level, Value::Text(text)) => text.split(',').all(is_level),
            (Self::Addresses, Value::List(items)) => return all::<Multiaddr>(items, self, &value),
            (Self::Peers, Value::List(items)) => return all::<PeerId>(items, self, &value),
            _ => false,
        };
        if ok { Ok(value) } else { Err(format!("expected {}, found {value}", self.expected())) }
    }

    /// Reads a value from a flag or an environment variable; lists are separated by commas.
    pub(crate) fn read(self, text: &str) -> Result<Value, String> {
        let value = match self {
            Self::Bool => match text.to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" | "on" => Value::Bool(true),
                "false" | "0" | "no" | "off" => Value::Bool(false),
                _ => Value::Text(text.to_owned()),
            },
            Self::Int(..) => text.parse().map_or_else(|_| Value::Text(text.to_owned()), Value::Int),
            Self::Addresses | Self::Peers | Self::Hosts => Value::List(
                text.split(',')
                    .map(str::trim)
                    .filter(|s| !s.is_empty())
                    .map(str::to_owned)
                    .collect(),
            ),
            _ => Value::Text(text.to_owned()),
        };
        self.check(value)
    }
}

fn all<T: FromStr>(items: &[String], kind: Kind, value: &Value) -> Result<Value, String> {
    match items.iter().find(|item| item.parse::<T>().is_err()) {
        Some(bad) => Err(format!("expected {}, found {bad:?}", kind.expected())),
        None => Ok(value.clone()),
    }
}

fn is_socket(text: &str) -> bool {
    text.rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

/// A name or an IPv4 address, and a port that is not 0.
fn is_host(text: &str) -> bool {
    let named = |host: &str| host.chars().all(|c| c.is_alphanumeric() || ".-_".contains(c));
    text.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && named(host) && port.parse::<u16>().is_ok_and(|port| port > 0)
    })
}

/// `LEVEL` or `MODULE=LEVEL`.
fn is_level(directive: &str) -> bool {
    let level = directive.rsplit_once('=').map_or(directive, |(_, level)| level);
    level.trim().parse::<tracing::level_filters::LevelFilter>().is_ok()
}
