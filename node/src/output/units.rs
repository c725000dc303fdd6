//! Numbers with units.

use std::time::Duration;

use peerage_api::types::UnixMillis;

/// Such as `14.1 MB`; 1 MB is 10^6 bytes.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if count < 1000 {
        return format!("{count} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
    let mut amount = count as f64 / 1000.0;
    let mut unit = 0;
    while amount >= 999.95 && unit + 1 < UNITS.len() {
        amount /= 1000.0;
        unit += 1;
    }
    format!("{amount:.1} {}", UNITS[unit])
}

/// Such as `1 entry` or `12 entries`.
pub(crate) fn entries(count: u64) -> String {
    if count == 1 { "1 entry".to_owned() } else { format!("{count} entries") }
}

/// Such as `98.1 MB/s`.
pub(crate) fn rate(bytes_a_second: u64) -> String {
    format!("{}/s", bytes(bytes_a_second))
}

/// How long something took, such as `0.02 s`, `12.3 s` or `3m 20s`.
pub(crate) fn took(count: f64) -> String {
    match count {
        ..9.995 => format!("{:.2} s", count.max(0.0)),
        ..99.95 => format!("{count:.1} s"),
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a time shown")]
        _ => seconds(count as u64),
    }
}

/// Such as `34 %`; 100 only of what is complete.
pub(crate) fn percent(done: u64, total: u64) -> String {
    let percent = match total {
        0 => 100,
        total => u128::from(done.min(total)) * 100 / u128::from(total),
    };
    format!("{percent} %")
}

/// Such as `35 µs`, `1.25 ms` or `2.10 s`.
pub(crate) fn micros(count: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "shown with two decimals")]
    let amount = count as f64;
    match count {
        0..1_000 => format!("{count} µs"),
        1_000..1_000_000 => format!("{:.2} ms", amount / 1e3),
        _ => format!("{:.2} s", amount / 1e6),
    }
}

/// Milliseconds, as [`micros`].
pub(crate) fn millis(count: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a time shown")]
    micros((count * 1e3).max(0.0) as u64)
}

/// Such as `42s`, `3m 20s`, `5h 12m` or `12d 4h`.
pub(crate) fn seconds(count: u64) -> String {
    match count {
        0..60 => format!("{count}s"),
        60..3600 => format!("{}m {}s", count / 60, count % 60),
        3600..86_400 => format!("{}h {}m", count / 3600, count % 3600 / 60),
        _ => format!("{}d {}h", count / 86_400, count % 86_400 / 3600),
    }
}

/// How long ago that was, such as `3m 20s ago`.
pub(crate) fn since(then: UnixMillis) -> String {
    let ago: Duration = UnixMillis::now().since(then);
    format!("{} ago", seconds(ago.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown_with_the_unit_that_keeps_them_short() {
        for (count, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (999_960, "1.0 MB"),
            (14_100_000, "14.1 MB"),
        ] {
            assert_eq!(bytes(count), text);
        }
        assert_eq!([entries(0), entries(1), entries(2)], ["0 entries", "1 entry", "2 entries"]);
        assert_eq!((micros(35), micros(1250)), ("35 µs".into(), "1.25 ms".into()));
        assert_eq!((millis(0.035), micros(2_100_000)), ("35 µs".into(), "2.10 s".into()));
        assert_eq!(rate(98_100_000), "98.1 MB/s");
        assert_eq!([took(0.016), took(12.31), took(200.0)], ["0.02 s", "12.3 s", "3m 20s"]);
        assert_eq!([percent(999, 1000), percent(1, 0), percent(2, 1)], ["99 %", "100 %", "100 %"]);
        for (count, text) in
            [(59, "59s"), (200, "3m 20s"), (18_720, "5h 12m"), (1_051_200, "12d 4h")]
        {
            assert_eq!(seconds(count), text);
        }
    }
}
