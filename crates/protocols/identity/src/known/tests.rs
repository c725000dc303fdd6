use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use peerage_api::users::{Attribute, Matching};
use peerage_types::{ContentHash, ServiceName};
use peerage_wire::identity::{MAX_NODES, MAX_PRESENCE, SigningKey, recovery_commitment};

use super::{text::Query, *};

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

/// Somebody with a key and a recovery key.
struct Person {
    key: SigningKey,
    recovery: SigningKey,
}

impl Person {
    fn new(number: u32) -> Self {
        let seed = |purpose: &str| blake3::derive_key(purpose, &number.to_be_bytes());
        Self {
            key: SigningKey::from_bytes(&seed("test key")),
            recovery: SigningKey::from_bytes(&seed("test recovery")),
        }
    }

    fn user(&self) -> UserId {
        UserId(self.key.verifying_key().to_bytes())
    }

    fn plain(&self, seq: u64) -> Profile {
        Profile {
            user: self.user(),
            seq,
            handle: None,
            display_name: None,
            bio: BTreeMap::new(),
            avatar: None,
            services: [].into(),
            mailboxes: [].into(),
            recovery: self.commitment(),
            updated: NOW,
        }
    }

    fn commitment(&self) -> ContentHash {
        recovery_commitment(self.recovery.verifying_key().as_bytes())
    }

    fn sign(&self, profile: Profile) -> Bundle {
        let profile = Signed::sign(profile, &self.key).unwrap();
        Bundle { profile: Some(profile), ..Bundle::default() }
    }

    fn profile(&self, seq: u64) -> Bundle {
        self.sign(self.plain(seq))
    }

    fn called(&self, handle: &str) -> Bundle {
        self.sign(Profile { handle: Some(Handle::new(handle).unwrap()), ..self.plain(1) })
    }

    fn at(&self, node: PeerId, seq: u64, issued: UnixMillis, hours: u64) -> Bundle {
        let expires = issued.plus(Duration::from_secs(hours * 3600));
        let presence = Presence { user: self.user(), node, seq, issued, expires };
        let presences = vec![Signed::sign(presence, &self.key).unwrap()];
        Bundle { presences, ..Bundle::default() }
    }

    fn revoked(&self, by: &SigningKey) -> Bundle {
        let succession = Succession::revoked(self.user(), by, NOW);
        let succession = Some(Signed::sign(succession, by).unwrap());
        Bundle { succession, ..Bundle::default() }
    }
}

fn known() -> Known {
    with_room_for(1000)
}

fn with_room_for(users: usize) -> Known {
    Known::new(PeerId::random(), Limits { users, bytes: 64 << 20 })
}

fn peer() -> Source {
    Source::Peer(PeerId::random())
}

fn seq_of(known: &Known, user: UserId) -> Option<u64> {
    known.profile(&user).map(|profile| profile.seq)
}

/// What must hold whatever happened.
fn check(known: &Known) {
    assert_eq!(known.bytes, known.rows.values().map(Row::bytes).sum::<usize>());
    assert!(known.rows.len() <= known.limits.users && known.bytes <= known.limits.bytes);
    let guests = known.rows.iter().flat_map(|(user, row)| row.nodes().map(|node| (node, *user)));
    assert_eq!(known.guests, guests.collect());
    let own = known.rows.iter().filter(|(_, row)| row.teller.is_none()).map(|(user, _)| *user);
    assert!(known.own().eq(own));
    let due = known.rows.values().filter(|row| row.due.is_some()).count();
    assert_eq!(known.deadlines.len(), due);
    let mut named = 0;
    let mut texts = BTreeMap::new();
    let (shelves, _) = known.shelves.part(0, usize::MAX >> 1);
    for (shelf, span) in
        shelves.iter().flat_map(|shelf| shelf.spans().iter().map(move |s| (shelf, s)))
    {
        let text = &shelf.text()[span.start()..span.end()];
        assert_eq!(texts.insert(span.user, text.to_vec()), None, "twice");
    }
    assert_eq!(texts.len(), known.rows.len());
    for (user, row) in &known.rows {
        let hay = Haystack::new(&row.profile());
        assert_eq!(texts[user], hay.text.as_bytes());
        assert_eq!(row.text.1, hay.text.len());
        named += usize::from(hay.handle().is_some());
    }
    assert_eq!(known.handles.len(), named);
}

