//! A service for the users of a daemon: it registers itself, learns who logs in, and counts and
//! greets them, with storage that is sealed for each user.
//!
//! ```text
//! peerage up --data DIR
//! cargo run -p peerage-examples --example visitor_book -- DIR
//! peerage user create --handle ada --data DIR
//! ```
//!
//! The service never sees a user's token: its own is enough while the user is logged in. What it
//! stores can be read with `peerage storage ls org.example.visitors --as USER`, and by no other
//! service.

use std::{
    env, fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use peerage::{
    Feeding, Node, Remote,
    services::{Event, Register},
    storage::StorageError,
    types::{ServiceName, Token, UserId},
    users::Auth,
};
use tokio::signal;

const NAME: &str = "org.example.visitors";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Some(dir) = env::args().nth(1).map(PathBuf::from) else {
        bail!("usage: visitor_book DIR (the data directory of a running daemon)");
    };
    let node = Remote::connect(&dir).await?;
    let token = register(&node, &dir.join("visitors.token")).await?;
    tokio::select! {
        served = serve(&node, &token) => served,
        stop = signal::ctrl_c() => Ok(stop?),
    }
}

/// Registers, the second time with the token of the first.
async fn register(node: &Node, file: &Path) -> anyhow::Result<Token> {
    let former = match fs::read_to_string(file) {
        Ok(text) => Some(text.trim().parse().context("the token file is damaged")?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error).context(format!("reading {}", file.display())),
    };
    let registered = node
        .services()
        .register(Register {
            name: name(),
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            description: Some("counts and greets whoever logs in".to_owned()),
            token: former,
        })
        .await?;
    // Whoever has the token can act for the service.
    let mut options = fs::OpenOptions::new();
    let mut to = options.write(true).create(true).truncate(true).mode(0o600).open(file)?;
    to.write_all(registered.token.to_text().as_bytes())?;
    Ok(registered.token)
}

async fn serve(node: &Node, token: &Token) -> anyhow::Result<()> {
    let mut users = node.services().watch(name(), token.clone()).await?;
    println!("serving as {NAME}");
    while let Some(event) = users.next().await {
        match event {
            Feeding::Item(Event::Opened { user }) => {
                let visits = count(node, token, user).await?;
                println!("{user}: welcome, visit {visits}");
            }
            Feeding::Item(Event::Closed { user }) => println!("{user}: goodbye"),
            Feeding::Lagged(missed) => println!("{missed} comings and goings were missed"),
        }
    }
    bail!("the node has stopped, or the connection to it broke")
}

/// Adds one, whoever else counts at the same time.
async fn count(node: &Node, token: &Token, user: UserId) -> anyhow::Result<u64> {
    let storage = node.storage(Auth::new(user, token.clone()), name());
    loop {
        let (visits, revision) = match storage.get("visits").await {
            Ok(entry) => (entry.value.as_text().unwrap_or("0").parse()?, entry.revision),
            Err(StorageError::NotFound { .. }) => (0, 0),
            Err(error) => return Err(error.into()),
        };
        let visits: u64 = visits;
        match storage.put("visits", (visits + 1).to_string(), Some(revision), None).await {
            Ok(_) => return Ok(visits + 1),
            Err(StorageError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn name() -> ServiceName {
    ServiceName::new(NAME).expect("a literal name")
}
