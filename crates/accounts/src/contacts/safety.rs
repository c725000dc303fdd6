//! The number that both users see alike if nobody sits between them.
//!
//! ```text
//! hash     BLAKE3 derived with "peerage 2026 contacts safety number" from both ids, the lower
//!          first; then 5,200 times hash = BLAKE3(hash + both ids), so that looking for a key with
//!          a similar number is dear
//! digits   60 bytes of BLAKE3(hash) as an extendable output: 12 groups of 5 bytes, big-endian,
//!          modulo 100,000
//! qr       "peerage-safety:" and the hash in hexadecimal
//! ```

use peerage_api::contacts::{ContactsError, SafetyNumber};
use peerage_types::UserId;

use super::row::bad;

const ROUNDS: usize = 5_200;
const QR_PREFIX: &str = "peerage-safety:";
const DIGITS: usize = 60;

/// The same for both.
pub(crate) fn safety_number(a: &UserId, b: &UserId) -> SafetyNumber {
    let hash = hash(a.min(b), a.max(b));
    let mut bytes = [0; DIGITS];
    blake3::Hasher::new().update(&hash).finalize_xof().fill(&mut bytes);
    let group = |five: &[u8]| five.iter().fold(0, |n: u64, byte| n << 8 | u64::from(*byte));
    let groups = bytes.chunks(5).map(|five| format!("{:05}", group(five) % 100_000));
    SafetyNumber {
        digits: groups.collect::<Vec<_>>().join(" "),
        qr: format!("{QR_PREFIX}{}", blake3::Hash::from(hash).to_hex()),
    }
}

fn hash(low: &UserId, high: &UserId) -> [u8; 32] {
    let mut text = [[0; 32], *low.as_bytes(), *high.as_bytes()];
    text[0] = blake3::derive_key("peerage 2026 contacts safety number", &text[1..].concat());
    for _ in 0..ROUNDS {
        text[0] = blake3::hash(text.as_flattened()).into();
    }
    text[0]
}

/// Whether what was read from the other side's screen is the same number.
///
/// # Errors
/// [`ContactsError::BadField`] when it is neither 60 digits nor the text of a QR code.
pub(crate) fn is_same(number: &SafetyNumber, compared: &str) -> Result<bool, ContactsError> {
    let compared = compared.trim();
    if compared.get(..QR_PREFIX.len()).is_some_and(|p| p.eq_ignore_ascii_case(QR_PREFIX)) {
        return Ok(compared.eq_ignore_ascii_case(&number.qr));
    }
    let digits = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
    let compared = digits(compared);
    if compared.len() != DIGITS || !compared.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(bad("compared", "is neither 60 digits nor the content of a QR code"));
    }
    Ok(compared == digits(&number.digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: UserId = UserId([1; 32]);
    const B: UserId = UserId([2; 32]);

    #[test]
    fn both_sides_see_the_same_number_and_others_another() {
        let number = safety_number(&A, &B);
        assert_eq!(number, safety_number(&B, &A));
        assert_ne!(number, safety_number(&A, &UserId([3; 32])));
        let groups: Vec<_> = number.digits.split(' ').collect();
        assert_eq!(groups.len(), 12);
        assert!(groups.iter().all(|group| group.len() == 5));
        assert_eq!(number.qr.len(), QR_PREFIX.len() + 64);
    }

    #[test]
    fn the_number_never_changes() {
        let number = safety_number(&A, &B);
        assert_eq!(
            number.digits,
            "96661 85517 19784 07158 04193 06825 76619 71959 89703 84775 64322 52557"
        );
        assert_eq!(
            number.qr,
            "peerage-safety:8aeee15d8c76d2925e7ed1cdd0d4bda707c94075c07b5196eb6fb216e283a89c"
        );
    }

    #[test]
    fn digits_compare_with_and_without_spaces_and_the_qr_text_as_well() {
        let number = safety_number(&A, &B);
        let other = safety_number(&A, &UserId([3; 32]));
        let plain = number.digits.replace(' ', "");
        for same in [&number.digits, &plain, &format!(" {plain}\n"), &number.qr] {
            assert_eq!(is_same(&number, same), Ok(true), "{same}");
        }
        assert_eq!(is_same(&number, &number.qr.to_uppercase()), Ok(true));
        assert_eq!(is_same(&number, &other.digits), Ok(false));
        assert_eq!(is_same(&number, &other.qr), Ok(false));
        assert_eq!(is_same(&number, QR_PREFIX), Ok(false));
        for wrong in ["", "12345", &plain[1..], &format!("{plain}1"), &"x".repeat(60), "ä"] {
            assert!(is_same(&number, wrong).is_err(), "{wrong}");
        }
    }
}
