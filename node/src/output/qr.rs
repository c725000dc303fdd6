//! Text for cameras.

use std::io::{IsTerminal, Write};

use qrcode::{EcLevel, QrCode, render::unicode::Dense1x2};

use crate::failed::{Exit, Failed};

/// Draws text on stderr, so that stdout has the result alone. Without lower case it takes a third
/// less room.
pub(crate) fn draw(text: &str) -> Result<(), Failed> {
    let drawn = drawing(text)?;
    let mut stderr = std::io::stderr().lock();
    let (paint, plain) = match stderr.is_terminal() {
        // Black on white whatever the colours of the terminal.
        true => ("\u{1b}[38;5;16;48;5;231m", "\u{1b}[0m"),
        false => ("", ""),
    };
    for line in drawn.lines() {
        writeln!(stderr, "{paint}{line}{plain}")?;
    }
    Ok(())
}

fn drawing(text: &str) -> Result<String, Failed> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L);
    let code =
        code.map_err(|_| Failed::new(Exit::Failed, "too_large", "that is too long for a QR code"))?;
    Ok(code.render::<Dense1x2>().build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_of_ordinary_length_fits_a_terminal() {
        let ticket = format!("PEERAGEFILE1{}", "Q".repeat(288));
        let drawn = drawing(&ticket).unwrap();
        let widths: Vec<usize> = drawn.lines().map(|line| line.chars().count()).collect();
        assert!(widths.iter().all(|width| *width == widths[0] && *width <= 72), "{widths:?}");
        assert!(drawn.contains('█') && drawn.contains('▀'));
        assert!(drawing(&"q".repeat(5000)).is_err());
    }
}