#[test]
fn the_newest_profile_wins_and_a_replayed_one_does_nothing() {
    let (mut known, alice) = (known(), Person::new(1));
    for (seq, changed) in [(1, true), (3, true), (2, false), (3, false), (1, false), (4, true)] {
        let outcome = known.merge(&alice.profile(seq), peer(), NOW);
        assert_eq!((outcome.changed, outcome.error), (changed, None), "{seq}");
        let event = Event::Changed { user: alice.user(), seq };
        assert_eq!(outcome.events, if changed { vec![event] } else { vec![] });
    }
    assert_eq!(seq_of(&known, alice.user()), Some(4));
    check(&known);
}

#[test]
fn of_two_profiles_with_the_same_number_all_choose_the_same() {
    let alice = Person::new(1);
    let [one, two] = ["one", "two"].map(|handle| alice.called(handle));
    let chosen = [[&one, &two], [&two, &one]].map(|order| {
        let mut known = known();
        let _ = order.map(|bundle| known.merge(bundle, peer(), NOW));
        check(&known);
        known.profile(&alice.user()).unwrap().handle.clone()
    });
    assert_eq!(chosen[0], chosen[1]);
}

#[test]
fn what_is_dated_ahead_is_refused_until_its_time() {
    let (mut known, alice, node) = (known(), Person::new(1), PeerId::random());
    let hour = Duration::from_secs(3600);
    let late = alice.sign(Profile { updated: NOW.plus(hour), ..alice.plain(2) });
    let outcome = known.merge(&late, peer(), NOW);
    assert_eq!(outcome.error, Some(RecordError::Future { seconds: 3600 }));
    assert!(known.is_empty());
    known.merge(&alice.profile(1), peer(), NOW);
    let outcome = known.merge(&late, peer(), NOW);
    assert_eq!(outcome.error, Some(RecordError::Future { seconds: 3600 }));
    let outcome = known.merge(&alice.at(node, 1, NOW.plus(hour), 1), peer(), NOW);
    assert_eq!(outcome.error, Some(RecordError::Future { seconds: 3600 }));
    assert!(!known.is_online(&alice.user(), NOW));
    assert!(known.merge(&late, peer(), NOW.plus(hour)).changed);
    let soon = alice.sign(Profile { updated: NOW.plus(hour / 10), ..alice.plain(3) });
    assert!(known.merge(&soon, peer(), NOW).changed, "clocks may differ by minutes");
}

#[test]
fn the_recovery_key_that_a_user_commits_to_never_changes() {
    let (mut known, alice, thief) = (known(), Person::new(1), Person::new(2));
    known.merge(&alice.profile(1), peer(), NOW);
    let stolen = alice.sign(Profile { recovery: thief.commitment(), ..alice.plain(2) });
    let outcome = known.merge(&stolen, peer(), NOW);
    assert_eq!((outcome.changed, outcome.error), (false, Some(RecordError::Recovery)));
    let outcome = known.merge(&alice.revoked(&thief.recovery), peer(), NOW);
    assert_eq!((outcome.changed, outcome.error), (false, Some(RecordError::Recovery)));
    assert_eq!(known.fate(&alice.user()), None);
    assert_eq!(seq_of(&known, alice.user()), Some(1));
}

