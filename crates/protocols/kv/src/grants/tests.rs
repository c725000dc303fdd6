use bytes::Bytes;
use ed25519_dalek::SigningKey;
use peerage_api::kv;
use peerage_types::{Author, Hlc, SpaceId, UnixMillis, UserId};
use peerage_wire::kv::{
    grant::{
        Grant, GrantId, Grantee, RecordError, Revocation, Rights, Signed, Statement, space_key,
    },
    ticket::{Holder, SpaceTicket},
};

use super::*;

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

fn key(number: u32) -> SigningKey {
    SigningKey::from_bytes(&blake3::derive_key("test key", &number.to_be_bytes()))
}

fn public(key: &SigningKey) -> [u8; 32] {
    key.verifying_key().to_bytes()
}

fn node(number: u32) -> Author {
    Author::Node(public(&key(number)))
}

fn user(number: u32) -> Author {
    Author::User(UserId(public(&key(number))))
}

fn later(ms: u64) -> UnixMillis {
    UnixMillis(NOW.0 + ms)
}

fn at(ms: u64) -> Hlc {
    Hlc::new(later(ms), 0)
}

fn terms(to: impl Into<Grantee>, rights: Rights, prefix: &str) -> Terms {
    Terms { to: to.into(), rights, prefix: prefix.into(), expires: None }
}

/// A space whose key is number 0, with its owner, node 1.
struct Fixture {
    grants: Grants,
    owner: GrantId,
    nonce: u64,
}

fn founded() -> Fixture {
    let mut grants = Grants::new(SpaceId(public(&key(0))));
    let first = founding(&key(0), node(1));
    assert_eq!(grants.insert(first.bytes().clone()), Ok(Inserted::New));
    Fixture { grants, owner: first.id(), nonce: 0 }
}

impl Fixture {
    /// Key number `by` passes on what it has by `parent`.
    fn give(&mut self, by: u32, parent: GrantId, terms: Terms) -> Result<GrantId, GrantError> {
        self.issue(by, Some(parent), terms)
    }

    fn issue(
        &mut self,
        by: u32,
        parent: Option<GrantId>,
        terms: Terms,
    ) -> Result<GrantId, GrantError> {
        self.nonce += 1;
        let grant = self.grants.issue(&key(by), parent, terms, NOW, self.nonce.to_be_bytes())?;
        assert_eq!(self.grants.insert(grant.bytes().clone()), Ok(Inserted::New));
        Ok(grant.id())
    }

    /// As [`Fixture::give`], but signed and inserted as a peer that breaks the rules would.
    fn force(&mut self, by: u32, parent: GrantId, terms: Terms) -> Result<Inserted, GrantError> {
        let Terms { to, rights, prefix, expires } = terms;
        let (space, issuer, parent) = (self.grants.space, public(&key(by)), Some(parent));
        let grant =
            Grant { space, to, issuer, rights, prefix, at: NOW, expires, parent, nonce: [9; 8] };
        self.grants.insert(Signed::sign(grant, &key(by)).unwrap().bytes().clone())
    }

    fn revoke(&mut self, by: u32, grant: GrantId, when: Hlc) -> Result<Inserted, GrantError> {
        let revocation = self.grants.revoke(&key(by), grant, when)?;
        self.grants.insert(revocation.bytes().clone())
    }
}

#[test]
fn the_owner_may_do_everything_and_nobody_else_anything() {
    let it = founded().grants;
    assert!(it.may_write(&node(1), "any/key", Hlc(0)) && it.may_write(&node(1), "", Hlc::MAX));
    assert_eq!(it.readable(&node(1), NOW), Some(vec![String::new()]));
    assert_eq!(it.rights(&node(1), NOW), Some(kv::Rights::Write));
    assert!(!it.may_write(&node(2), "any/key", at(0)));
    assert_eq!((it.readable(&node(2), NOW), it.rights(&node(2), NOW)), (None, None));
    assert_eq!(it.chain_for(&node(2), NOW), None);
}

#[test]
fn a_node_and_a_user_with_the_same_key_share_nothing() {
    let mut it = founded();
    it.give(1, it.owner, terms(user(2), Rights::Write, "")).unwrap();
    assert!(it.grants.may_write(&user(2), "k", at(0)));
    assert!(
        !it.grants.may_write(&node(2), "k", at(0)) && !it.grants.may_write(&user(1), "k", at(0))
    );
    assert_eq!(it.grants.readable(&node(2), NOW), None);
}

