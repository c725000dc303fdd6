//! Random statements of six keys, some of which overreach, against a reading of the rules that knows
//! no order and looks at every link by itself.

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use peerage_types::{Author, Hlc, SpaceId, UnixMillis, UserId};
use peerage_wire::kv::grant::{Grant, GrantId, Grantee, Revocation, Rights, Signed};
use proptest::{prelude::*, sample::Index};

use super::{Grants, MAX_CHAIN};

const KEYS: u8 = 6;
const PREFIXES: [&str; 5] = ["", "a", "a/", "a/b", "b"];
const TIMES: [u64; 4] = [0, 5, 10, 20];

/// One thing that somebody signs; number 0 is the key of the space.
#[derive(Debug, Clone)]
struct Said {
    by: u8,
    /// Keeps to the rules if it can, so that long chains come about.
    honest: bool,
    /// Which grant it was derived from or revokes, counted from the last one; without one it is signed
    /// by the key of the space.
    of: Option<usize>,
    revokes: bool,
    to: (u8, u8),
    writes: bool,
    prefix: Index,
    time: Index,
}

fn said() -> impl Strategy<Value = Said> {
    let parent = prop_oneof![2 => Just(0), 1 => 1..10_usize];
    let of = (prop::option::weighted(0.85, parent), prop::bool::weighted(0.25));
    let by = (0..KEYS, prop::bool::weighted(0.8));
    let terms = (prop::bool::weighted(0.7), any::<Index>(), any::<Index>());
    let all = (by, of, (1..KEYS, 0..3u8), terms);
    all.prop_map(|((by, honest), (of, revokes), to, (writes, prefix, time))| Said {
        by,
        honest,
        of,
        revokes,
        to,
        writes,
        prefix,
        time,
    })
}

fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number + 1; 32])
}

fn public(number: u8) -> [u8; 32] {
    key(number).verifying_key().to_bytes()
}

fn number(public: &[u8; 32]) -> u8 {
    (0..KEYS).find(|number| self::public(*number) == *public).unwrap()
}

fn grantee((number, kind): (u8, u8)) -> Grantee {
    match kind {
        0 => Grantee::Node(public(number)),
        1 => Grantee::User(UserId(public(number))),
        _ => Grantee::Invite(public(number)),
    }
}

/// All that was said, whether it counts or not.
#[derive(Default)]
struct World {
    grants: Vec<Signed<Grant>>,
    revocations: Vec<Signed<Revocation>>,
}

impl World {
    fn new(all: Vec<Said>) -> Self {
        let mut world = Self::default();
        for (number, said) in (0..).zip(all) {
            world.say(number, said);
        }
        world
    }

    fn say(&mut self, number: u64, said: Said) {
        let of = said.of.and_then(|of| self.grants.iter().rev().nth(of)).cloned();
        match of {
            Some(of) if said.revokes => self.take_back(&of, &said),
            of => self.give(number, of, said),
        }
    }

    fn take_back(&mut self, of: &Signed<Grant>, said: &Said) {
        let above = self.chain(of).unwrap_or_default();
        let theirs = above.get(usize::from(said.by) % MAX_CHAIN).map(|link| number(&link.issuer));
        let by = theirs.filter(|_| said.honest).unwrap_or(said.by);
        let (space, issuer) = (of.space, public(by));
        let at = Hlc::new(UnixMillis(*said.time.get(&TIMES)), 0);
        let revocation = Revocation { space, grant: of.id(), issuer, at };
        self.revocations.push(Signed::sign(revocation, &key(by)).unwrap());
    }

    fn give(&mut self, nonce: u64, of: Option<Signed<Grant>>, said: Said) {
        let by = match &of {
            None => 0,
            Some(of) if said.honest => number(of.to.key()),
            Some(_) => said.by,
        };
        let mut grant = Grant {
            space: SpaceId(public(0)),
            to: grantee(said.to),
            issuer: public(by),
            rights: if said.writes { Rights::Write } else { Rights::Read },
            prefix: (*said.prefix.get(&PREFIXES)).into(),
            at: UnixMillis(0),
            expires: Some(UnixMillis(*said.time.get(&TIMES))).filter(|at| at.0 > 0),
            parent: of.as_ref().map(Signed::id),
            nonce: nonce.to_be_bytes(),
        };
        if let Some(of) = of.filter(|_| said.honest) {
            grant.rights = grant.rights.min(of.rights);
            if !grant.prefix.starts_with(&of.prefix) {
                grant.prefix.clone_from(&of.prefix);
            }
            let ends = [grant.expires, of.expires].into_iter().flatten();
            grant.expires = ends.min();
        }
        // The key of the space needs no parent: with one there is no such record.
        self.grants.extend(Signed::sign(grant, &key(by)));
    }

    fn records(&self) -> Vec<Bytes> {
        let revocations = self.revocations.iter().map(Signed::bytes);
        self.grants.iter().map(Signed::bytes).chain(revocations).cloned().collect()
    }

    fn find(&self, id: GrantId) -> Option<&Signed<Grant>> {
        self.grants.iter().find(|grant| grant.id() == id)
    }

    /// A grant and what it was derived from, if every link was given by whom the one above names.
    fn chain(&self, leaf: &Signed<Grant>) -> Option<Vec<Signed<Grant>>> {
        let mut chain = vec![leaf.clone()];
        while let Some(parent) = chain[chain.len() - 1].parent {
            let parent = self.find(parent)?;
            (*parent.to.key() == chain[chain.len() - 1].issuer).then_some(())?;
            chain.push(parent.clone());
        }
        (chain.len() <= MAX_CHAIN).then_some(chain)
    }

