//! The same work done by `sendme`, of iroh.

use std::{
    fs,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
    time::timeout,
};

use super::{Row, check, fresh, row, warm};

const PATIENCE: Duration = Duration::from_secs(300);

pub(super) fn is_installed() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join("sendme").is_file())
}

/// From the start of the sender to the end of the receiver.
pub(super) async fn one_file(home: &Path, file: &Path) -> anyhow::Result<Row> {
    let (send, receive) = (fresh(home, "rival-send")?, fresh(home, "rival-receive")?);
    warm(home, file)?;
    let begin = Instant::now();
    let mut sender = Command::new("sendme")
        .args(["send", "--relay", "disabled", "--ticket-type", "addresses"])
        .arg(file)
        .current_dir(&send)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let mut lines = BufReader::new(sender.stdout.take().context("its output")?).lines();
    let ticket = timeout(PATIENCE, async {
        loop {
            let Some(line) = lines.next_line().await? else { bail!("sendme ended early") };
            if let Some(ticket) = line.trim().strip_prefix("sendme receive ") {
                return Ok(ticket.to_owned());
            }
        }
    });
    let ticket = ticket.await??;
    let receiver = Command::new("sendme")
        .args(["receive", "--relay", "disabled", &ticket])
        .current_dir(&receive)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?
        .wait_with_output();
    let received = timeout(PATIENCE, receiver).await??;
    let seconds = begin.elapsed().as_secs_f64();
    ensure!(received.status.success(), "sendme receive: {}", received.status);
    sender.kill().await?;
    let name = file.file_name().context("a file has a name")?;
    check(file, &receive.join(name))?;
    let bytes = fs::metadata(file)?.len();
    Ok(row("the same by sendme".to_owned(), bytes, seconds, None))
}
