//! Owned spaces: who is let in, and what they see.

use futures::AsyncWriteExt as _;
use peerage_api::{
    Failure as _,
    kv::{Access, Denial, LastRefusal, SpaceKind},
};
use peerage_types::Hlc;
use peerage_wire::kv::grant::{GrantId, Revocation, Rights, Signed};

use super::*;
use crate::grants::{Terms, founding};

/// The key of the space.
fn space_key() -> SigningKey {
    SigningKey::from_bytes(&[99; 32])
}

/// A space that the first peer owns, with entries under two prefixes.
async fn owner() -> (Peer, SpaceId) {
    let owner = peer(1).await;
    let first = founding(&space_key(), owner.replica.local().author);
    let space = SpaceId(space_key().verifying_key().to_bytes());
    join(&owner, space).await;
    owner.replica.add_grants(&space, vec![first.bytes().clone()], START).await.unwrap();
    let writes = (0..50).flat_map(|n| [put(format!("a/{n}"), n), put(format!("b/{n}"), n)]);
    write(&owner, space, writes.collect()).await;
    (owner, space)
}

async fn join(peer: &Peer, space: SpaceId) {
    peer.replica.join_space(space, SpaceKind::Joined, "ours".into(), START).await.unwrap();
}

async fn write(peer: &Peer, space: SpaceId, writes: Vec<Write>) {
    let signer = peer.replica.local().clone();
    peer.replica.apply(Space::Owned(space), &signer, writes, START).await.unwrap();
}

/// Grants something to a peer, which the owner knows and, if so said, the peer too.
async fn grant(owner: &Peer, space: SpaceId, to: &Peer, rights: Rights, prefix: &str) -> GrantId {
    let grants = owner.replica.grants(&space).unwrap();
    let to = to.replica.local().author.into();
    let terms = Terms { to, rights, prefix: prefix.into(), expires: None };
    // Another one than the same before.
    let nonce = [grants.all().len() as u8; 8];
    let made = grants.issue(&space_key(), None, terms, START, nonce).unwrap();
    owner.replica.add_grants(&space, vec![made.bytes().clone()], START).await.unwrap();
    made.id()
}

/// The owner takes a grant back; only the owner knows.
async fn revoke(owner: &Peer, space: SpaceId, grant: GrantId, at: Hlc) -> Bytes {
    let grants = owner.replica.grants(&space).unwrap();
    let revoked = grants.revoke(&space_key(), grant, at).unwrap().bytes().clone();
    owner.replica.add_grants(&space, vec![revoked.clone()], START).await.unwrap();
    revoked
}

/// A member that may do what the owner lets it do, and has everything.
async fn member(owner: &Peer, space: SpaceId) -> (Peer, GrantId) {
    let member = peer(2).await;
    join(&member, space).await;
    let given = grant(owner, space, &member, Rights::Write, "").await;
    assert!(meet_in(space, &member, owner).await.0.unwrap().equal);
    (member, given)
}

async fn try_write(peer: &Peer, space: SpaceId) -> Result<(), KvError> {
    let signer = peer.replica.local().clone();
    let write = vec![put("mine", 1)];
    peer.replica.apply(Space::Owned(space), &signer, write, START).await.map(drop)
}

async fn meet_in(
    space: SpaceId,
    one: &Peer,
    two: &Peer,
) -> (Result<Outcome, SessionError>, Result<Outcome, SessionError>) {
    let (left, right) = pipe();
    let met = tokio::join!(
        initiate(left, two.id, space, one.replica.clone(), || START),
        respond(right, one.id, two.replica.clone(), || START),
    );
    for peer in [one, two] {
        if peer.replica.resolve(Space::Owned(space)).is_ok() {
            assert_eq!(peer.replica.audit(&space).await, Ok(Vec::new()));
        }
    }
    met
}

