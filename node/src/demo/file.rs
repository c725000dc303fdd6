//! The step of the demo in which a file is sent.

use std::path::Path;

use peerage_api::files::{self, Event, FilesError, State, Transfer};
use serde_json::json;

use super::{Actor, Story, ended};
use crate::{
    failed::{Exit, Failed},
    output::{bytes, took},
};

/// Enough to be more than one piece, little enough for a slow machine.
const SIZE: usize = 5_000_000;

/// Cleo offers a file, Ben takes it, and both copies are compared.
pub(super) async fn send(story: &mut Story, ben: &Actor, cleo: &Actor) -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let (source, inbox) = (dir.path().join("recipe.bin"), dir.path().join("inbox"));
    std::fs::create_dir(&inbox)?;
    std::fs::write(&source, content())?;
    let mut offers = ben.node().files().events(None).await?;
    let request = files::Send::new(vec![source.clone()], ben.id);
    let id = cleo.node().files().send(request).await?.transfer;
    let asked = |event: &Event| {
        matches!(event, Event::State { transfer }
        if transfer.transfer == id && transfer.state == State::Asked)
    };
    while !asked(&offers.item().await.ok_or_else(ended)?) {}
    let text = format!("Cleo offered Ben a file of {}", bytes(SIZE as u64));
    story.tell("offer", &text, &json!({ "transfer": id }))?;
    ben.node().files().accept(id, Some(inbox)).await?;
    let (to, from) = (ben.node().files(), cleo.node().files());
    let (got, given): (Result<Transfer, FilesError>, _) = tokio::join!(to.wait(id), from.wait(id));
    let (got, _) = (got?, given?);
    verify(&source, got.paths.first().ok_or_else(differs)?)?;
    let text = format!("Ben took it in {}; it is the same, byte for byte", took(got.seconds.0));
    let hash = got.hash.map(|hash| hash.to_string());
    let details = json!({
        "transfer": id, "hash": hash, "bytes": got.bytes, "seconds": got.seconds, "path": got.path,
    });
    story.tell("file", &text, &details)
}

/// Bytes that repeat nowhere.
fn content() -> Vec<u8> {
    let mut word = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        word.to_le_bytes()
    };
    std::iter::repeat_with(next).flatten().take(SIZE).collect()
}

fn verify(source: &Path, copy: &Path) -> Result<(), Failed> {
    match std::fs::read(source)? == std::fs::read(copy)? {
        true => Ok(()),
        false => Err(differs()),
    }
}

fn differs() -> Failed {
    Failed::new(Exit::Failed, "differs", "the file that Ben received is not the one Cleo sent")
}