#[test]
fn a_space_that_is_made_again_begins_with_the_same_grant() {
    let space = space_key(&key(1), "notes");
    assert_eq!(founding(&space, node(1)), founding(&space, node(1)));
}

#[test]
fn a_grant_is_for_its_rights_keys_and_time() {
    let mut it = founded();
    let until = Terms { expires: Some(later(5)), ..terms(user(2), Rights::Write, "a/") };
    it.give(1, it.owner, until).unwrap();
    it.give(1, it.owner, terms(user(2), Rights::Read, "b")).unwrap();
    let it = it.grants;
    let counted = Hlc::new(later(5), u16::MAX);
    assert!(it.may_write(&user(2), "a/1", at(0)) && it.may_write(&user(2), "a/1", counted));
    assert!(!it.may_write(&user(2), "a/1", at(6)), "its time is over");
    assert!(!it.may_write(&user(2), "a", at(0)) && !it.may_write(&user(2), "b", at(0)));
    assert_eq!(it.readable(&user(2), later(5)), Some(vec!["a/".into(), "b".into()]));
    assert_eq!(it.readable(&user(2), later(6)), Some(vec!["b".into()]));
    assert_eq!(it.rights(&user(2), later(5)), Some(kv::Rights::Write));
    assert_eq!(it.rights(&user(2), later(6)), Some(kv::Rights::Read));
}

#[test]
fn prefixes_within_others_are_not_listed() {
    let mut it = founded();
    for prefix in ["b", "a/b", "a/", "a/b/c", "ab"] {
        it.give(1, it.owner, terms(user(2), Rights::Read, prefix)).unwrap();
    }
    let prefixes = ["a/", "ab", "b"].map(String::from);
    assert_eq!(it.grants.readable(&user(2), NOW), Some(prefixes.into()));
}

#[test]
fn nobody_gives_more_than_they_have() {
    let mut it = founded();
    let limited = Terms { expires: Some(later(5)), ..terms(user(2), Rights::Read, "a/") };
    let parent = it.give(1, it.owner, limited.clone()).unwrap();
    let mut widens = |change: fn(&mut Terms), error| {
        let mut wider = Terms { to: user(3).into(), ..limited.clone() };
        change(&mut wider);
        assert_eq!(it.force(2, parent, wider.clone()), Err(error));
        assert!(it.give(2, parent, wider).is_err());
    };
    widens(|it| it.rights = Rights::Write, GrantError::Widens("rights"));
    widens(|it| it.prefix = "a".into(), GrantError::Widens("keys"));
    widens(|it| it.prefix = "b/".into(), GrantError::Widens("keys"));
    widens(|it| it.expires = Some(later(6)), GrantError::Widens("time"));
    widens(|it| it.expires = None, GrantError::Widens("time"));
    let same = Terms { to: user(3).into(), ..limited };
    assert_eq!(it.force(4, parent, same.clone()), Err(GrantError::Issuer));
    assert_eq!(it.force(2, it.owner, same.clone()), Err(GrantError::Issuer));
    assert_eq!(it.force(2, GrantId([9; 16]), same.clone()), Err(GrantError::Unknown));
    assert_eq!(it.force(2, parent, same), Ok(Inserted::New));
}

#[test]
fn a_chain_ends_after_four_links() {
    let mut it = founded();
    let mut parent = it.owner;
    for number in 1..MAX_CHAIN as u32 {
        parent = it.give(number, parent, terms(node(number + 1), Rights::Write, "")).unwrap();
    }
    let last = MAX_CHAIN as u32;
    assert!(it.grants.may_write(&node(last), "k", at(0)));
    let more = terms(node(last + 1), Rights::Write, "");
    assert_eq!(it.give(last, parent, more.clone()), Err(GrantError::TooLong));
    assert_eq!(it.force(last, parent, more.clone()), Err(GrantError::TooLong));
    assert_eq!(it.grants.best_to_delegate(node(last).into(), &more, NOW), None);
    assert!(it.grants.to_pass_on(node(last).into(), more.to, NOW).is_empty());
    let chain = it.grants.chain_for(&node(last), NOW).unwrap();
    assert_eq!(chain.len(), MAX_CHAIN);
    let mut there = Grants::new(it.grants.space);
    chain.into_iter().for_each(|record| _ = there.insert(record).unwrap());
    assert!(there.may_write(&node(last), "k", at(0)));
}

