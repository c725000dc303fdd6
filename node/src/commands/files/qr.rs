//! Tickets for cameras.

use std::io::{IsTerminal, Write};

use qrcode::{EcLevel, QrCode, render::unicode::Dense1x2};

use crate::failed::{Exit, Failed};

/// Draws a ticket on stderr, so that stdout has the ticket alone.
pub(super) fn draw(ticket: &str) -> Result<(), Failed> {
    let drawn = drawing(ticket)?;
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

fn drawing(ticket: &str) -> Result<String, Failed> {
    // In upper case it is alphanumeric, which takes a third less room.
    let code = QrCode::with_error_correction_level(ticket.to_ascii_uppercase(), EcLevel::L);
    let code = code.map_err(|_| {
        Failed::new(Exit::Failed, "too_large", "the ticket is too long for a QR code")
    })?;
    Ok(code.render::<Dense1x2>().build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_of_ordinary_length_fits_a_terminal() {
        let ticket = format!("peeragefile1{}", "q".repeat(288));
        let drawn = drawing(&ticket).unwrap();
        let widths: Vec<usize> = drawn.lines().map(|line| line.chars().count()).collect();
        assert!(widths.iter().all(|width| *width == widths[0] && *width <= 72), "{widths:?}");
        assert!(drawn.contains('█') && drawn.contains('▀'));
        assert!(drawing(&"q".repeat(5000)).is_err());
    }
}
