//! Users of our nodes.

use std::{fs::OpenOptions, io::Write, os::unix::fs::OpenOptionsExt};

use anyhow::Result;

use crate::{Node, foreign::text};

impl Node {
    /// Makes a user on this node; returns its id, `user1…`.
    ///
    /// # Errors
    /// As [`Node::run`].
    pub async fn create_user(&self, handle: &str) -> Result<String> {
        let path = self.data().join("password");
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        writeln!(file, "only for this test")?;
        let file = path.to_string_lossy();
        let created =
            self.run(&["user", "create", "--handle", handle, "--password-file", &file]).await?;
        text(&created, "user")
    }
}