#[test]
fn after_a_rotation_nothing_that_the_old_key_signs_counts() {
    let (mut known, alice, node) = (known(), Person::new(1), PeerId::random());
    let (user, next) = (alice.user(), Person::new(2));
    known.merge(&alice.profile(1), peer(), NOW);
    known.merge(&alice.at(node, 1, NOW, 1), peer(), NOW);
    let moved = Succession::moved(user, &next.key, &alice.recovery, NOW);
    let moved = Some(Signed::sign(moved, &alice.recovery).unwrap());
    let moved = Bundle { succession: moved, ..Bundle::default() };
    let then = NOW.plus(Duration::from_secs(600));
    let outcome = known.merge(&moved, peer(), then);
    assert_eq!(known.shown(&user, then).unwrap().last_seen_ms, Some(then), "it was here till then");
    let successor = Some(next.user());
    assert_eq!(outcome.events, [Event::Revoked { user, successor }]);
    assert_eq!(known.fate(&user), Some(successor));
    assert!(!known.is_online(&user, NOW));
    for late in [alice.profile(2), alice.at(node, 2, NOW, 1)] {
        let outcome = known.merge(&late, peer(), NOW);
        assert_eq!((outcome.changed, outcome.error), (false, Some(RecordError::Revoked)));
    }
    let outcome = known.merge(&alice.revoked(&alice.recovery), peer(), NOW);
    assert!(!outcome.changed, "the first is final");
    assert_eq!(known.fate(&user), Some(successor));
    let shown = known.shown(&user, NOW).unwrap();
    assert!(shown.revoked && shown.successor == successor);
    check(&known);
}

#[test]
fn whoever_is_here_is_stored_as_seen_now_and_a_revoked_user_still_lives_here() {
    let (mut known, alice, bob) = (known(), Person::new(1), Person::new(2));
    let (user, home) = (alice.user(), known.node);
    for person in [&alice, &bob] {
        known.merge(&person.profile(1), Source::Own, NOW);
    }
    known.merge(&alice.at(home, 1, NOW, 1), Source::Own, NOW);
    let then = NOW.plus(Duration::from_secs(600));
    let seen = |known: &Known, user, at| known.stored(&user, at).unwrap().2;
    assert_eq!(known.here(then), [user]);
    assert_eq!(seen(&known, user, then), then);
    assert_eq!(seen(&known, bob.user(), then), UnixMillis(0), "never");
    known.merge(&alice.revoked(&alice.recovery), Source::Own, then);
    let later = then.plus(Duration::from_secs(600));
    assert_eq!(seen(&known, user, later), then);
    let shown = known.shown(&user, later).unwrap();
    assert!(shown.local && shown.revoked && known.here(later).is_empty());
}

#[test]
fn a_succession_comes_with_or_after_the_profile_that_commits_to_it() {
    let (mut known, alice) = (known(), Person::new(1));
    assert!(!known.merge(&alice.revoked(&alice.recovery), peer(), NOW).changed);
    assert!(known.is_empty());
    let both = Bundle { profile: alice.profile(1).profile, ..alice.revoked(&alice.recovery) };
    assert!(known.merge(&both, peer(), NOW).changed);
    assert_eq!(known.fate(&alice.user()), Some(None));
}

