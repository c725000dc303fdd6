//! Rates as they are typed.

/// Bytes a second of `500k`, `10M`, `1.5G` or a plain number.
pub(super) fn parse(text: &str) -> Result<u64, String> {
    let bare = text.strip_suffix("/s").unwrap_or(text);
    let bare = bare.strip_suffix(['B', 'b']).unwrap_or(bare);
    let (digits, unit) = match bare.char_indices().last() {
        Some((at, 'k' | 'K')) => (&bare[..at], 1e3),
        Some((at, 'm' | 'M')) => (&bare[..at], 1e6),
        Some((at, 'g' | 'G')) => (&bare[..at], 1e9),
        _ => (bare, 1.0),
    };
    let plain = digits.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let rate = digits.parse::<f64>().ok().filter(|_| plain).map(|number| number * unit);
    match rate {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range")]
        Some(rate) if (1.0..1e15).contains(&rate) => Ok(rate.round() as u64),
        _ => Err("expected bytes a second such as 500k, 10M or 1.5G".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_has_a_number_and_maybe_a_unit_of_thousands() {
        for (text, rate) in [
            ("800", 800),
            ("500k", 500_000),
            ("10M", 10_000_000),
            ("1.5G", 1_500_000_000),
            ("2MB", 2_000_000),
            ("2MB/s", 2_000_000),
            ("64K/s", 64_000),
        ] {
            assert_eq!(parse(text), Ok(rate), "{text}");
        }
        for text in ["", "0", "k", "-1M", "10T", "1e6", "inf", "NaN", "10 M", "1.2.3k", "5MiB", "ä"]
        {
            assert!(parse(text).unwrap_err().contains("500k"), "{text}");
        }
    }
}
