//! Passwords that are typed.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Write},
    process::{Child, Stdio},
};

use rustix::{
    fs::OFlags,
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, tcgetattr},
};

use crate::sandbox::Sandbox;

/// A process at a terminal, of which this is the other end.
struct Terminal {
    master: File,
    child: Child,
    seen: String,
}

impl Terminal {
    fn new(sandbox: &Sandbox, args: &[&str]) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let open = || {
            use std::os::unix::fs::OpenOptionsExt;
            let mut options = OpenOptions::new();
            options.read(true).write(true).custom_flags(OFlags::NOCTTY.bits().cast_signed());
            Stdio::from(options.open(&name).unwrap())
        };
        let mut command = sandbox.command(args);
        let child = command.stdin(open()).stderr(open()).spawn().unwrap();
        drop(command);
        Self { master: File::from(master), child, seen: String::new() }
    }

    /// Waits until the terminal shows `text`, which was not seen before.
    fn shows(&mut self, text: &str) {
        let mut buffer = [0; 256];
        let from = self.seen.len();
        while !self.seen[from..].contains(text) {
            let count = self.master.read(&mut buffer).unwrap();
            self.seen.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
        }
    }

    fn types(&mut self, line: &str) {
        self.master.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// Waits for the end; the exit code, what was shown, and stdout.
    fn end(&mut self) -> (Option<i32>, String, String) {
        let mut stdout = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
        let code = self.child.wait().unwrap().code();
        // The end of a terminal that nobody holds any more is an error.
        let mut rest = Vec::new();
        let _ = self.master.read_to_end(&mut rest);
        self.seen.push_str(&String::from_utf8_lossy(&rest));
        (code, std::mem::take(&mut self.seen), stdout)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

#[test]
fn a_password_that_is_typed_is_asked_for_twice_and_never_shown() {
    let sandbox = Sandbox::new();
    let _daemon = sandbox.up(&[]);
    let mut terminal = Terminal::new(&sandbox, &["user", "create", "--handle", "ada"]);
    terminal.shows("password: ");
    assert!(!tcgetattr(&terminal.master).unwrap().local_modes.contains(LocalModes::ECHO));
    terminal.types("hunter2");
    terminal.shows("again: ");
    terminal.types("hunter2");
    let (code, seen, stdout) = terminal.end();
    assert_eq!(code, Some(0), "{seen}");
    assert!(seen.contains("recovery1") && stdout.starts_with("user1"), "{seen}");
    assert!(!seen.contains("hunter2"), "{seen}");
    assert!(tcgetattr(&terminal.master).unwrap().local_modes.contains(LocalModes::ECHO));

    let mut terminal = Terminal::new(&sandbox, &["user", "login", "ada"]);
    terminal.shows("password: ");
    terminal.types("hunter2");
    let (code, seen, stdout) = terminal.end();
    assert_eq!(code, Some(0), "{seen}");
    assert!(!seen.contains("hunter2") && stdout.contains("is logged in"), "{stdout}");
}

#[test]
fn two_passwords_that_differ_make_no_user() {
    let sandbox = Sandbox::new();
    let _daemon = sandbox.up(&[]);
    let mut terminal = Terminal::new(&sandbox, &["user", "create", "--json"]);
    terminal.shows("password: ");
    terminal.types("hunter2");
    terminal.shows("again: ");
    terminal.types("hunter3");
    let (code, seen, stdout) = terminal.end();
    assert_eq!(code, Some(1), "{seen}");
    let error: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(error["error"]["code"], "no_secret");
    assert!(!seen.contains("hunter"), "{seen}");
}

#[test]
fn ctrl_c_at_a_prompt_leaves_a_terminal_that_shows_what_is_typed() {
    let sandbox = Sandbox::new();
    let _daemon = sandbox.up(&[]);
    let mut terminal = Terminal::new(&sandbox, &["user", "create"]);
    terminal.shows("password: ");
    // The terminal is not a controlling one, so that a key would send no signal.
    let pid = rustix::process::Pid::from_child(&terminal.child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let code = terminal.child.wait().unwrap().code();
    assert_eq!(code, Some(130));
    assert!(tcgetattr(&terminal.master).unwrap().local_modes.contains(LocalModes::ECHO));
}