#[test]
fn a_user_is_online_where_it_says_so_until_it_expires_or_says_otherwise() {
    let (mut known, alice) = (known(), Person::new(1));
    let (user, [home, office]) = (alice.user(), [(); 2].map(|()| PeerId::random()));
    assert!(!known.merge(&alice.at(home, 1, NOW, 1), peer(), NOW).changed, "without a profile");
    known.merge(&alice.profile(1), peer(), NOW);
    let outcome = known.merge(&alice.at(home, 1, NOW, 1), peer(), NOW);
    assert_eq!(outcome.events, [Event::Online { user, node: home }]);
    known.merge(&alice.at(office, 1, NOW, 2), peer(), NOW);
    let outcome = known.merge(&alice.at(home, 2, NOW, 0), peer(), NOW);
    assert_eq!(outcome.events, [Event::Offline { user, node: home }]);
    let replayed = known.merge(&alice.at(home, 1, NOW, 1), peer(), NOW);
    assert!(!replayed.changed && replayed.events.is_empty());
    assert_eq!(known.shown(&user, NOW).unwrap().nodes, [office]);

    let end = NOW.plus(Duration::from_secs(2 * 3600));
    assert_eq!(known.deadline(), Some(end));
    assert_eq!(known.sweep(UnixMillis(end.0 - 1)).1, []);
    assert_eq!(known.sweep(end).1, [Event::Offline { user, node: office }]);
    let shown = known.shown(&user, end.plus(Duration::from_secs(60))).unwrap();
    assert_eq!((shown.online, shown.last_seen_ms), (false, Some(NOW)), "when it last said so");
    let over = NOW.plus(MAX_PRESENCE);
    assert_eq!(known.deadline(), Some(over), "until then it takes back older statements");
    assert_eq!(known.sweep(over).1, []);
    assert_eq!((known.deadline(), known.bundle(&user).unwrap().presences.len()), (None, 0));
    assert!(!known.merge(&alice.at(home, 3, NOW, 24), peer(), over).changed);
    check(&known);
}

#[test]
fn that_somebody_is_here_is_believed_of_this_node_alone() {
    let (mut known, alice) = (known(), Person::new(1));
    let (user, here) = (alice.user(), known.node);
    known.merge(&alice.profile(1), Source::Own, NOW);
    // What it was told before it crashed comes back from others.
    let outcome = known.merge(&alice.at(here, 1, NOW, 1), peer(), NOW);
    assert!(!outcome.changed && !known.is_online(&user, NOW));
    assert_eq!(known.bundle(&user).unwrap().presences, []);
    known.merge(&alice.at(here, 2, NOW, 1), Source::Own, NOW);
    assert_eq!(known.shown(&user, NOW).unwrap().nodes, [here]);
    known.merge(&alice.at(here, 3, NOW, 0), peer(), NOW);
    assert!(!known.is_online(&user, NOW), "it has logged out since");
    check(&known);
}

#[test]
fn a_user_is_not_online_at_a_node_that_is_gone_until_it_says_so_again() {
    let (mut known, alice, bob) = (known(), Person::new(1), Person::new(2));
    let (user, [home, office]) = (alice.user(), [(); 2].map(|()| PeerId::random()));
    let later = |seconds| NOW.plus(Duration::from_secs(seconds));
    for person in [&alice, &bob] {
        known.merge(&person.profile(1), peer(), NOW);
        known.merge(&person.at(office, 1, NOW, 1), peer(), NOW);
    }
    known.merge(&alice.at(home, 1, NOW, 1), peer(), NOW);
    assert_eq!(known.shown(&user, later(60)).unwrap().last_seen_ms, Some(NOW));
    let events = known.doubt(home, later(5), later(5));
    assert_eq!(events, [Event::Offline { user, node: home }]);
    assert_eq!(known.doubt(home, later(6), later(6)), [], "once is enough");
    let shown = known.shown(&user, later(60)).unwrap();
    assert_eq!((shown.nodes, shown.last_seen_ms), (vec![office], Some(later(5))));
    check(&known);
    assert!(!known.merge(&alice.at(home, 1, NOW, 1), peer(), later(7)).changed, "the same again");
    let outcome = known.merge(&alice.at(home, 2, later(8), 1), peer(), later(8));
    assert_eq!(outcome.events, [Event::Online { user, node: home }]);
    // A node that is back has a while to say who is there.
    assert_eq!(known.doubt(office, later(10), later(70)), []);
    known.merge(&bob.at(office, 2, later(20), 1), peer(), later(20));
    assert_eq!(known.deadline(), Some(later(70)));
    assert_eq!(known.sweep(later(70)).1, [Event::Offline { user, node: office }]);
    assert!(known.is_online(&bob.user(), later(71)));
    check(&known);
}

