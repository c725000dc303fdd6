//! What a person is told when this node may not do something in a space, and what can be done.

use std::time::Duration;

use peerage_api::{
    kv::{Access, KvError, LastRefusal, SpaceInfo},
    types::{Author, Space, SpaceId, UnixMillis},
};
use tokio::time::timeout;

use super::store::Store;
use crate::{
    failed::Failed,
    output::{printable, since},
};

/// How the remedy is named where it is not known for whom.
const REMEDY: &str = "`peerage kv space grant`";

/// How long a node that has joined a space is given to get something of it.
const FIRST_CONTACT: Duration = Duration::from_secs(3);

/// Whether a grant would cure an error, and if so, whether it must be one to write.
fn cure(failed: &Failed) -> Option<bool> {
    let writes = || failed.field("what")?.as_str()?.strip_prefix("write ").map(|_| true);
    match failed.code()? {
        "no_grant" | "revoked" => writes(),
        "refused" | "refused_by_all" => Some(false),
        _ => None,
    }
}

/// Who has refused, when and why.
pub(super) fn told(last: &LastRefusal) -> String {
    format!("{} refused {}: {}", last.peer, since(last.at_ms), last.why)
}

/// What this node may do, if that is nothing.
pub(super) fn denied(access: Access, revoked: Option<UnixMillis>) -> Option<String> {
    match access {
        Access::Granted => None,
        Access::None => Some("none yet".to_owned()),
        Access::Ended => Some("ended".to_owned()),
        Access::Revoked => {
            Some(revoked.map_or("revoked".to_owned(), |at| format!("revoked {}", since(at))))
        }
    }
}

/// A name in a sentence.
fn called(name: &str) -> String {
    let name = printable(name);
    if name.contains(' ') { format!("'{name}'") } else { name }
}

/// Why there may be nothing in a space, and what to do about it; nothing if all is well.
fn why_empty(space: &SpaceInfo, grant: &str) -> Option<String> {
    let last = space.last_refusal.as_ref().map(told);
    let name = called(&space.name);
    let why = match (space.access, &last) {
        (Access::Granted, None) => return None,
        (Access::Granted, Some(last)) => return Some(format!("{name} is empty here: {last}")),
        (Access::None, _) => format!("this node has no grant for {name}"),
        (Access::Ended, _) => format!("the grant of this node for {name} has ended"),
        (Access::Revoked, _) => format!("the access of this node to {name} was taken back"),
    };
    let last = last.map(|last| format!("; {last}")).unwrap_or_default();
    Some(format!("{why}{last}\nits owner lets you in with: {grant}"))
}

impl Store<'_> {
    /// The command by which an owner grants access to whoever acts here.
    pub(super) async fn grant_command(&self, space: SpaceId, write: bool) -> Option<String> {
        let to = match &self.acting {
            Some(acting) => Author::User(acting.user),
            None => self.local().await?,
        };
        let rights = if write { "--write" } else { "--read" };
        Some(format!("peerage kv space grant {space} --to {to} {rights}"))
    }

    /// This node, as grants name it.
    async fn local(&self) -> Option<Author> {
        let id = self.desk.context.within("no answer", self.desk.node.id()).await.ok()?;
        Author::of_peer(&id.peer_id)
    }

    /// Names the space of an error as it is called here, and who is to be granted what.
    pub(super) async fn explained(&self, failed: Failed, space: Option<Space>) -> Failed {
        let of_error = || failed.field("space")?.as_str()?.parse().ok();
        let Some(Space::Owned(id)) = space.or_else(of_error) else { return failed };
        let failed = self.named(failed, id).await;
        let Some(write) = cure(&failed).filter(|_| failed.says(REMEDY)) else { return failed };
        match self.grant_command(id, write).await {
            Some(grant) => failed.say(REMEDY, &format!("`{grant}`")),
            None => failed,
        }
    }

    async fn named(&self, failed: Failed, id: SpaceId) -> Failed {
        let text = id.to_string();
        if !failed.says(&text) {
            return failed;
        }
        let all = self.desk.context.within("no answer", self.spaces().list()).await;
        let all: Vec<SpaceInfo> = all.unwrap_or_default();
        let name = all.iter().find(|space| space.space == Some(id)).map(|space| &space.name);
        let is_only = |name: &&String| all.iter().filter(|space| space.name == **name).count() == 1;
        match name.filter(is_only) {
            Some(name) => failed.say(&text, &called(name)),
            None => failed,
        }
    }

    /// Says on stderr why there is nothing in a space, if this node is kept from it.
    pub(super) async fn note_if_kept_out(&self, space: Space) -> Result<(), Failed> {
        let Space::Owned(id) = space else { return Ok(()) };
        let shown = self.ask(self.spaces().show(space)).await?;
        if shown.entries > 0 || (shown.access == Access::Granted && shown.last_refusal.is_none()) {
            return Ok(());
        }
        let grant = self.grant_command(id, false).await.unwrap_or_default();
        if let Some(why) = why_empty(&shown, &grant) {
            self.desk.context.out.note(why);
        }
        Ok(())
    }

    /// Says on stderr how a space was joined, once this node has tried to get something of it.
    pub(super) async fn note_joined(&self, space: &SpaceInfo) {
        let out = self.desk.context.out;
        let name = called(&space.name);
        if space.access == Access::Granted {
            return out.note(format_args!("joined {name}; its entries come by themselves"));
        }
        let Some(id) = space.space else { return };
        let grant = self.grant_command(id, false).await.unwrap_or_default();
        let why = match (space.access, space.last_refusal.as_ref().map(told)) {
            (Access::Revoked, _) => "its grant was taken back".to_owned(),
            (Access::Ended, _) => "the time of its grant is over".to_owned(),
            (_, Some(refused)) => refused,
            (_, None) => "it has no grant, and no connected peer has the space".to_owned(),
        };
        out.note(format_args!("joined {name}, but this node may not read it: {why}"));
        out.note(format_args!("its owner lets you in with: {grant} (or --write)"));
        match &self.acting {
            Some(_) => out.note("then join again, with the ticket that this prints"),
            None => out.note("then its entries come by themselves"),
        }
    }

    /// Tries to get something of a space that was just joined, and tells how it is then.
    pub(super) async fn first_contact(&self, joined: SpaceInfo) -> SpaceInfo {
        let Some(id) = joined.space else { return joined };
        let within = FIRST_CONTACT.min(self.desk.context.timeout());
        let kv = self.desk.node.kv(Space::Owned(id));
        // How it went is kept by the node, whether or not this waits to the end.
        let _: Result<Result<_, KvError>, _> = timeout(within, kv.sync(None)).await;
        let spaces = self.spaces();
        let shown = self.desk.context.within("no answer", spaces.show(Space::Owned(id))).await;
        shown.unwrap_or(joined)
    }
}
