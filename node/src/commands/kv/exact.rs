//! JSON that is kept as it was given, or refused: whole numbers of more than 64 bits would lose digits,
//! and of a name that comes twice one value would be dropped. Fractions are floats of 64 bits, as in
//! nearly everything that reads JSON.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value as Json};

/// What cannot be kept, and where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    /// Bytes before it.
    pub(super) at: usize,
    pub(super) problem: String,
}

/// A document that will read the same wherever it is read.
pub(super) fn json(text: &str) -> Result<Json, Wrong> {
    let Strict(json) = serde_json::from_str(text).map_err(|error| Wrong::of(text, &error))?;
    match numbers(text).find(|(_, number)| is_whole(number) && !fits(number)) {
        None => Ok(json),
        Some((at, number)) => Err(Wrong { at, problem: too_long(number) }),
    }
}

/// What a parser says of a text.
impl Wrong {
    pub(super) fn of(text: &str, error: &serde_json::Error) -> Self {
        let said = error.to_string();
        let end = error.is_eof().then_some(text.len());
        let problem = said.split(" at line ").next().unwrap_or_default().to_owned();
        let lines = text.split_inclusive('\n').take(error.line().saturating_sub(1));
        let before: usize = lines.map(str::len).sum();
        let at = end.unwrap_or((before + error.column().saturating_sub(1)).min(text.len()));
        Self { at, problem }
    }
}

/// The line of a byte of a text and its column there, both counted from 1, columns in characters.
pub(super) fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.char_indices().take_while(|(start, _)| *start < at);
    before.fold((1, 1), |(line, column), (_, c)| match c {
        '\n' => (line + 1, 1),
        _ => (line, column + 1),
    })
}

/// Whether a number of JSON is written without fraction and exponent.
pub(super) fn is_whole(number: &str) -> bool {
    !number.contains(['.', 'e', 'E'])
}

/// Some digits of a number, of which there may be millions.
pub(super) fn digits(number: &str) -> String {
    const MAX: usize = 40;
    match number.char_indices().nth(MAX) {
        Some((end, _)) => format!("{}…", &number[..end]),
        None => number.to_owned(),
    }
}

fn too_long(number: &str) -> String {
    format!("{} does not fit 64 bits and would lose digits; write it as a string", digits(number))
}

fn fits(number: &str) -> bool {
    number.parse::<i64>().is_ok() || number.parse::<u64>().is_ok()
}

/// The numbers of a document that is JSON, with the bytes before each.
fn numbers(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut rest = 0;
    std::iter::from_fn(move || {
        let mut in_string = false;
        let mut bytes = text.bytes().enumerate().skip(rest);
        while let Some((at, byte)) = bytes.next() {
            match (in_string, byte) {
                (_, b'"') => in_string = !in_string,
                (true, b'\\') => drop(bytes.next()),
                (false, b'-' | b'0'..=b'9') => {
                    let is_part =
                        |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '+' | '-');
                    let end = text[at..].find(|c| !is_part(c)).map_or(text.len(), |more| at + more);
                    rest = end;
                    return Some((at, &text[at..end]));
                }
                _ => {}
            }
        }
        rest = text.len();
        None
    })
}

/// Any JSON of which no object has a name twice.
struct Strict(Json);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Reader).map(Self)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Json, E> {
        Ok(flag.into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Json, E> {
        Ok(number.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Json, E> {
        Ok(number.into())
    }

    fn visit_f64<E>(self, number: f64) -> Result<Json, E> {
        Ok(number.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut found = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            found.push(item);
        }
        Ok(found.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Json, A::Error> {
        let mut found = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            if found.contains_key(&name) {
                return Err(A::Error::custom(format!(
                    "the name {name:?} comes twice in an object"
                )));
            }
            let Strict(value) = fields.next_value()?;
            found.insert(name, value);
        }
        Ok(found.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_reads_the_same_again() {
        for text in [
            r#"{"a":[1,-2.5,null,true,"é\"-99999999999999999999\\"],"b":{}}"#,
            "18446744073709551615",
            "-9223372036854775808",
            "51.24817837550540",
            "1e300",
            "[]",
        ] {
            let kept = json(text).unwrap().to_string();
            assert_eq!(json(&kept), serde_json::from_str(text).map_err(|e| Wrong::of(text, &e)));
            let plain: f64 = text.parse().unwrap_or_default();
            assert_eq!(kept.parse().unwrap_or(0.0), plain, "{text}");
        }
    }

    #[test]
    fn what_would_change_is_refused_where_it_is() {
        for (text, at, part) in [
            (r#"{"é":"1","n":18446744073709551616}"#, 14, "18446744073709551616 does not fit 64"),
            ("[0, -9223372036854775809]", 4, "write it as a string"),
            (r#"{"a":1,"a":2}"#, 9, "\"a\" comes twice"),
            ("[1,\n  x]", 6, "expected value"),
            ("[1e999]", 5, "out of range"),
            ("1 2", 2, "trailing"),
            ("", 0, "EOF"),
        ] {
            let wrong = json(text).unwrap_err();
            assert!(wrong.problem.contains(part) && wrong.at == at, "{text}: {wrong:?}");
        }
        let long = json(&"9".repeat(200)).unwrap_err().problem;
        assert!(long.len() < 120 && long.contains('…'), "{long}");
    }

    #[test]
    fn places_are_lines_and_characters() {
        assert_eq!((place("ab", 0), place("éb", 2), place("é", 2)), ((1, 1), (1, 2), (1, 2)));
        assert_eq!(place("a\nbé\nc", 5), (2, 3));
    }
}
