//! Who gets on with our node, and in what: printed for people, written as JSON for programs.

use std::fmt;

use serde_json::{Value, json};

/// What became of one cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It works.
    Works,
    /// It cannot work, whatever our node does.
    Cannot(Obstacle),
    /// It should work and does not; what was said.
    Failed(String),
}

/// Why a cell cannot work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Obstacle {
    /// In a sentence.
    pub reason: &'static str,
    /// Where that can be seen.
    pub link: &'static str,
}

/// One foreign peer and our node over one transport.
#[derive(Debug, Clone)]
pub struct Row {
    /// The other library.
    pub who: &'static str,
    /// The transport's name.
    pub transport: &'static str,
    /// `out` when we dialled, `in` when it did.
    pub direction: &'static str,
    /// What was tried, and what became of it; the same names in every row.
    pub cells: Vec<(&'static str, Outcome)>,
}

/// All rows.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// In the order in which they are shown.
    pub rows: Vec<Row>,
}

impl Table {
    /// How many cells failed.
    #[must_use]
    pub fn failed(&self) -> usize {
        let cells = self.rows.iter().flat_map(|row| &row.cells);
        cells.filter(|(_, outcome)| matches!(outcome, Outcome::Failed(_))).count()
    }

    /// An object for each cell: `who`, `transport`, `direction`, `protocol`, `outcome` (`ok`, `cannot`
    /// with `reason` and `link`, or `failed` with `error`).
    #[must_use]
    pub fn to_json(&self) -> Value {
        let cells = self.rows.iter().flat_map(|row| {
            row.cells.iter().map(|(protocol, outcome)| {
                let mut cell = json!({
                    "who": row.who, "transport": row.transport, "direction": row.direction,
                    "protocol": protocol, "outcome": outcome.as_str(),
                });
                match outcome {
                    Outcome::Works => {}
                    Outcome::Cannot(why) => {
                        cell["reason"] = why.reason.into();
                        cell["link"] = why.link.into();
                    }
                    Outcome::Failed(error) => cell["error"] = error.as_str().into(),
                }
                cell
            })
        });
        cells.collect()
    }

    /// The texts of all fields, the heads first.
    fn fields(&self, obstacles: &[Obstacle]) -> Vec<Vec<String>> {
        let Some(first) = self.rows.first() else { return Vec::new() };
        let fixed = ["who", "transport", "dials"];
        let heads = fixed.into_iter().chain(first.cells.iter().map(|(protocol, _)| *protocol));
        let mut lines = vec![heads.map(String::from).collect::<Vec<_>>()];
        lines.extend(self.rows.iter().map(|row| {
            let dials = if row.direction == "out" { "we" } else { "it" };
            let fixed = [row.who, row.transport, dials].map(String::from);
            let cells = row.cells.iter().map(|(_, outcome)| outcome.field(obstacles));
            fixed.into_iter().chain(cells).collect()
        }));
        lines
    }

    fn obstacles(&self) -> Vec<Obstacle> {
        let mut obstacles = Vec::new();
        for (_, outcome) in self.rows.iter().flat_map(|row| &row.cells) {
            match outcome {
                Outcome::Cannot(why) if !obstacles.contains(why) => obstacles.push(*why),
                _ => {}
            }
        }
        obstacles
    }
}

impl Outcome {
    fn as_str(&self) -> &'static str {
        match self {
            Self::Works => "ok",
            Self::Cannot(_) => "cannot",
            Self::Failed(_) => "failed",
        }
    }

    /// As the table shows it: of what cannot work the number of its note.
    fn field(&self, obstacles: &[Obstacle]) -> String {
        match self {
            Self::Works => "ok".into(),
            Self::Cannot(why) => {
                let number = obstacles.iter().position(|known| known == why).unwrap_or_default();
                format!("no [{}]", number + 1)
            }
            Self::Failed(_) => "FAILED".into(),
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let obstacles = self.obstacles();
        let lines = self.fields(&obstacles);
        let widths: Vec<usize> = (0..lines.first().map_or(0, Vec::len))
            .map(|column| lines.iter().map(|line| line[column].len()).max().unwrap_or_default())
            .collect();
        for line in &lines {
            let padded = line.iter().zip(&widths).map(|(text, width)| format!("{text:<width$}"));
            writeln!(f, "{}", padded.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        for (number, why) in obstacles.iter().enumerate() {
            writeln!(f, "[{}] {}: {}", number + 1, why.reason, why.link)?;
        }
        for row in &self.rows {
            for (protocol, outcome) in &row.cells {
                if let Outcome::Failed(error) = outcome {
                    let Row { who, transport, direction, .. } = row;
                    writeln!(f, "FAILED {who} {transport} {direction} {protocol}: {error}")?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHY: Obstacle = Obstacle { reason: "it has none", link: "https://example.org/1" };

    fn table() -> Table {
        let row = |who, outcome| Row {
            who,
            transport: "quic",
            direction: "out",
            cells: vec![("ping", Outcome::Works), ("get out", outcome)],
        };
        let rows = vec![
            row("js-libp2p", Outcome::Works),
            row("go-libp2p", Outcome::Cannot(WHY)),
            row("py", Outcome::Failed("it is silent".into())),
        ];
        Table { rows }
    }

    #[test]
    fn columns_are_aligned_and_what_cannot_work_says_why_below() {
        let expected = "\
who        transport  dials  ping  get out
js-libp2p  quic       we     ok    ok
go-libp2p  quic       we     ok    no [1]
py         quic       we     ok    FAILED
[1] it has none: https://example.org/1
FAILED py quic out get out: it is silent
";
        assert_eq!(table().to_string(), expected);
    }

    #[test]
    fn the_json_has_an_object_for_each_cell() {
        let json = table().to_json();
        let cell = |outcome| {
            json!({
                "who": "js-libp2p", "transport": "quic", "direction": "out", "protocol": "ping",
                "outcome": outcome,
            })
        };
        assert_eq!(json.as_array().map(Vec::len), Some(6));
        assert_eq!(json[0], cell("ok"));
        assert_eq!(json[3]["link"], "https://example.org/1");
        assert_eq!(json[5]["error"], "it is silent");
        assert_eq!(table().failed(), 1);
    }
}