#[test]
fn revoking_a_middle_link_ends_what_is_below_it_from_then_on() {
    let mut it = founded();
    let middle = it.give(1, it.owner, terms(user(2), Rights::Write, "")).unwrap();
    let below = it.give(2, middle, terms(user(3), Rights::Write, "")).unwrap();
    let beside = it.give(1, it.owner, terms(user(4), Rights::Write, "")).unwrap();
    for (by, grant) in
        [(2, middle), (3, below), (4, below), (2, it.owner), (1, it.owner), (5, middle)]
    {
        assert_eq!(it.revoke(by, grant, at(0)), Err(GrantError::NotTheirs), "{by} {grant}");
    }
    assert_eq!(it.revoke(1, middle, at(10)), Ok(Inserted::New));
    for who in [user(2), user(3)] {
        assert!(it.grants.may_write(&who, "k", at(10)), "what was written before stays");
        assert!(!it.grants.may_write(&who, "k", Hlc(at(10).0 + 1)));
        assert_eq!((it.grants.readable(&who, NOW), it.grants.rights(&who, NOW)), (None, None));
        assert_eq!(it.grants.chain_for(&who, NOW), None);
    }
    assert!(it.grants.may_write(&user(4), "k", at(20)));
    let shown = |id| it.grants.shown(&id).unwrap().revoked_ms;
    assert_eq!(
        [shown(middle), shown(below), shown(beside)],
        [Some(later(10)), Some(later(10)), None]
    );
    // What is given again is another grant.
    it.give(1, it.owner, terms(user(2), Rights::Write, "")).unwrap();
    assert!(
        it.grants.may_write(&user(2), "k", at(20)) && !it.grants.may_write(&user(3), "k", at(20))
    );
}

#[test]
fn of_two_revocations_the_earlier_counts_whichever_comes_first() {
    let mut one = founded();
    let grant = one.give(1, one.owner, terms(user(2), Rights::Write, "")).unwrap();
    let early = one.grants.revoke(&key(1), grant, at(5)).unwrap().bytes().clone();
    let late = one.grants.revoke(&key(0), grant, at(9)).unwrap().bytes().clone();
    let mut two = one.grants.clone();
    let mut one = one.grants;
    assert_eq!(
        [one.insert(early.clone()), one.insert(late.clone())],
        [Ok(Inserted::New), Ok(Inserted::Known)]
    );
    assert_eq!([two.insert(late), two.insert(early)], [Ok(Inserted::New); 2]);
    assert!(!one.may_write(&user(2), "k", at(6)) && !two.may_write(&user(2), "k", at(6)));
    assert_eq!((one.digest(), one.all()), (two.digest(), two.all()));
}

#[test]
fn forged_and_foreign_records_are_refused_and_replayed_ones_known() {
    let mut it = founded();
    let parent = it.give(1, it.owner, terms(user(2), Rights::Read, "")).unwrap();
    let before = (it.grants.digest(), it.grants.all());
    let fresh =
        it.grants.issue(&key(1), Some(it.owner), terms(user(3), Rights::Read, ""), NOW, [5; 8]);
    let mut forged = fresh.unwrap().bytes().to_vec();
    *forged.last_mut().unwrap() ^= 1;
    let signature = Err(GrantError::Record(RecordError::Signature));
    assert_eq!(it.grants.insert(forged.into()), signature);
    assert_eq!(it.grants.insert(Bytes::new()), Err(GrantError::Record(RecordError::Malformed)));
    let foreign = founding(&key(7), node(1));
    assert_eq!(it.grants.insert(foreign.bytes().clone()), Err(GrantError::Space));
    let unknown = Revocation {
        space: it.grants.space,
        grant: GrantId([1; 16]),
        issuer: public(&key(0)),
        at: at(0),
    };
    let unknown = Signed::sign(unknown, &key(0)).unwrap();
    assert_eq!(it.grants.insert(unknown.bytes().clone()), Err(GrantError::Unknown));
    let usurped = Revocation { grant: it.owner, issuer: public(&key(2)), ..(*unknown).clone() };
    let usurped = Signed::sign(usurped, &key(2)).unwrap();
    assert_eq!(it.grants.insert(usurped.bytes().clone()), Err(GrantError::NotTheirs));
    assert_eq!((it.grants.digest(), it.grants.all()), before);
    it.revoke(1, parent, at(0)).unwrap();
    for record in it.grants.all() {
        assert_eq!(it.grants.insert(record), Ok(Inserted::Known));
    }
}

