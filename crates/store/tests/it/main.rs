//! The store from outside, with files, processes and damage.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod crash;
mod damage;
mod durable;
mod full;
mod locks;
mod shrink;
mod versions;

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use peerage_store::{Opened, Store};

/// Opens a store that must not have been damaged.
fn open(dir: &Path) -> Store {
    let Opened { store, kept_aside } = Store::open(dir).unwrap();
    assert!(kept_aside.is_none(), "{}", kept_aside.unwrap());
    store
}

fn file(dir: &Path) -> PathBuf {
    dir.join("peerage.redb")
}

/// Names of the files set aside in `dir`.
fn kept(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.to_string_lossy().contains("redb.corrupt-")).collect()
}

/// The test of this binary named `test` in its role as a child: another process that works in `dir`
/// and reports on its standard error, which the test harness leaves alone.
fn child(test: &str, dir: &Path) -> Command {
    as_child(Command::new(std::env::current_exe().unwrap()), test, dir)
}

fn as_child(mut command: Command, test: &str, dir: &Path) -> Command {
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]);
    command.env(CHILD_DIR, dir).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

const CHILD_DIR: &str = "PEERAGE_STORE_CHILD_DIR";

/// The directory to work in, in a child; `None` in the test itself, which starts the children.
fn child_dir() -> Option<PathBuf> {
    std::env::var_os(CHILD_DIR).map(PathBuf::from)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap()
}
