//! Passwords and recovery codes: from a file, a variable or a prompt, never from an argument.

use std::{
    fs::File,
    io::{self, IsTerminal, Read, Write},
    path::{Path, PathBuf},
    str::FromStr,
};

use peerage_api::types::{Password, RecoveryCode, SecretError};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::{Zeroize, Zeroizing};

use crate::{
    commands::Context,
    failed::{Exit, Failed},
    private,
};

/// The password of a user on this node.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct PasswordFile {
    /// File whose first line is the password [default: $PEERAGE_PASSWORD, or a prompt]
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

/// A password that takes the place of another.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct NewPasswordFile {
    /// File whose first line is the new password [default: $PEERAGE_NEW_PASSWORD, or a prompt]
    #[arg(long, value_name = "FILE")]
    new_password_file: Option<PathBuf>,
}

/// The password of an archive.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ArchivePasswordFile {
    /// File whose first line is the password of the archive [default: $PEERAGE_ARCHIVE_PASSWORD,
    /// or a prompt]
    #[arg(long, value_name = "FILE")]
    archive_password_file: Option<PathBuf>,
}

impl PasswordFile {
    /// The one that there is.
    pub(crate) async fn read(&self, context: Context<'_>) -> Result<Password, Failed> {
        self.source().take(context, false).await
    }

    /// One that is chosen now, so that a prompt asks twice.
    pub(crate) async fn choose(&self, context: Context<'_>) -> Result<Password, Failed> {
        self.source().take(context, true).await
    }

    fn source(&self) -> Source<'_> {
        let file = self.password_file.as_deref();
        Source { what: "password", flag: "--password-file", variable: "PEERAGE_PASSWORD", file }
    }
}

impl NewPasswordFile {
    /// A prompt asks twice.
    pub(crate) async fn choose(&self, context: Context<'_>) -> Result<Password, Failed> {
        let (flag, variable) = ("--new-password-file", "PEERAGE_NEW_PASSWORD");
        let file = self.new_password_file.as_deref();
        Source { what: "new password", flag, variable, file }.take(context, true).await
    }
}

impl ArchivePasswordFile {
    /// The one that there is.
    pub(crate) async fn read(&self, context: Context<'_>) -> Result<Password, Failed> {
        self.source().take(context, false).await
    }

    /// One that is chosen now, so that a prompt asks twice.
    pub(crate) async fn choose(&self, context: Context<'_>) -> Result<Password, Failed> {
        self.source().take(context, true).await
    }

    fn source(&self) -> Source<'_> {
        let (flag, variable) = ("--archive-password-file", "PEERAGE_ARCHIVE_PASSWORD");
        let file = self.archive_password_file.as_deref();
        Source { what: "password of the archive", flag, variable, file }
    }
}

/// The recovery code in a file, or typed.
pub(crate) async fn recovery(
    context: Context<'_>,
    file: Option<&Path>,
) -> Result<RecoveryCode, Failed> {
    let (flag, variable) = ("--recovery-file", "PEERAGE_RECOVERY");
    Source { what: "recovery code", flag, variable, file }.take(context, false).await
}

/// Where a secret may come from.
struct Source<'a> {
    what: &'static str,
    flag: &'static str,
    variable: &'static str,
    file: Option<&'a Path>,
}

impl Source<'_> {
    async fn take<T>(&self, context: Context<'_>, twice: bool) -> Result<T, Failed>
    where
        T: FromStr<Err = SecretError>,
    {
        let text = match (self.file, given(self.variable)?) {
            (Some(path), _) => from_file(context, path).await?,
            (None, Some(text)) => text,
            (None, None) => self.ask(twice).await?,
        };
        let what = self.what;
        text.parse()
            .map_err(|error| Failed::new(Exit::Failed, "bad_secret", format!("{what}: {error}")))
    }

    async fn ask(&self, twice: bool) -> Result<Zeroizing<String>, Failed> {
        let Self { what, flag, variable, .. } = self;
        if !has_terminal() {
            let text = format!(
                "no {what}: give {flag} FILE or ${variable}; there is no terminal to ask on"
            );
            return Err(Failed::new(Exit::Failed, "no_secret", text));
        }
        let _silence = Silence::new()?;
        let text = answer(&format!("{what}: ")).await?;
        if twice && *answer(&format!("{what}, again: ")).await? != *text {
            let text = format!("the two are not the same; choose the {what} again");
            return Err(Failed::new(Exit::Failed, "no_secret", text));
        }
        Ok(text)
    }
}

/// Whether somebody sits there to answer.
pub(crate) fn has_terminal() -> bool {
    io::stdin().is_terminal()
}