#[test]
fn a_known_record_with_another_signature_changes_nothing() {
    let mut it = founded();
    let mut bytes = it.grants.all()[0].to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    let before = it.grants.all();
    assert_eq!(it.grants.insert(bytes.into()), Ok(Inserted::Known));
    assert_eq!(it.grants.all(), before);
}

#[test]
fn nobody_takes_the_places_of_others() {
    let mut it = founded();
    let greedy = it.issue(0, None, terms(user(2), Rights::Write, "")).unwrap();
    let shill = it.give(2, greedy, terms(user(3), Rights::Write, "")).unwrap();
    // What is made below a grant counts for its issuer too.
    let mut made = 1;
    while it.give(3, shill, terms(node(100 + made), Rights::Read, "")).is_ok() {
        made += 1;
    }
    assert_eq!(made as usize, MAX_PER_ISSUER);
    let more = terms(node(9), Rights::Read, "");
    assert_eq!(it.give(2, greedy, more.clone()), Err(GrantError::TooMany));
    // Others fill what is left for those who are not the owner, and no more.
    let mut left = MAX_DELEGATED - MAX_PER_ISSUER;
    for number in [4, 5, 6] {
        let parent = it.issue(0, None, terms(user(number), Rights::Write, "")).unwrap();
        while it.give(number, parent, more.clone()).is_ok() {
            left -= 1;
        }
    }
    assert_eq!((left, it.give(1, it.owner, more.clone())), (0, Err(GrantError::TooMany)));
    // The key of the space still has its own: of them the owner's, and those of users 2, 4, 5 and 6.
    for number in 5..MAX_PER_ISSUER as u32 {
        it.issue(0, None, terms(user(1000 + number), Rights::Write, "")).unwrap();
    }
    assert_eq!(it.issue(0, None, more), Err(GrantError::TooMany));
    assert_eq!(it.grants.list().len(), MAX_GRANTS);
    // Even then a grant can be taken back.
    assert_eq!(it.revoke(0, greedy, at(0)), Ok(Inserted::New));
    let (again, refused) = Grants::load(it.grants.space, it.grants.all().into_iter().rev());
    assert_eq!((again.digest(), refused), (it.grants.digest(), 0));
}

#[test]
fn the_best_grant_to_pass_on_is_the_one_that_reaches_farthest() {
    let mut it = founded();
    let far = it.give(1, it.owner, terms(user(2), Rights::Write, "")).unwrap();
    let far = it.give(2, far, terms(user(3), Rights::Write, "")).unwrap();
    let short = Terms { expires: Some(later(5)), ..terms(user(3), Rights::Write, "a/") };
    let short = it.give(1, it.owner, short).unwrap();
    let near = it.give(1, it.owner, terms(user(3), Rights::Read, "a/")).unwrap();
    let best = |terms: &Terms, now| it.grants.best_to_delegate(user(3).into(), terms, now);
    let until = |ms, terms| Terms { expires: Some(later(ms)), ..terms };
    assert_eq!(best(&terms(node(4), Rights::Read, "a/1"), NOW), Some(near));
    assert_eq!(best(&terms(node(4), Rights::Write, "a/1"), NOW), Some(far));
    assert_eq!(best(&until(5, terms(node(4), Rights::Write, "a/1")), NOW), Some(short));
    assert_eq!(best(&until(5, terms(node(4), Rights::Write, "a/1")), later(6)), Some(far));
    assert_eq!(best(&terms(node(4), Rights::Read, "b"), NOW), Some(far));
    let other = terms(node(4), Rights::Read, "");
    assert_eq!(it.grants.best_to_delegate(user(4).into(), &other, NOW), None);
}

#[test]
fn a_user_passes_on_to_its_node_what_that_lacks_and_no_more() {
    let mut it = founded();
    let wide = it.give(1, it.owner, terms(user(2), Rights::Read, "")).unwrap();
    let narrow = Terms { expires: Some(later(5)), ..terms(user(2), Rights::Write, "a/") };
    let narrow = it.give(1, it.owner, narrow).unwrap();
    it.give(1, it.owner, terms(user(2), Rights::Read, "b/")).unwrap();
    let lacks = |it: &Fixture| it.grants.to_pass_on(user(2).into(), node(3).into(), NOW);
    let missing = lacks(&it);
    assert_eq!(missing.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [wide, narrow]);
    for (parent, terms) in missing {
        it.give(2, parent, terms).unwrap();
    }
    assert_eq!(lacks(&it), []);
    assert!(
        it.grants.may_write(&node(3), "a/1", at(0)) && !it.grants.may_write(&node(3), "b/1", at(0))
    );
    assert_eq!(it.grants.readable(&node(3), later(6)), Some(vec![String::new()]));
}