#[test]
fn no_more_nodes_of_a_user_are_kept_than_there_is_room_for_whatever_the_order() {
    let (alice, nodes) = (Person::new(1), [(); 20].map(|()| PeerId::random()));
    let bundles: Vec<_> =
        (0..).zip(nodes).map(|(at, node)| alice.at(node, at, UnixMillis(NOW.0 + at), 1)).collect();
    let kept = [false, true].map(|reversed| {
        let (mut known, mut bundles) = (known(), bundles.clone());
        if reversed {
            bundles.reverse();
        }
        known.merge(&alice.profile(1), peer(), NOW);
        bundles.iter().for_each(|bundle| _ = known.merge(bundle, peer(), NOW));
        check(&known);
        known.shown(&alice.user(), NOW).unwrap().nodes
    });
    assert_eq!(kept[0].len(), MAX_NODES);
    assert_eq!(kept[0], kept[1]);
    assert_eq!(kept[0][0], nodes[19]);
}

#[test]
fn one_who_floods_displaces_nobody_but_its_own() {
    let mut known = with_room_for(100);
    let [flooder, one, two] = [(); 3].map(|()| peer());
    let told: Vec<_> = (0..60).map(Person::new).collect();
    for (at, person) in told.iter().enumerate() {
        known.merge(&person.profile(1), if at % 2 == 0 { one } else { two }, NOW);
    }
    let own = Person::new(99);
    known.merge(&own.profile(1), Source::Own, NOW);
    for number in 1000..1400 {
        known.merge(&Person::new(number).profile(1), flooder, NOW);
        check(&known);
    }
    assert_eq!(known.len(), 100);
    assert!(known.is_full());
    for person in told.iter().chain([&own]) {
        assert!(known.profile(&person.user()).is_some());
    }
    // The room that is left over is the flooder's, and its latest are there.
    assert!(known.profile(&Person::new(1399).user()).is_some());
    assert!(known.profile(&Person::new(1000).user()).is_none());
    // Who had nothing gets its share of it.
    let newcomer = Person::new(5000);
    let outcome = known.merge(&newcomer.profile(1), peer(), NOW);
    assert!(outcome.changed);
    assert_eq!(outcome.evicted.len(), 1);
    assert!(told.iter().all(|person| known.profile(&person.user()).is_some()));
}

#[test]
fn contacts_stay_for_as_long_as_they_are_pinned() {
    let (mut known, flooder) = (with_room_for(10), peer());
    let contact = Person::new(0);
    known.pin(contact.user());
    known.pin(contact.user());
    let flood = |known: &mut Known, from: u32| {
        for number in from..from + 50 {
            known.merge(&Person::new(number).profile(1), flooder, NOW);
            check(known);
        }
    };
    known.merge(&contact.profile(1), flooder, NOW);
    flood(&mut known, 100);
    known.unpin(contact.user());
    flood(&mut known, 200);
    assert!(known.profile(&contact.user()).is_some());
    known.unpin(contact.user());
    flood(&mut known, 300);
    assert!(known.profile(&contact.user()).is_none());
}

#[test]
fn bytes_are_bounded_too_and_large_users_pay_for_it() {
    let mut known = Known::new(PeerId::random(), Limits { users: 1000, bytes: 100 << 10 });
    let [small, large] = [(); 2].map(|()| peer());
    let told: Vec<_> = (0..40).map(Person::new).collect();
    told.iter().for_each(|person| _ = known.merge(&person.profile(1), small, NOW));
    for number in 100..130 {
        let person = Person::new(number);
        let bio = (0..3).map(|topic| (topic.to_string(), "long ".repeat(800))).collect();
        known.merge(&person.sign(Profile { bio, ..person.plain(1) }), large, NOW);
        check(&known);
    }
    assert!(told.iter().all(|person| known.profile(&person.user()).is_some()));
    let grown: Vec<_> = (0..3).map(|topic| (topic.to_string(), "grown ".repeat(600))).collect();
    for person in &told[..5] {
        let bio = grown.iter().cloned().collect();
        known.merge(&person.sign(Profile { bio, ..person.plain(2) }), small, NOW);
        check(&known);
    }
    assert_eq!(seq_of(&known, told[4].user()), Some(2), "who grows stays");
}

