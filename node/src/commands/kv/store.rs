//! Which space a command is about, and on whose behalf.

use peerage_api::{
    kv::{Kv, KvError, SpaceInfo, Spaces},
    types::{Space, SpaceId},
    users::Auth,
};

use super::super::{
    Context,
    acting::{Acting, Desk},
};
use crate::{
    failed::{Exit, Failed},
    output::printable,
};

/// The space of a command.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Place {
    /// The space: default, an id, or the name it has on this node
    #[arg(long, value_name = "SPACE", default_value = DEFAULT)]
    space: String,
}

impl Place {
    /// As it was given.
    pub(super) fn name(&self) -> &str {
        &self.space
    }
}

/// The name of the space that belongs to the network.
const DEFAULT: &str = "default";

/// What the ids of spaces begin with; a name that does is an id that was not copied whole.
const ID_BEGINS: &str = "space1";

/// Spaces that an error lists.
const MAX_LISTED: usize = 20;

/// The key-value store of the daemon. A user acts only when `--as` says so: otherwise the node
/// signs, whoever is logged in.
#[derive(Debug)]
pub(super) struct Store<'a> {
    pub(super) desk: Desk<'a>,
    pub(super) acting: Option<Acting<'a>>,
}

impl<'a> Store<'a> {
    pub(super) async fn new(context: Context<'a>) -> Result<Self, Failed> {
        let desk = Desk::new(context).await?;
        let acting = match context.global.acting {
            Some(_) => Some(desk.clone().act().await?),
            None => None,
        };
        Ok(Self { desk, acting })
    }

    /// What questions on a user's behalf carry.
    pub(super) fn auth(&self) -> Option<Auth> {
        self.acting.as_ref().map(Acting::auth)
    }

    pub(super) fn spaces(&self) -> Spaces {
        self.desk.node.spaces()
    }

    /// The space of a command, ready for questions.
    pub(super) async fn open(&self, place: &Place) -> Result<Kv, Failed> {
        Ok(self.on(self.space(place.name()).await?))
    }

    /// A space, ready for questions.
    pub(super) fn on(&self, space: Space) -> Kv {
        let kv = self.desk.node.kv(space);
        match self.auth() {
            Some(auth) => kv.acting(auth),
            None => kv,
        }
    }

    /// The space that is meant.
    pub(super) async fn space(&self, text: &str) -> Result<Space, Failed> {
        match text.parse() {
            Ok(space) => Ok(space),
            Err(_) if text.starts_with(ID_BEGINS) => {
                let text = "that is not a space id: copy it whole, it begins with `space1`";
                Err(Failed::new(Exit::Failed, "bad_space", text))
            }
            Err(_) => named(text, &self.ask(self.spaces().list()).await?),
        }
    }

    /// The space that is meant, which somebody must own.
    pub(super) async fn owned(&self, text: &str) -> Result<SpaceId, Failed> {
        match self.space(text).await? {
            Space::Owned(id) => Ok(id),
            Space::Default => {
                let text = "the default space belongs to every member of the network: it is \
                    neither granted nor left; make one of your own with `peerage kv space create`";
                Err(Failed::new(Exit::Failed, "default_space", text))
            }
        }
    }

    /// Waits for an answer as long as `--timeout` says.
    pub(super) async fn ask<T>(
        &self,
        question: impl Future<Output = Result<T, KvError>>,
    ) -> Result<T, Failed> {
        let answer = match &self.acting {
            Some(acting) => acting.ask(question).await,
            None => self.desk.context.within("no answer", question).await,
        };
        match answer {
            Ok(answer) => Ok(answer),
            Err(failed) => Err(self.explained(failed, None).await),
        }
    }
}

/// The one space of that name.
fn named(name: &str, spaces: &[SpaceInfo]) -> Result<Space, Failed> {
    let called: Vec<_> = spaces.iter().filter(|space| space.name == name).collect();
    let name = printable(name);
    match called[..] {
        [one] => Ok(one.space.map_or(Space::Default, Space::Owned)),
        [] => {
            let text = format!(
                "this node has no space {name}; it has {}; `peerage kv space join` joins one",
                listed(spaces.iter())
            );
            Err(Failed::new(Exit::Failed, "unknown_space", text).about("spaces", ids(spaces)))
        }
        _ => {
            let text = format!(
                "{name} can mean several spaces: {}; name one by id",
                listed(called.iter().copied())
            );
            let ids = ids(called.iter().copied());
            Err(Failed::new(Exit::Failed, "ambiguous", text).about("spaces", ids))
        }
    }
}

fn id(space: &SpaceInfo) -> String {
    space.space.map_or_else(|| DEFAULT.to_owned(), |id| id.to_string())
}

fn ids<'s>(spaces: impl IntoIterator<Item = &'s SpaceInfo>) -> Vec<String> {
    spaces.into_iter().map(id).collect()
}

fn listed<'s>(spaces: impl Iterator<Item = &'s SpaceInfo>) -> String {
    let one = |space: &SpaceInfo| match space.space {
        Some(id) => format!("{} ({id})", printable(&space.name)),
        None => DEFAULT.to_owned(),
    };
    let shown: Vec<_> = spaces.take(MAX_LISTED).map(one).collect();
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use peerage_api::kv::{Access, SpaceKind};

    use super::*;

    fn space(id: Option<u8>, name: &str) -> SpaceInfo {
        SpaceInfo {
            space: id.map(|byte| SpaceId([byte; 32])),
            name: name.to_owned(),
            kind: SpaceKind::Joined,
            rights: None,
            access: Access::None,
            revoked_ms: None,
            last_refusal: None,
            entries: 0,
            bytes: 0,
            grants: vec![],
        }
    }

    fn problem(name: &str, spaces: &[SpaceInfo]) -> (String, String) {
        match named(name, spaces).unwrap_err() {
            Failed::Because(reason) => (reason.code, reason.message),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_space_is_found_by_the_one_name_it_has_here() {
        let spaces = [
            space(None, "default"),
            space(Some(1), "team"),
            space(Some(2), "x"),
            space(Some(3), "x"),
        ];
        assert_eq!(named("team", &spaces).unwrap(), Space::Owned(SpaceId([1; 32])));
        let (code, message) = problem("Team", &spaces);
        assert_eq!(code, "unknown_space");
        assert!(message.contains("default, team (space1"), "{message}");
        let (code, message) = problem("x", &spaces);
        assert_eq!(code, "ambiguous");
        assert!(message.contains(&SpaceId([3; 32]).to_string()), "{message}");
        assert!(!message.contains("team"), "{message}");
    }
}