#[test]
fn who_has_a_ticket_can_join_and_everybody_believes_it() {
    let mut it = founded();
    let secret = key(50);
    let invite = Grantee::Invite(public(&secret));
    let limited = Terms { expires: Some(later(9)), ..terms(node(0), Rights::Write, "a/") };
    let id = it.give(1, it.owner, Terms { to: invite, ..limited }).unwrap();
    let grants = it.grants.chain_of(&id).unwrap();
    let (space, name) = (it.grants.space, "notes".into());
    let holder = Holder::Anyone(secret.clone());
    let ticket = SpaceTicket { space, name, holder, grants, peers: vec![] };
    let ticket = SpaceTicket::decode(&ticket.encode().unwrap()).unwrap();

    let mut there = Grants::new(ticket.space);
    for grant in &ticket.grants {
        assert_eq!(there.insert(grant.bytes().clone()), Ok(Inserted::New));
    }
    let (parent, terms) = there.to_pass_on(invite, node(6).into(), NOW).remove(0);
    let mine = there.issue(&secret, Some(parent), terms, NOW, [3; 8]).unwrap();
    there.insert(mine.bytes().clone()).unwrap();
    assert!(there.may_write(&node(6), "a/1", at(9)) && !there.may_write(&node(6), "a/1", at(10)));
    for record in there.chain_for(&node(6), NOW).unwrap() {
        it.grants.insert(record).unwrap();
    }
    assert_eq!(it.grants.readable(&node(6), NOW), Some(vec!["a/".into()]));
    let shown = it.grants.shown(&mine.id()).unwrap();
    assert_eq!((shown.to, shown.by, shown.parent), (Some(node(6)), None, Some(id.to_string())));
    // A ticket that was taken back is worth nothing, also for those who came by it.
    it.revoke(1, id, at(1)).unwrap();
    assert_eq!(it.grants.rights(&node(6), NOW), None);
    assert!(it.grants.to_pass_on(invite, node(7).into(), NOW).is_empty());
}

#[test]
fn what_is_shown_to_a_peer_is_bounded_and_covers_most() {
    let mut it = founded();
    for number in 0..20 {
        it.give(1, it.owner, terms(user(2), Rights::Read, &format!("{number:02}/"))).unwrap();
    }
    assert_eq!(it.grants.chain_for(&user(2), NOW).unwrap().len(), 1 + MAX_SHOWN);
    it.give(1, it.owner, terms(user(2), Rights::Read, "")).unwrap();
    assert_eq!(it.grants.chain_for(&user(2), NOW).unwrap().len(), 2, "that one is all it takes");
}

#[test]
fn a_request_is_for_a_time_from_now() {
    let request = kv::GrantRequest {
        to: user(2),
        rights: kv::Rights::Write,
        prefix: "a".into(),
        ttl_ms: Some(7),
    };
    let until = Terms { expires: Some(later(7)), ..terms(user(2), Rights::Write, "a") };
    assert_eq!(Terms::requested(&request, NOW), until);
    let endless = kv::GrantRequest { ttl_ms: Some(u64::MAX), ..request };
    assert_eq!(Terms::requested(&endless, NOW).expires, Some(UnixMillis(u64::MAX)));
}

#[test]
fn a_grant_that_breaks_a_bound_is_not_issued() {
    let it = founded();
    let long = terms(user(2), Rights::Read, &"p".repeat(1025));
    let refused = it.grants.issue(&key(1), Some(it.owner), long, NOW, [0; 8]);
    assert_eq!(refused, Err(GrantError::Record(RecordError::Field("prefix"))));
    let orphan = it.grants.issue(&key(1), None, terms(user(2), Rights::Read, ""), NOW, [0; 8]);
    assert_eq!(orphan, Err(GrantError::Record(RecordError::Field("issuer"))));
    assert_eq!(Grant::KIND, 1);
}