    /// The dates of the revocations of a link that come from above it.
    fn revoked(&self, link: &Signed<Grant>) -> Vec<Hlc> {
        let above = self.chain(link).unwrap_or_default();
        let of = self.revocations.iter().filter(|it| it.grant == link.id());
        let theirs =
            of.filter(|it| above.iter().any(|up| up.issuer == it.issuer) || it.issuer == public(0));
        theirs.map(|it| it.at).collect()
    }

    /// The chains to somebody; `narrowing`: only those that never widen.
    fn chains(&self, to: Grantee, narrowing: bool) -> Vec<Vec<Signed<Grant>>> {
        let to = self.grants.iter().filter(|grant| grant.to == to);
        let chains = to.filter_map(|leaf| self.chain(leaf));
        let lasts = |grant: &Grant| grant.expires.map_or(u64::MAX, |at| at.0);
        let narrows = |pair: &[Signed<Grant>]| {
            pair[0].rights <= pair[1].rights
                && pair[0].prefix.starts_with(&pair[1].prefix)
                && lasts(&pair[0]) <= lasts(&pair[1])
        };
        chains.filter(|chain| !narrowing || chain.windows(2).all(narrows)).collect()
    }

    fn may_write(&self, author: Author, key: &str, at: Hlc, narrowing: bool) -> bool {
        let allows = |link: &Signed<Grant>| {
            link.rights == Rights::Write
                && key.starts_with(&link.prefix)
                && link.expires.is_none_or(|end| at.at() <= end)
                && self.revoked(link).iter().all(|revoked| at <= *revoked)
        };
        self.chains(author.into(), narrowing).iter().any(|chain| chain.iter().all(allows))
    }

    fn may_read(&self, reader: Author, key: &str, now: UnixMillis, narrowing: bool) -> bool {
        let allows = |link: &Signed<Grant>| {
            key.starts_with(&link.prefix)
                && link.expires.is_none_or(|end| now <= end)
                && self.revoked(link).is_empty()
        };
        self.chains(reader.into(), narrowing).iter().any(|chain| chain.iter().all(allows))
    }
}

/// Everything that can be asked about keys and times at which answers change.
fn questions() -> impl Iterator<Item = (Author, &'static str, u64)> {
    let authors = (1..KEYS).flat_map(|number| [0, 1].map(|kind| grantee((number, kind)).author()));
    let keys = ["", "a", "a/", "a/b", "b", "c"];
    let moments = TIMES.iter().flat_map(|at| [*at, at + 1]);
    let with_keys = authors.flatten().flat_map(move |author| keys.map(|key| (author, key)));
    with_keys.flat_map(move |(author, key)| moments.clone().map(move |at| (author, key, at)))
}

fn reads(grants: &Grants, reader: &Author, key: &str, now: UnixMillis) -> bool {
    let prefixes = grants.readable(reader, now).unwrap_or_default();
    prefixes.iter().any(|prefix| key.starts_with(&prefix[..]))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..<_>::default() })]

    #[test]
    fn no_chain_widens_anything_and_none_that_narrows_is_lost(all in prop::collection::vec(said(), 1..40)) {
        let world = World::new(all);
        let (grants, _) = Grants::load(SpaceId(public(0)), world.records());
        for (who, key, ms) in questions() {
            let (now, at) = (UnixMillis(ms), Hlc::new(UnixMillis(ms), 0));
            let writes = grants.may_write(&who, key, at);
            prop_assert_eq!(writes, world.may_write(who, key, at, true), "{} {} {}", who, key, ms);
            prop_assert!(!writes || world.may_write(who, key, at, false), "{} {} {}", who, key, ms);
            let reads = reads(&grants, &who, key, now);
            prop_assert_eq!(reads, world.may_read(who, key, now, true), "{} {} {}", who, key, ms);
            prop_assert!(!reads || world.may_read(who, key, now, false), "{} {} {}", who, key, ms);
        }
    }

    #[test]
    fn the_order_in_which_records_come_decides_nothing(
        (records, shuffled) in prop::collection::vec(said(), 1..40)
            .prop_map(|all| World::new(all).records())
            .prop_flat_map(|records| (Just(records.clone()), Just(records).prop_shuffle()))
    ) {
        let space = SpaceId(public(0));
        let (one, refused) = Grants::load(space, records.clone());
        let (two, also) = Grants::load(space, shuffled.clone());
        // As peers would bring them: again and again until nothing is new.
        let mut three = Grants::new(space);
        for _ in 0..=MAX_CHAIN {
            shuffled.iter().for_each(|record| _ = three.insert(record.clone()));
        }
        prop_assert_eq!(refused, also);
        for other in [&two, &three] {
            prop_assert_eq!(one.digest(), other.digest());
            prop_assert_eq!(one.list(), other.list());
            for (who, key, ms) in questions() {
                let (now, at) = (UnixMillis(ms), Hlc::new(UnixMillis(ms), 0));
                prop_assert_eq!(one.may_write(&who, key, at), other.may_write(&who, key, at));
                prop_assert_eq!(one.readable(&who, now), other.readable(&who, now));
                prop_assert_eq!(one.chain_for(&who, now), other.chain_for(&who, now));
            }
        }
        // What one has is enough for another, in its own order.
        let mut copy = Grants::new(space);
        for record in one.all() {
            prop_assert!(copy.insert(record).is_ok());
        }
        prop_assert_eq!(copy.digest(), one.digest());
    }
}
