//! To whom files go: a node, or whichever node a user is logged in on.

use peerage_api::{
    peers::Peer,
    types::PeerId,
    users::{User, UsersError},
};

use super::super::{
    Context,
    acting::Desk,
    peers,
    who::{self, Named},
};
use crate::{
    failed::{Exit, Failed},
    output::since,
};

/// A node or a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum To {
    Peer(PeerId),
    User(Named),
}

/// What the peer ids of these nodes begin with; no user is called so.
const PEER_BEGINS: &str = "12D3Koo";

impl To {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match peers::peer(text) {
            Ok(peer) => Ok(Self::Peer(peer)),
            Err(wrong) if text.starts_with(PEER_BEGINS) => Err(wrong),
            Err(_) => who::named(text).map(Self::User),
        }
    }

    /// The node.
    pub(super) async fn node(&self, context: Context<'_>) -> Result<PeerId, Failed> {
        match self {
            Self::Peer(peer) => Ok(*peer),
            Self::User(named) => of_user(&Desk::new(context).await?, named).await,
        }
    }
}

/// A node where the user is logged in, by choice one that is connected.
async fn of_user(desk: &Desk<'_>, named: &Named) -> Result<PeerId, Failed> {
    let (context, node) = (desk.context, &desk.node);
    let acting = desk.may_act().await?;
    let user = match named {
        Named::Id(user) => *user,
        Named::Called { .. } => desk.find(named, acting.as_ref()).await?,
    };
    if let Some(acting) = acting
        && acting.has_blocked(user).await?
    {
        let text = format!(
            "you have blocked {user}; lift that with `peerage contact unblock {user}`, or name a node \
             with --to PEER"
        );
        return Err(Failed::new(Exit::Failed, "blocked", text));
    }
    let known = context.within("no answer", node.users().get(user)).await?;
    let own = context.within("no answer", node.id()).await?.peer_id;
    let connected = context.within("no answer", node.peers().list()).await?;
    choose(&known, own, &connected)
}

fn choose(user: &User, own: PeerId, connected: &[Peer]) -> Result<PeerId, Failed> {
    let id = user.user;
    if user.revoked || user.successor.is_some() {
        return Err(UsersError::Revoked { user: id, successor: user.successor }.into());
    }
    let others = || user.nodes.iter().filter(|node| **node != own);
    let near = others().find(|node| connected.iter().any(|peer| peer.peer_id == **node));
    near.or_else(|| others().next()).copied().ok_or_else(|| {
        let state = match (user.nodes.is_empty(), user.last_seen_ms) {
            (false, _) => "is logged in on this node alone".to_owned(),
            (true, None) => "is not logged in anywhere that is known".to_owned(),
            (true, Some(then)) => format!("is not logged in anywhere; last seen {}", since(then)),
        };
        let text = format!("{id} {state}; name a node with --to PEER, or try again later");
        Failed::new(Exit::Failed, "offline", text)
    })
}

#[cfg(test)]
mod tests {
    use peerage_api::types::{UnixMillis, UserId};

    use super::*;

    fn user(nodes: Vec<PeerId>) -> User {
        User {
            user: UserId([1; 32]),
            handle: None,
            display_name: None,
            bio: [].into(),
            avatar: None,
            services: [].into(),
            mailboxes: [].into(),
            seq: 0,
            updated_ms: UnixMillis(0),
            local: false,
            online: !nodes.is_empty(),
            nodes,
            last_seen_ms: None,
            revoked: false,
            successor: None,
        }
    }

    fn connected(peer_id: PeerId) -> Peer {
        Peer {
            peer_id,
            connections: vec![],
            rtt_ms: None,
            agent: None,
            connected_s: 0,
            protected: false,
            sources: vec![],
        }
    }

    fn code(outcome: Result<PeerId, Failed>) -> String {
        match outcome {
            Err(Failed::Because(reason)) => reason.code,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn files_go_to_a_connected_node_of_the_user_or_else_to_any_other() {
        let [own, far, near] = [(); 3].map(|()| PeerId::random());
        let here = user(vec![own, far, near]);
        assert_eq!(choose(&here, own, &[connected(near)]).unwrap(), near);
        assert_eq!(choose(&here, own, &[]).unwrap(), far);
        for alone in [user(vec![own]), user(vec![])] {
            assert_eq!(code(choose(&alone, own, &[])), "offline");
        }
        let moved = User { successor: Some(UserId([2; 32])), ..here };
        assert_eq!(code(choose(&moved, own, &[connected(near)])), "revoked");
    }

    #[test]
    fn what_begins_like_a_peer_id_is_no_user() {
        let peer = PeerId::random();
        assert_eq!(To::parse(&peer.to_string()), Ok(To::Peer(peer)));
        assert!(matches!(To::parse("@ada"), Ok(To::User(_))));
        let wrong = To::parse("12D3KooWhalf").unwrap_err();
        assert!(wrong.contains("full peer id"), "{wrong}");
    }
}
