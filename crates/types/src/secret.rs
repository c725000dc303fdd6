//! What must not be seen: passwords, tokens, recovery codes. Wiped when dropped, never in `Debug`.

use std::{fmt, str::FromStr};

use bech32::{Bech32m, Hrp};
use data_encoding::HEXLOWER_PERMISSIVE;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Text that is not the secret it should be. Does not repeat it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// No password, or one longer than [`Password::MAX_LEN`].
    #[error("a password has 1 to {} bytes", Password::MAX_LEN)]
    Password,
    /// Not 64 hexadecimal digits.
    #[error("a token has 64 hexadecimal digits")]
    Token,
    /// Not in Bech32m with the prefix `recovery`.
    #[error("that is no recovery code: copy it whole, it begins with `recovery1`")]
    Recovery,
}

macro_rules! secret {
    ($name:ident) => {
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let mut text = String::deserialize(deserializer)?;
                let read = text.parse().map_err(D::Error::custom);
                text.zeroize();
                read
            }
        }
    };
}

/// A password: 1 to [`Password::MAX_LEN`] bytes.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop, JsonSchema)]
#[schemars(with = "String")]
pub struct Password(String);

impl Password {
    /// Longest length in bytes.
    pub const MAX_LEN: usize = 1024;

    /// Takes a password.
    ///
    /// # Errors
    /// [`SecretError::Password`] when it is empty or longer than [`Password::MAX_LEN`].
    pub fn new(mut text: String) -> Result<Self, SecretError> {
        if (1..=Self::MAX_LEN).contains(&text.len()) {
            return Ok(Self(text));
        }
        text.zeroize();
        Err(SecretError::Password)
    }

    /// What was typed.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl FromStr for Password {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, SecretError> {
        Self::new(text.to_owned())
    }
}

impl Serialize for Password {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

secret!(Password);

/// A bearer token of a session or a service: 32 random bytes, as text 64 hexadecimal digits.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop, JsonSchema)]
#[schemars(with = "String")]
pub struct Token([u8; 32]);

impl Token {
    /// From random bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// The text, for a file or a header.
    #[must_use]
    pub fn to_text(&self) -> String {
        HEXLOWER_PERMISSIVE.encode(&self.0)
    }
}

impl FromStr for Token {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, SecretError> {
        let mut bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).unwrap_or_default();
        let token = bytes.as_slice().try_into().map(Self).map_err(|_| SecretError::Token);
        bytes.zeroize();
        token
    }
}

impl Serialize for Token {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.to_text())
    }
}

secret!(Token);

const RECOVERY: Hrp = Hrp::parse_unchecked("recovery");

/// The seed of a user's recovery key, 32 bytes; as text `recovery1…` in Bech32m.
///
/// Shown once when a user is made and stored nowhere. Whoever has it may move the user to another
/// key, or revoke it.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop, JsonSchema)]
#[schemars(with = "String")]
pub struct RecoveryCode([u8; 32]);

impl RecoveryCode {
    /// From random bytes.
    #[must_use]
    pub fn new(seed: [u8; 32]) -> Self {
        Self(seed)
    }

    /// The seed.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// The text, to be written down.
    #[must_use]
    pub fn to_text(&self) -> String {
        bech32::encode::<Bech32m>(RECOVERY, &self.0).unwrap_or_default()
    }
}

impl FromStr for RecoveryCode {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, SecretError> {
        crate::user::decode(RECOVERY, text.trim()).map(Self).ok_or(SecretError::Recovery)
    }
}

impl Serialize for RecoveryCode {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.to_text())
    }
}

secret!(RecoveryCode);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_survive_as_text_and_are_not_shown() {
        let token = Token::new([0xab; 32]);
        assert_eq!(token.to_text().parse::<Token>().unwrap(), token);
        assert_eq!(format!("{token:?}"), "Token(…)");
        let code = RecoveryCode::new([9; 32]);
        assert!(code.to_text().starts_with("recovery1"));
        assert_eq!(format!(" {}\n", code.to_text()).parse::<RecoveryCode>().unwrap(), code);
        assert_eq!(format!("{code:?}"), "RecoveryCode(…)");
        assert_eq!(format!("{:?}", Password::new("hunter2".into()).unwrap()), "Password(…)");
    }

    #[test]
    fn an_error_does_not_repeat_the_secret() {
        let error = serde_json::from_str::<Token>("\"deadbeef\"").unwrap_err().to_string();
        assert!(!error.contains("deadbeef"), "{error}");
        assert_eq!(Password::new(String::new()), Err(SecretError::Password));
        assert_eq!(Password::new("x".repeat(1025)), Err(SecretError::Password));
        assert!("user1qqq".parse::<RecoveryCode>().is_err());
    }
}
