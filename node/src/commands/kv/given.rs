//! Values as they are given: on the command line, in a file, or by stdin.

use std::{
    fs::File,
    io::{self, IsTerminal, Read},
    path::PathBuf,
};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use peerage_api::kv::{Value, ValueKind};

use super::exact;
use crate::{
    failed::{Exit, Failed},
    output::Output,
    private,
};

/// More than any node takes, so that the node's own limit answers.
const MAX_GIVEN_BYTES: u64 = 1 << 28;

/// A value and where it comes from.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Given {
    /// The value; from stdin if absent or -
    #[arg(allow_negative_numbers = true)]
    value: Option<String>,
    /// What it is: string, int, float, bytes or json [default: string]
    #[arg(
        long = "type",
        value_name = "TYPE",
        default_value = "string",
        hide_default_value = true,
        hide_possible_values = true,
        value_parser = kind()
    )]
    kind: ValueKind,
    /// The value is what is in this file
    #[arg(long, value_name = "FILE", conflicts_with = "value")]
    file: Option<PathBuf>,
}

fn kind() -> impl TypedValueParser<Value = ValueKind> {
    PossibleValuesParser::new(["string", "int", "float", "bytes", "json"]).map(|text| {
        match text.as_str() {
            "int" => ValueKind::Int,
            "float" => ValueKind::Float,
            "bytes" => ValueKind::Bytes,
            "json" => ValueKind::Json,
            _ => ValueKind::String,
        }
    })
}

impl Given {
    /// The value. What stdin and files hold is taken as it is, line ends included.
    pub(super) async fn value(self, out: Output) -> Result<Value, Failed> {
        let Self { value, kind, file } = self;
        let wrong = |exit| move |problem: String| Failed::new(exit, "bad_value", problem);
        match (value.filter(|text| text != "-"), file) {
            (Some(text), _) => read(kind, text.into_bytes()).map_err(wrong(Exit::Usage)),
            (None, Some(path)) => {
                let place = path.clone();
                let bytes = blocking(move || bounded(File::open(place)?)).await?;
                let bytes = bytes.map_err(|error| private::unread(&path, &error))?;
                read(kind, bytes).map_err(wrong(Exit::Failed))
            }
            (None, None) => {
                if io::stdin().is_terminal() {
                    out.note("type the value; end with ctrl-D");
                }
                let bytes = blocking(|| bounded(io::stdin().lock())).await??;
                read(kind, bytes).map_err(wrong(Exit::Failed))
            }
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failed> {
    Ok(tokio::task::spawn_blocking(work).await.map_err(anyhow::Error::from)?)
}

fn bounded(from: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(MAX_GIVEN_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A value of that type; an error says what it must look like.
fn read(kind: ValueKind, bytes: Vec<u8>) -> Result<Value, String> {
    if kind == ValueKind::Bytes {
        return Ok(Value::Bytes(bytes.into()));
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| format!("the value is not UTF-8 text, so no {kind}; give --type bytes"))?;
    let shown = || text.trim().chars().take(40).collect::<String>();
    match kind {
        ValueKind::Int => match text.trim().parse() {
            Ok(number) => Ok(Value::Int(number)),
            Err(_) => Err(format!("{:?} is not a whole number of 64 bits", shown())),
        },
        ValueKind::Float => match text.trim().parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Value::Float(number)),
            _ => Err(format!("{:?} is not a finite number such as 0.5", shown())),
        },
        ValueKind::Json => exact::json(&text).map(Value::Json).map_err(|wrong| {
            let (line, column) = exact::place(&text, wrong.at);
            let problem = wrong.problem;
            format!("the value is not JSON to keep: line {line}, column {column}: {problem}")
        }),
        ValueKind::String | ValueKind::Bytes => Ok(Value::String(text)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn given(kind: ValueKind, text: &str) -> Result<Value, String> {
        read(kind, text.as_bytes().to_vec())
    }

    #[test]
    fn a_value_is_read_as_the_type_says() {
        use ValueKind::{Bytes, Float, Int, Json, String};
        assert_eq!(given(String, "5\n"), Ok(Value::from("5\n")));
        assert_eq!(given(Int, " -5\n"), Ok(Value::Int(-5)));
        assert_eq!(given(Int, "-9223372036854775808"), Ok(Value::Int(i64::MIN)));
        assert_eq!(given(Float, "1e3\n"), Ok(Value::Float(1000.0)));
        assert_eq!(given(Json, "{\"a\": null}\n"), Ok(Value::Json(json!({ "a": null }))));
        assert_eq!(given(Bytes, "é"), Ok(Value::Bytes("é".into())));
        assert_eq!(read(Bytes, vec![255]), Ok(Value::Bytes(vec![255].into())));
    }

    #[test]
    fn what_does_not_fit_its_type_is_told() {
        use ValueKind::{Float, Int, Json, String};
        for (kind, text, part) in [
            (Int, "5.0", "whole number"),
            (Int, "9223372036854775808", "64 bits"),
            (Int, "", "whole number"),
            (Float, "nan", "finite"),
            (Float, "1e999", "finite"),
            (Json, "{a}", "not JSON to keep: line 1, column 2: key must be"),
            (Json, "1\n 2", "line 2, column 2: trailing"),
            (
                Json,
                "[9223372036854775807, 99999999999999999999]",
                "column 23: 99999999999999999999",
            ),
        ] {
            let problem = given(kind, text).unwrap_err();
            assert!(problem.contains(part), "{problem}");
        }
        assert!(read(String, vec![255]).unwrap_err().contains("--type bytes"));
    }
}