/// Asks for yes or no; nothing if nobody sits there.
pub(crate) async fn confirm(question: &str) -> Result<Option<bool>, Failed> {
    if !has_terminal() {
        return Ok(None);
    }
    let text = answer(&format!("{question} [y/N] ")).await?;
    Ok(Some(matches!(text.trim().to_ascii_lowercase().as_str(), "y" | "yes")))
}

/// A variable; an empty one is as good as none.
fn given(variable: &str) -> Result<Option<Zeroizing<String>>, Failed> {
    match std::env::var(variable) {
        Ok(text) if text.is_empty() => Ok(None),
        Ok(text) => Ok(Some(Zeroizing::new(text))),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => Err(not_text(&format!("${variable}"))),
    }
}

/// The first line of a file; a pipe is fine too.
async fn from_file(context: Context<'_>, path: &Path) -> Result<Zeroizing<String>, Failed> {
    let place = path.to_owned();
    let read = tokio::task::spawn_blocking(move || first_line(&place));
    let read = read.await.map_err(anyhow::Error::from)?;
    let (line, open) = read.map_err(|error| private::unread(path, &error))?;
    if open {
        let name = path.display();
        context.out.note(format_args!("others can read {name}; close it: chmod 600 {name}"));
    }
    text(line, &path.display().to_string())
}

/// Longest line that is read, in bytes; a terminal gives no longer ones.
const MAX_LINE: usize = 4096;

fn first_line(path: &Path) -> io::Result<(Zeroizing<Vec<u8>>, bool)> {
    let file = File::open(path)?;
    let open = private::is_open(&file)?;
    // Room for all, so that no copy is left behind by growing.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_LINE + 1));
    file.take(MAX_LINE as u64).read_to_end(&mut bytes)?;
    cut(&mut bytes);
    Ok((bytes, open))
}

/// Cuts off the line end and what comes after.
fn cut(bytes: &mut Vec<u8>) {
    if let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
        bytes[end..].zeroize();
        bytes.truncate(end);
        bytes.truncate(end - usize::from(bytes.ends_with(b"\r")));
    }
}

fn text(bytes: Zeroizing<Vec<u8>>, place: &str) -> Result<Zeroizing<String>, Failed> {
    let text = std::str::from_utf8(&bytes).map(str::to_owned);
    text.map(Zeroizing::new).map_err(|_| not_text(place))
}

fn not_text(place: &str) -> Failed {
    Failed::new(Exit::Failed, "bad_secret", format!("what {place} holds is not UTF-8 text"))
}

/// A line typed at the terminal. Read without a buffer, which would keep it.
async fn answer(question: &str) -> Result<Zeroizing<String>, Failed> {
    let mut stderr = io::stderr();
    write!(stderr, "{question}").and_then(|()| stderr.flush())?;
    let read = tokio::task::spawn_blocking(|| {
        let mut line = Zeroizing::new(vec![0; MAX_LINE]);
        let count = rustix::io::retry_on_intr(|| rustix::io::read(io::stdin(), &mut line[..]))?;
        line.truncate(count);
        Ok::<_, io::Error>(line)
    });
    let mut line = read.await.map_err(anyhow::Error::from)??;
    if line.is_empty() {
        return Err(Failed::new(Exit::Failed, "no_secret", "nothing was typed"));
    }
    cut(&mut line);
    text(line, "the terminal")
}

/// A terminal that does not show what is typed, until this is dropped.
struct Silence {
    before: Termios,
}

impl Silence {
    fn new() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        // The line end is shown, so that what follows begins on a new line.
        silent.local_modes.insert(LocalModes::ECHONL);
        tcsetattr(io::stdin(), OptionalActions::Now, &silent)?;
        Ok(Self { before })
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        // A terminal that has gone needs nothing.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_the_first_line_without_its_end() {
        for (file, line) in [
            (&b"pass word\n"[..], &b"pass word"[..]),
            (b"dos\r\n", b"dos"),
            (b"one\ntwo\n", b"one"),
            (b"no end", b"no end"),
            (b" kept \n", b" kept "),
            (b"\n", b""),
            (b"", b""),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("secret");
            std::fs::write(&path, file).unwrap();
            assert_eq!(first_line(&path).unwrap().0.as_slice(), line);
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_not_repeated() {
        let error = text(Zeroizing::new(b"secret\xff".to_vec()), "f").unwrap_err();
        let Failed::Because(reason) = error else { panic!("no reason") };
        assert!(reason.message.contains('f') && !reason.message.contains("secret"));
    }
}
