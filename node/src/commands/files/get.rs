//! `get`: fetches what a ticket or a published path names.

use std::path::{Path, PathBuf};

use peerage_api::files::{self, Wanted};

use super::{
    super::{Context, peers},
    Going, begun,
    dest::Dest,
    follow::Follow,
    new_id,
};
use crate::failed::Failed;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  peerage get peeragefile1…                        into the current folder
  peerage get peeragefile1… ~/downloads            into that folder
  peerage get peeragefile1… other-name.pdf         under that name
  peerage get 12D3KooW…:photos/2024 --share        and share it with others

What was fetched of an earlier attempt is not fetched again. --timeout is for finding somebody who
has it; the transfer itself takes what it takes and goes on in the background when this command
ends: see `peerage transfers`.")]
pub(crate) struct Args {
    /// A ticket of `peerage share`, or a path in a folder that a peer has published
    #[arg(value_name = "TICKET|PEER:PATH", value_parser = wanted)]
    wanted: Wanted,
    /// An existing folder, or the new name of the content [default: the current folder]
    #[arg(value_name = "DEST", default_value = ".", hide_default_value = true)]
    dest: PathBuf,
    /// Share it with others once it is complete
    #[arg(long)]
    share: bool,
    #[command(flatten)]
    pub(crate) going: Going,
}

fn wanted(text: &str) -> Result<Wanted, String> {
    match text.split_once(':') {
        Some((peer, path)) => match (peers::peer(peer), path) {
            (Err(_), _) | (_, "") => Err("expected a ticket, which begins with peeragefile1, or \
                 PEER:NAME/PATH with a full peer id"
                .to_owned()),
            (Ok(peer), path) => Ok(Wanted::Published { peer, path: path.to_owned() }),
        },
        // Pasted text may be broken into lines.
        None => Ok(Wanted::Ticket(text.split_whitespace().collect())),
    }
}

/// What to call it while nothing is known of it.
fn name(wanted: &Wanted) -> String {
    match wanted {
        Wanted::Ticket(_) => String::new(),
        Wanted::Published { path, .. } => path.clone(),
    }
}

pub(in super::super) async fn run(context: Context<'_>, args: Args) -> Result<(), Failed> {
    let Args { wanted, dest, share, going } = args;
    let Dest { into, name: rename } = Dest::of(Path::new(&dest))?;
    let name = name(&wanted);
    let node = context.node().await?;
    let (files, id) = (node.files(), new_id());
    let request = files::Get {
        name: rename,
        transfer: Some(id),
        limit_bps: going.limit,
        share,
        patient: going.no_wait,
        ..files::Get::new(wanted, Some(into))
    };
    let get = context.within("no answer", files.get(request));
    if going.no_wait {
        return begun(context, &get.await?);
    }
    let follow = Follow::new(context, &files, id, going.events).await?;
    get.await?;
    follow.named(name).patient(context.timeout()).until_over().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_colon_is_a_published_path_and_anything_else_a_ticket() {
        let peer = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA";
        let published = wanted(&format!("{peer}:photos/a b:c")).unwrap();
        let path = "photos/a b:c".to_owned();
        assert_eq!(published, Wanted::Published { peer: peer.parse().unwrap(), path });
        assert_eq!(
            wanted(" peeragefile1ab\n  cd\n").unwrap(),
            Wanted::Ticket("peeragefile1abcd".into())
        );
        for wrong in ["nobody:photos", "C:\\photos", &format!("{peer}:")] {
            assert!(wanted(wrong).unwrap_err().contains("full peer id"), "{wrong}");
        }
    }
}