async fn names(peer: &Peer, space: SpaceId) -> Vec<String> {
    let reader = peer.replica.local().author;
    let view = peer.replica.view(&space, &reader, START).await.unwrap();
    let (entries, _) = view.since(0, None, usize::MAX).await.unwrap();
    let mut names: Vec<_> = entries.iter().map(|it| it.signed.entry().key.to_string()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_stranger_is_refused_whoever_asks() {
    let (owner, space) = owner().await;
    let stranger = peer(2).await;
    let (first, second) = meet_in(space, &owner, &stranger).await;
    assert!(
        matches!(first, Err(SessionError::Refused { reason: Reason::NoSuchSpace })),
        "{first:?}"
    );
    assert!(!first.unwrap_err().is_misbehaviour() && !second.unwrap_err().is_misbehaviour());
    join(&stranger, space).await;
    let (first, second) = meet_in(space, &stranger, &owner).await;
    assert!(matches!(first, Err(SessionError::Refused { reason: Reason::NoGrant })), "{first:?}");
    assert!(matches!(second, Err(SessionError::Declined(Reason::NoGrant))), "{second:?}");
    let (first, _) = meet_in(space, &owner, &stranger).await;
    assert!(first.is_err());
    // Whoever asks shows what lets itself in, and nothing else.
    let member = peer(3).await;
    grant(&owner, space, &member, Rights::Write, "").await;
    let _ = meet_in(space, &owner, &stranger).await;
    assert_eq!(stranger.replica.grants(&space).unwrap().all().len(), 1);
}

#[tokio::test]
async fn who_was_granted_access_gets_the_grants_and_then_the_entries() {
    for owner_opens in [false, true] {
        let ((owner, space), member) = (owner().await, peer(2).await);
        join(&member, space).await;
        grant(&owner, space, &member, Rights::Write, "").await;
        let (first, second) = match owner_opens {
            true => meet_in(space, &owner, &member).await,
            false => meet_in(space, &member, &owner).await,
        };
        if owner_opens {
            // The member does not know yet that the owner may read.
            assert!(matches!(second, Err(SessionError::Declined(_)) | Ok(_)), "{second:?}");
            if first.is_err() {
                let (first, _) = meet_in(space, &member, &owner).await;
                assert!(first.unwrap().equal);
            }
        } else {
            assert!(first.unwrap().equal && second.unwrap().equal);
        }
        assert_eq!(names(&member, space).await.len(), 100);
        write(&member, space, vec![put("c", 1)]).await;
        let (first, _) = meet_in(space, &owner, &member).await;
        let first = first.unwrap();
        assert!(first.equal);
        assert_eq!(first.report.entries_in, 1);
        let (first, _) = meet_in(space, &owner, &member).await;
        assert!(bytes(&first.unwrap()) < 200);
    }
}

#[tokio::test]
async fn who_may_read_a_part_sees_nothing_else_and_may_write_it_if_granted() {
    let ((owner, space), reader, writer) = (owner().await, peer(2).await, peer(3).await);
    for (peer, rights) in [(&reader, Rights::Read), (&writer, Rights::Write)] {
        join(peer, space).await;
        grant(&owner, space, peer, rights, "a/").await;
        let (first, second) = meet_in(space, peer, &owner).await;
        assert!(first.unwrap().equal && second.unwrap().equal);
        let names = names(peer, space).await;
        assert!(names.len() == 50 && names.iter().all(|name| name.starts_with("a/")));
    }
    write(&writer, space, vec![put("a/new", 1), delete("a/1")]).await;
    write(&owner, space, vec![put("a/2", -1), put("b/2", -1)]).await;
    let (first, _) = meet_in(space, &owner, &writer).await;
    let first = first.unwrap();
    assert!(first.equal);
    // Of `a/1` each sends its version: fingerprints do not tell which is later.
    assert_eq!((first.report.entries_in, first.report.entries_out), (2, 2));
    assert!(names(&owner, space).await.contains(&"a/new".to_owned()));
    let (first, _) = meet_in(space, &owner, &writer).await;
    assert!(bytes(&first.unwrap()) < 200, "equal in what both may see");
    // From one reader to another: both know the grants.
    let (first, _) = meet_in(space, &reader, &writer).await;
    assert!(first.unwrap().equal);
    assert_eq!(names(&reader, space).await, names(&writer, space).await);
}

#[tokio::test]
async fn what_is_written_without_a_grant_does_not_travel() {
    let ((owner, space), reader) = (owner().await, peer(2).await);
    join(&reader, space).await;
    grant(&owner, space, &reader, Rights::Read, "").await;
    meet_in(space, &reader, &owner).await.0.unwrap();
    let signer = reader.replica.local().clone();
    let write = vec![put("mine", 1)];
    let error = reader.replica.apply(Space::Owned(space), &signer, write, START).await.unwrap_err();
    assert!(matches!(error, KvError::NoGrant { .. }), "{error}");
}

#[tokio::test]
async fn a_revocation_comes_before_the_entries_and_shuts_out() {
    let ((owner, space), member, other) = (owner().await, peer(2).await, peer(3).await);
    let mut given = Vec::new();
    for peer in [&member, &other] {
        join(peer, space).await;
        given.push(grant(&owner, space, peer, Rights::Write, "").await);
        meet_in(space, peer, &owner).await.0.unwrap();
    }
    meet_in(space, &member, &owner).await.0.unwrap();
    let grants = owner.replica.grants(&space).unwrap();
    let revoked = grants.revoke(&space_key(), given[0], peerage_types::Hlc::new(START, 9)).unwrap();
    owner.replica.add_grants(&space, vec![revoked.bytes().clone()], START).await.unwrap();
    let (first, _) = meet_in(space, &member, &owner).await;
    assert!(matches!(first, Err(SessionError::Refused { reason: Reason::NoGrant })), "{first:?}");
    // The other learns of it, and refuses too.
    assert!(meet_in(space, &other, &owner).await.0.unwrap().equal);
    let (first, _) = meet_in(space, &member, &other).await;
    assert!(matches!(first, Err(SessionError::Refused { reason: Reason::NoGrant })), "{first:?}");
}

#[tokio::test]
async fn grants_and_revocations_reach_the_other_side_whoever_opens_also_if_entries_are_equal() {
    for owner_opens in [false, true] {
        let (owner, space) = owner().await;
        let (member, _) = member(&owner, space).await;
        let third = peer(3).await;
        let of_third = grant(&owner, space, &third, Rights::Write, "").await;
        revoke(&owner, space, of_third, Hlc::new(START, 9)).await;
        let (one, two) = if owner_opens { (&owner, &member) } else { (&member, &owner) };
        let (first, second) = meet_in(space, one, two).await;
        assert!(first.unwrap().equal && second.unwrap().equal);
        let digest = |of: &Peer| of.replica.grants(&space).unwrap().digest();
        assert_eq!(digest(&owner), digest(&member));
        let (first, _) = meet_in(space, one, two).await;
        assert!(bytes(&first.unwrap()) < 200);
    }
}

#[tokio::test]
async fn who_was_revoked_is_told_by_whoever_refuses_it_and_writes_no_more() {
    for owner_opens in [false, true] {
        let (owner, space) = owner().await;
        let (member, given) = member(&owner, space).await;
        try_write(&member, space).await.unwrap();
        // By a clock that is ahead of that of the member.
        let ahead = START.plus(Duration::from_secs(1));
        revoke(&owner, space, given, Hlc::new(ahead, u16::MAX)).await;
        try_write(&member, space).await.unwrap();
        let (refused, refuses) = match owner_opens {
            false => meet_in(space, &member, &owner).await,
            true => {
                let (owner, member) = meet_in(space, &owner, &member).await;
                (member, owner)
            }
        };
        assert!(
            matches!(refused, Err(SessionError::Refused { reason: Reason::NoGrant })),
            "{refused:?}"
        );
        assert!(matches!(refuses, Err(SessionError::Declined(Reason::NoGrant))), "{refuses:?}");
        let replica = &member.replica;
        assert_eq!(replica.access(&space, START), (Access::Revoked, Some(ahead)));
        let error = try_write(&member, space).await.unwrap_err();
        assert!(matches!(error, KvError::Revoked { at_ms, .. } if at_ms == ahead), "{error:?}");
        assert!(error.is_refusal() && error.to_string().contains("kv space grant"), "{error}");
        for name in ["a/1", "mine"] {
            replica.get(Space::Owned(space), key(name), START).await.unwrap();
        }
        let refusal = LastRefusal { peer: owner.id, why: Denial::NoGrant, at_ms: START };
        assert_eq!(replica.last_refusal(&space), Some(refusal));
        let stats = replica.stats(Space::Owned(space)).await.unwrap();
        assert_eq!((stats.access, stats.last_refusal), (Access::Revoked, Some(refusal)));
        // Until it is let in again.
        grant(&owner, space, &member, Rights::Write, "").await;
        assert!(meet_in(space, &member, &owner).await.0.unwrap().equal);
        assert_eq!(replica.access(&space, START), (Access::Granted, None));
        assert_eq!(replica.last_refusal(&space), None);
    }
}

#[tokio::test]
async fn of_many_revocations_no_more_are_told_than_chains_are_shown_and_the_rest_later() {
    let (owner, space) = owner().await;
    let member = peer(2).await;
    join(&member, space).await;
    let mut given = Vec::new();
    for n in 0..12 {
        given.push(grant(&owner, space, &member, Rights::Read, &format!("{n:02}/")).await);
    }
    meet_in(space, &member, &owner).await.0.unwrap();
    for id in given {
        revoke(&owner, space, id, Hlc::new(START, 9)).await;
    }
    let revoked = || member.replica.grants(&space).unwrap().all().len() - 13;
    for told in [8, 12, 12] {
        meet_in(space, &member, &owner).await.0.unwrap_err();
        assert_eq!(revoked(), told);
    }
    assert_eq!(member.replica.access(&space, START).0, Access::Revoked);
}

/// A session of the member's with somebody who refuses it and then says that.
async fn refuse_with(member: &Peer, space: SpaceId, frames: &[Frame]) -> SessionError {
    let (ours, mut theirs) = pipe();
    let liar = signer(66).author.peer().unwrap();
    for frame in [&[Frame::Refused(Reason::NoGrant)], frames].concat() {
        theirs.write_all(&frame.encode()).await.unwrap();
    }
    theirs.close().await.unwrap();
    initiate(ours, liar, space, member.replica.clone(), || START).await.unwrap_err()
}

#[tokio::test]
async fn nobody_revokes_anything_by_refusing_who_could_not_revoke_it_otherwise() {
    let (owner, space) = owner().await;
    let (member, given) = member(&owner, space).await;
    let (liar, at) = (signer(66), Hlc::new(START, 9));
    let issuer = liar.key.verifying_key().to_bytes();
    let theirs = Revocation { space, grant: given, issuer, at };
    let theirs = Signed::sign(theirs, &liar.key).unwrap().bytes().clone();
    let real = revoke(&owner, space, given, at).await;
    let mut forged = real.to_vec();
    *forged.last_mut().unwrap() ^= 1;
    let other = SigningKey::from_bytes(&[98; 32]);
    let of_another = founding(&other, liar.author).bytes().clone();
    for record in [theirs, forged.into(), of_another] {
        let error = refuse_with(&member, space, &[Frame::Grants(vec![record])]).await;
        assert!(matches!(error, SessionError::Grant(_)) && error.is_misbehaviour(), "{error:?}");
    }
    let many = Frame::Grants(vec![real.clone(); crate::grants::MAX_SHOWN + 1]);
    let error = refuse_with(&member, space, &[many]).await;
    assert!(matches!(error, SessionError::TooMuch(_)), "{error:?}");
    let error = refuse_with(&member, space, &[Frame::Show]).await;
    assert!(matches!(error, SessionError::OutOfTurn), "{error:?}");
    let error = refuse_with(&member, space, &[]).await;
    assert!(matches!(error, SessionError::Refused { .. }), "{error:?}");
    assert_eq!(member.replica.access(&space, START).0, Access::Granted);
    try_write(&member, space).await.unwrap();
    // What the owner has signed counts, whoever tells it.
    let error = refuse_with(&member, space, &[Frame::Grants(vec![real])]).await;
    assert!(matches!(error, SessionError::Refused { .. }), "{error:?}");
    assert_eq!(member.replica.access(&space, START).0, Access::Revoked);
}

#[tokio::test]
async fn a_stranger_or_somebody_busy_does_not_hide_who_has_refused_a_space() {
    let (owner, space) = owner().await;
    let (stranger, third) = (peer(2).await, peer(3).await);
    join(&stranger, space).await;
    let why = || stranger.replica.last_refusal(&space).map(|last| (last.peer, last.why));
    assert_eq!(why(), None);
    assert_eq!(stranger.replica.access(&space, START), (Access::None, None));
    meet_in(space, &stranger, &third).await.0.unwrap_err();
    assert_eq!(why(), None);
    meet_in(space, &stranger, &owner).await.0.unwrap_err();
    meet_in(space, &stranger, &third).await.0.unwrap_err();
    let busy = LastRefusal { peer: third.id, why: Denial::Busy, at_ms: START };
    stranger.replica.on_refused(&space, busy);
    assert_eq!(why(), Some((owner.id, Denial::NoGrant)));
}

#[tokio::test]
async fn a_grant_that_is_none_is_misbehaviour() {
    let (owner, space) = owner().await;
    let (mut stream, theirs) = pipe();
    let id = signer(66).author.peer().unwrap();
    let served = tokio::spawn(respond(theirs, id, owner.replica.clone(), || START));
    let facts = Facts { floor: floor(START).0, grants: [1; 8], cursor: None, state: None };
    let mut forged = owner.replica.grants(&space).unwrap().all()[0].to_vec();
    // The key that it is given to.
    forged[40] ^= 1;
    for frame in [Frame::Hello { space, facts }, Frame::Grants(vec![forged.into()])] {
        futures::AsyncWriteExt::write_all(&mut stream, &frame.encode()).await.unwrap();
    }
    let error = served.await.unwrap().unwrap_err();
    assert!(matches!(error, SessionError::Grant(_)) && error.is_misbehaviour(), "{error:?}");
    let _ = Author::of_peer(&id);
}