#[test]
fn a_user_who_is_deleted_here_is_kept_like_any_other() {
    let (mut known, alice) = (with_room_for(1), Person::new(1));
    known.merge(&alice.profile(1), Source::Own, NOW);
    assert!(known.shown(&alice.user(), NOW).unwrap().local);
    assert!(!known.merge(&Person::new(2).profile(1), peer(), NOW).changed);
    known.release(alice.user());
    assert!(!known.shown(&alice.user(), NOW).unwrap().local);
    assert!(known.merge(&Person::new(2).profile(1), peer(), NOW).changed);
    assert_eq!((known.len(), known.own_len()), (1, 0));
    check(&known);
}

#[test]
fn handles_that_look_the_same_are_found() {
    let mut known = known();
    for (number, handle) in (0..).zip(["Alice", "ALICE", "ａlice", "alicia", "bob"]) {
        known.merge(&Person::new(number).called(handle), peer(), NOW);
    }
    let mut expected: Vec<_> = (0..3).map(|number| Person::new(number).user()).collect();
    expected.sort_unstable();
    assert_eq!(known.named(&Handle::new("aLICE").unwrap()), expected);
    let renamed = Person::new(0);
    let handle = Some(Handle::new("carol").unwrap());
    known.merge(&renamed.sign(Profile { handle, ..renamed.plain(2) }), peer(), NOW);
    assert_eq!(known.named(&Handle::new("alice").unwrap()).len(), 2);
    assert_eq!(known.named(&Handle::new("CAROL").unwrap()), [renamed.user()]);
    (10..40).for_each(|n| _ = known.merge(&Person::new(n).called("bob"), peer(), NOW));
    assert_eq!(known.named(&Handle::new("bob").unwrap()).len(), MAX_NAMED);
    check(&known);
}

proptest::proptest! {
    #[test]
    fn whatever_the_order_and_however_often_the_same_is_known_in_the_end(
        order in proptest::collection::vec(0usize..12, 12..60),
    ) {
        let alice = Person::new(1);
        let [home, office] = [[1; 32], [2; 32]].map(|key: [u8; 32]| {
            let key = libp2p_identity::Keypair::ed25519_from_bytes(key).unwrap();
            key.public().to_peer_id()
        });
        let [late, soon] = [5, 1].map(|ms| UnixMillis(NOW.0 + ms));
        let all = [
            alice.profile(1), alice.profile(2), alice.called("ana"), alice.called("other"),
            alice.sign(Profile { display_name: Some("two".into()), ..alice.plain(2) }),
            alice.at(home, 1, NOW, 1), alice.at(home, 2, soon, 0), alice.at(home, 3, late, 1),
            alice.at(office, 1, NOW, 2), alice.at(office, 2, soon, 0),
            Person::new(2).profile(1), Person::new(2).profile(3),
        ];
        let mut known = known();
        // Without a profile statements about nodes are not kept, so it comes first.
        known.merge(&all[0], peer(), NOW);
        order.iter().chain(&(0..12).collect::<Vec<_>>()).for_each(|at| {
            known.merge(&all[*at], peer(), NOW);
        });
        check(&known);
        let mut expected = super::tests::known();
        all.iter().for_each(|bundle| _ = expected.merge(bundle, peer(), NOW));
        for person in [&alice, &Person::new(2)] {
            let bundle = known.bundle(&person.user());
            proptest::prop_assert_eq!(bundle, expected.bundle(&person.user()));
        }
    }
}

