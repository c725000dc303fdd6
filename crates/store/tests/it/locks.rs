//! Two processes and one directory.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::Child,
};

use peerage_store::{DirLock, LockError, OpenError, Store};

use crate::{child, child_dir, open};

/// The child.
fn hold(dir: &Path) {
    let _lock = DirLock::acquire(dir).unwrap();
    let _store = open(dir);
    eprintln!("held");
    // Ends when the parent closes the pipe, however it ends.
    let _ = std::io::stdin().read_line(&mut String::new());
}

fn holder(dir: &Path) -> Child {
    let test = "locks::the_second_process_is_told_who_holds_the_directory";
    let mut holder = child(test, dir).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(holder.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "held\n");
    holder
}

#[test]
fn the_second_process_is_told_who_holds_the_directory() {
    if let Some(dir) = child_dir() {
        return hold(&dir);
    }
    let dir = tempfile::tempdir().unwrap();
    let mut first = holder(dir.path());
    let error = DirLock::acquire(dir.path()).unwrap_err();
    let pid = first.id();
    assert!(matches!(&error, LockError::Held { pid: Some(held), .. } if *held == pid), "{error:?}");
    assert!(error.to_string().contains(&format!("process {pid}")), "{error}");
    let error = Store::open(dir.path()).unwrap_err();
    assert!(
        matches!(&error, OpenError::Locked { pid: Some(held), .. } if *held == pid),
        "{error:?}"
    );
    first.kill().unwrap();
    first.wait().unwrap();
    // Killed, not released: the lock goes with the process.
    let _lock = DirLock::acquire(dir.path()).unwrap();
    drop(open(dir.path()));
}

#[test]
fn a_store_opened_twice_in_one_process_is_refused_and_unharmed() {
    let dir = tempfile::tempdir().unwrap();
    let _lock = DirLock::acquire(dir.path()).unwrap();
    let first = open(dir.path());
    let error = Store::open(dir.path()).unwrap_err();
    assert!(matches!(error, OpenError::Locked { pid: None, .. }), "{error:?}");
    first.marks().get_blocking("a").unwrap();
    drop(first);
    drop(open(dir.path()));
}
