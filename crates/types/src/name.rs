//! Names with a shape: networks, topics, message types and namespaces.

use std::{fmt, str::FromStr, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A name that does not have the shape its kind asks for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No characters at all.
    #[error("the {kind} is empty; give it 1 to {max} bytes")]
    Empty {
        /// What was being named, such as `topic`.
        kind: &'static str,
        /// Longest length in bytes.
        max: usize,
    },
    /// More bytes than the kind allows.
    #[error("the {kind} is {len} bytes long; the longest is {max}")]
    TooLong {
        /// What was being named.
        kind: &'static str,
        /// Length that was given, in bytes.
        len: usize,
        /// Longest length in bytes.
        max: usize,
    },
    /// A character that the kind does not allow.
    #[error("the {kind} {name:?} has the character {bad:?}; use {allowed}")]
    Character {
        /// What was being named.
        kind: &'static str,
        /// The whole name.
        name: String,
        /// The first offending character.
        bad: char,
        /// The characters that are allowed, in words.
        allowed: &'static str,
    },
}

fn check(
    kind: &'static str,
    name: &str,
    max: usize,
    allowed: &'static str,
    ok: fn(char) -> bool,
) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty { kind, max });
    }
    if name.len() > max {
        return Err(NameError::TooLong { kind, len: name.len(), max });
    }
    match name.chars().find(|c| !ok(*c)) {
        Some(bad) => Err(NameError::Character { kind, name: name.to_owned(), bad, allowed }),
        None => Ok(()),
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $kind:literal, $max:literal, $allowed:literal, $ok:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schemars(with = "String")]
        pub struct $type(Arc<str>);

        impl $type {
            /// Longest length in bytes.
            pub const MAX_LEN: usize = $max;

            /// Checks the shape of `name` and takes it.
            ///
            /// # Errors
            /// [`NameError`] says which rule is broken and what is allowed.
            pub fn new(name: &str) -> Result<Self, NameError> {
                check($kind, name, $max, $allowed, $ok)?;
                Ok(Self(name.into()))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl FromStr for $type {
            type Err = NameError;
            fn from_str(name: &str) -> Result<Self, NameError> {
                Self::new(name)
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;
            fn try_from(name: String) -> Result<Self, NameError> {
                Self::new(&name)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0.as_ref().to_owned()
            }
        }
    };
}

name!(
    /// The name of a private network: part of every protocol id that only its members speak.
    ///
    /// 1 to 32 bytes of lower-case letters, digits, `.`, `_` and `-`.
    Network,
    "network name",
    32,
    "lower-case letters, digits, '.', '_' and '-'",
    |c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-')
);
name!(
    /// A key of the key-value store: 1 to 1024 bytes of any text without NUL.
    KvKey,
    "key",
    1024,
    "anything but NUL",
    |c| c != '\0'
);
name!(
    /// A pub/sub topic: 1 to 128 bytes of any printable text.
    Topic,
    "topic",
    128,
    "printable characters",
    |c| !c.is_control()
);
name!(
    /// The type of an exchange message: 1 to 64 bytes of any printable text without spaces.
    MessageType,
    "message type",
    64,
    "printable characters without spaces",
    |c| !c.is_control() && !c.is_whitespace()
);
name!(
    /// A name under which nodes announce themselves and are found: 1 to 128 bytes of printable text.
    Namespace,
    "namespace",
    128,
    "printable characters",
    |c| !c.is_control()
);

name!(
    /// What a user calls itself: 1 to 32 bytes of letters of any script, digits, `.`, `_` and `-`.
    ///
    /// Not unique: a user is its [`UserId`](crate::UserId).
    Handle,
    "handle",
    32,
    "letters, digits, '.', '_' and '-'",
    |c| c.is_alphanumeric() || matches!(c, '.' | '_' | '-')
);
name!(
    /// The name of a service, by convention a domain turned round such as `org.example.notes`:
    /// 1 to 64 bytes of lower-case letters, digits, `.`, `_` and `-`.
    ServiceName,
    "service name",
    64,
    "lower-case letters, digits, '.', '_' and '-'",
    |c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-')
);

impl Default for Network {
    fn default() -> Self {
        Self("peerage".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_out_of_shape_is_refused_with_the_rule_it_breaks() {
        assert_eq!(
            Network::new("Home"),
            Err(NameError::Character {
                kind: "network name",
                name: "Home".into(),
                bad: 'H',
                allowed: "lower-case letters, digits, '.', '_' and '-'",
            })
        );
        assert!(matches!(Topic::new(""), Err(NameError::Empty { .. })));
        assert!(matches!(
            MessageType::new(&"x".repeat(65)),
            Err(NameError::TooLong { len: 65, max: 64, .. })
        ));
        assert!(MessageType::new("a b").is_err());
    }

    #[test]
    fn a_bad_name_does_not_deserialise() {
        assert!(serde_json::from_str::<Network>("\"ok-1\"").is_ok());
        assert!(serde_json::from_str::<Network>("\"not ok\"").is_err());
    }
}