fn find(known: &Known, text: &str, attribute: Attribute, matching: Matching) -> Vec<u32> {
    let query = Query::new(text, attribute, matching).unwrap();
    let mut top = Top::new(1000, None);
    assert_eq!(known.scan(&query, &HashSet::new(), 0, &mut top), None);
    let number = |user| (0..20).find(|number| Person::new(*number).user() == user).unwrap();
    top.finish().0.into_iter().map(|(_, user)| number(user)).collect()
}

#[test]
fn a_search_finds_by_any_attribute_and_the_best_first() {
    let mut known = known();
    let names = [
        ("max", "Ana"),
        ("maxi", "Ben"),
        ("xx", "Max"),
        ("yy", "Maxine Straße"),
        ("climax", "Zoë"),
        ("zz", "Über Max"),
    ];
    for (number, (handle, name)) in (0..).zip(names) {
        let person = Person::new(number);
        let handle = Some(Handle::new(handle).unwrap());
        let display_name = Some(name.into());
        known.merge(&person.sign(Profile { handle, display_name, ..person.plain(1) }), peer(), NOW);
    }
    let person = Person::new(6);
    let services = [ServiceName::new("org.example.max").unwrap()].into();
    let bio = [("job".into(), "Maximiser".into())].into();
    known.merge(&person.sign(Profile { services, bio, ..person.plain(1) }), peer(), NOW);

    use Attribute::{Any, Bio, Handle as ByHandle, Id, Name, Service};
    use Matching::{Contains, Exact, Prefix};
    assert_eq!(find(&known, "MAX", Any, Contains), [0, 1, 2, 3, 4, 5, 6]);
    let sorted = |mut found: Vec<u32>| {
        found.sort_unstable();
        found
    };
    assert_eq!(sorted(find(&known, "max", Any, Prefix)), [0, 1, 2, 3, 6]);
    assert_eq!(find(&known, "max", Any, Exact), [0, 2]);
    assert_eq!(find(&known, "max", ByHandle, Contains), [0, 1, 4]);
    assert_eq!(find(&known, "max", Name, Prefix), [2, 3]);
    assert_eq!(find(&known, "max", Service, Contains), [6]);
    assert_eq!(find(&known, "org.example.max", Service, Exact), [6]);
    assert_eq!(find(&known, "maxi", Bio, Prefix), [6]);
    assert_eq!(find(&known, "job", Bio, Exact), [6]);
    assert_eq!(find(&known, "u\u{308}ber", Name, Contains), [5], "in another form of Unicode");
    assert_eq!(find(&known, "ZOE\u{308}", Name, Exact), [4]);
    let id = Person::new(3).user().to_string();
    assert_eq!(find(&known, &id, Any, Contains), [3]);
    assert_eq!(find(&known, &id.to_uppercase(), Id, Exact), [3]);
    assert_eq!(find(&known, &id[..20], Id, Prefix), [3]);
    assert_eq!(find(&known, &id[50..], Id, Contains), [3]);
    assert_eq!(find(&known, &id[..9], Any, Contains), [3]);
    assert_eq!(find(&known, "user1", Any, Contains), [0; 0]);
    assert_eq!(find(&known, "max\u{0}", Any, Contains), [0; 0]);
    for bad in ["", "  ", "a\u{1f}b", &"x".repeat(257)] {
        assert!(Query::new(bad, Any, Contains).is_err(), "{bad:?}");
    }
}

