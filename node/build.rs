//! Has the linker pack relocations where that can be loaded: 3 MB less of an idle node's memory.
//!
//! A program with packed relocations (`DT_RELR`) needs glibc 2.36. The one of this machine tells
//! whether that is at hand; `PEERAGE_PLAIN_RELOCATIONS=1` builds for older systems on a newer one.

use std::{env, process::Command};

const OPT_OUT: &str = "PEERAGE_PLAIN_RELOCATIONS";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed={OPT_OUT}");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    let native = env::var("HOST").ok() == env::var("TARGET").ok();
    let gnu = is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu");
    // What is built without optimisation is not for use, and links faster as it is.
    let release = is("PROFILE", "release");
    if native && gnu && release && env::var_os(OPT_OUT).is_none() && is_recent() {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// Whether this machine's glibc is 2.36 or newer.
fn is_recent() -> bool {
    let output = Command::new("getconf").arg("GNU_LIBC_VERSION").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let version = text.ok().and_then(|text| {
        let (major, minor) = text.trim().strip_prefix("glibc ")?.split_once('.')?;
        Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
    });
    version.is_some_and(|version| version >= (2, 36))
}
