//! The toolchains of the foreign peers: installed once, and loudly missed.

use std::{
    io::Write,
    process::{Command, Stdio},
    sync::OnceLock,
};

use anyhow::{Context, Result, bail};

use crate::Kind;

/// What a skip is turned into a failure by.
const REQUIRE_ALL: &str = "PEERAGE_REQUIRE_ALL";

/// `setup`'s exit codes for: no node, no python3, packages cannot be installed, no Redis, no go.
const ABSENT: std::ops::RangeInclusive<i32> = 20..=24;

/// Whether what a test needs is there; `missing` says why not.
///
/// With `PEERAGE_REQUIRE_ALL=1` in the environment a miss is an error, otherwise a line
/// `SKIPPED …` on stderr, past the capture of the test runner.
///
/// # Errors
/// `missing`, if everything is required.
pub fn require_all(missing: Option<&str>) -> Result<bool> {
    let Some(missing) = missing else { return Ok(true) };
    if std::env::var_os(REQUIRE_ALL).is_some_and(|v| v == "1") {
        bail!("{missing}, and {REQUIRE_ALL}=1 forbids to skip");
    }
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    // One write, or the lines of tests that run at the same time mingle.
    std::io::stderr().write_all(format!("SKIPPED {test}: {missing}\n").as_bytes())?;
    Ok(false)
}

/// Runs `setup` for `kind`, once in the life of this process. `Some` says what is missing.
pub(crate) fn missing(kind: Kind) -> Result<Option<&'static str>> {
    static JS: OnceLock<Result<Option<String>, String>> = OnceLock::new();
    static PY: OnceLock<Result<Option<String>, String>> = OnceLock::new();
    static GO: OnceLock<Result<Option<String>, String>> = OnceLock::new();
    let once = match kind {
        Kind::Js => &JS,
        Kind::Py => &PY,
        Kind::Go => &GO,
    };
    match once.get_or_init(|| set_up(kind.as_str()).map_err(|e| format!("{e:#}"))) {
        Ok(missing) => Ok(missing.as_deref()),
        Err(fault) => bail!("{fault}"),
    }
}

/// Runs `setup` for a toolchain or a server that it names, as often as it is called. `Some` says
/// what is missing.
///
/// # Errors
/// `setup` does not start, or fails otherwise; with what it said.
pub fn set_up(what: &str) -> Result<Option<String>> {
    let output = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/setup"))
        .arg(what)
        .stdin(Stdio::null())
        .output()
        .context("interop-tests/setup does not start")?;
    let said = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(0) => Ok(None),
        Some(code) if ABSENT.contains(&code) => {
            Ok(Some(said.lines().last().unwrap_or_default().to_owned()))
        }
        _ => bail!("setup {what} ended with {}: {said}", output.status),
    }
}