#[test]
fn pages_are_full_and_what_becomes_known_between_two_neither_repeats_nor_hides_others() {
    let mut known = with_room_for(10_000);
    (0..100)
        .for_each(|n| _ = known.merge(&Person::new(n).called(&format!("user{n}")), peer(), NOW));
    let query = Query::new("user", Attribute::Handle, Matching::Contains).unwrap();
    let blocked: HashSet<_> = (0..10).map(|number| Person::new(number).user()).collect();
    let (mut after, mut found) = (None, Vec::new());
    loop {
        let mut top = Top::new(20, after);
        known.scan(&query, &blocked, 0, &mut top);
        let (places, next) = top.finish();
        found.extend(places.iter().map(|(_, user)| *user));
        match next {
            Some(_) => assert_eq!(places.len(), 20),
            None => break,
        }
        after = next;
        let more = u32::try_from(found.len()).unwrap() * 100;
        known.merge(&Person::new(more).called("user"), peer(), NOW);
    }
    let unique: HashSet<_> = found.iter().collect();
    assert_eq!(unique.len(), found.len());
    assert!((10..100).all(|number| unique.contains(&Person::new(number).user())));
    assert!(blocked.iter().all(|user| !unique.contains(user)));
}

#[test]
fn digests_tell_what_differs_and_nothing_else() {
    let [mut one, mut two] = [known(), known()];
    let alice = Person::new(1);
    let bucket = alice.user().0[0];
    let empty = one.digest(bucket);
    for known in [&mut one, &mut two] {
        (0..50).for_each(|n| _ = known.merge(&Person::new(n).profile(1), peer(), NOW));
    }
    let same = |one: &mut Known, two: &mut Known| {
        (0..=u8::MAX).filter(|b| one.digest(*b) != two.digest(*b)).collect::<Vec<_>>()
    };
    assert_eq!(same(&mut one, &mut two), [0u8; 0]);
    assert_ne!(one.digest(bucket), empty);
    one.merge(&alice.at(PeerId::random(), 1, NOW, 1), peer(), NOW);
    assert_eq!(same(&mut one, &mut two), [bucket]);
    one.sweep(NOW.plus(MAX_PRESENCE));
    assert_eq!(same(&mut one, &mut two), [0u8; 0]);
    // Whose key is no longer valid is the same everywhere, whatever else was known of it.
    one.merge(&alice.profile(2), peer(), NOW);
    let _ =
        [&mut one, &mut two].map(|known| known.merge(&alice.revoked(&alice.recovery), peer(), NOW));
    assert_eq!(same(&mut one, &mut two), [0u8; 0]);
}

#[test]
fn nodes_that_compare_end_with_the_same() {
    let [mut one, mut two] = [with_room_for(10_000), with_room_for(10_000)];
    (0..300).for_each(|n| _ = one.merge(&Person::new(n).profile(1), peer(), NOW));
    (200..900).for_each(|n| _ = two.merge(&Person::new(n).profile(2), peer(), NOW));
    let digests = |known: &mut Known| {
        let mut all = Box::new([[0; 16]; 256]);
        (0..=u8::MAX).for_each(|bucket| all[usize::from(bucket)] = known.digest(bucket));
        all
    };
    let (ours, theirs) = (digests(&mut one), digests(&mut two));
    let buckets = peerage_wire::identity::frames::Buckets::differing(&ours, &theirs);
    let (mut after, mut pages) = (None, 0);
    loop {
        let page = one.page(buckets, after);
        let diff = two.compare(&page);
        assert!(diff.wanted.len() + diff.lacking.len() <= crate::bounds::MAX_PAGE_BUNDLES + 1);
        for user in &diff.lacking {
            let bundle = two.bundle(user).unwrap();
            assert!(one.merge(&bundle, peer(), NOW).changed);
        }
        for place in &diff.wanted {
            let bundle = one.bundle(&page.entries[usize::from(*place)].user).unwrap();
            assert!(two.merge(&bundle, peer(), NOW).changed);
        }
        pages += 1;
        after = diff.through;
        if after.is_none() {
            break;
        }
    }
    assert!(pages > 1);
    assert_eq!(digests(&mut one), digests(&mut two));
    assert_eq!((one.len(), two.len()), (900, 900));
}
