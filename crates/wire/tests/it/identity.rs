use std::time::Duration;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use peerage_types::{ContentHash, Handle, Network, PeerId, ServiceName, UnixMillis, UserId};
use peerage_wire::{
    fuzz,
    identity::{
        Bundle, MAX_BIO_BYTES, MAX_BUNDLE_BYTES, MAX_NODES, MAX_PRESENCE, MAX_PROFILE_BYTES,
        MAX_SKEW, Presence, Profile, Record, RecordError, Signed, SigningKey, Succession, kad_key,
        protocol, recovery_commitment, topic,
    },
};

use crate::replay::{corpus, replay};

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
const HOUR: Duration = Duration::from_secs(3600);

fn key() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

fn recovery() -> SigningKey {
    SigningKey::from_bytes(&[2; 32])
}

fn other() -> SigningKey {
    SigningKey::from_bytes(&[3; 32])
}

fn id(key: &SigningKey) -> UserId {
    UserId(key.verifying_key().to_bytes())
}

fn node() -> PeerId {
    "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp".parse().unwrap()
}

fn profile() -> Profile {
    Profile {
        user: id(&key()),
        seq: 258,
        handle: Some(Handle::new("ana").unwrap()),
        display_name: Some("Ana".into()),
        bio: [("job".into(), "baker".into())].into(),
        avatar: Some(ContentHash([9; 32])),
        services: [ServiceName::new("notes").unwrap()].into(),
        mailboxes: [node()].into(),
        recovery: recovery_commitment(recovery().verifying_key().as_bytes()),
        updated: NOW,
    }
}

fn presence() -> Presence {
    Presence { user: id(&key()), node: node(), seq: 7, issued: NOW, expires: NOW.plus(HOUR) }
}

fn signed<T: Record>(record: T) -> Signed<T> {
    Signed::sign(record, &key()).unwrap()
}

fn bundle() -> Bundle {
    let moved = Succession::moved(id(&key()), &other(), &recovery(), NOW);
    Bundle {
        profile: Some(signed(profile())),
        succession: Some(Signed::sign(moved, &recovery()).unwrap()),
        presences: vec![signed(presence())],
    }
}

/// The bodies, readable: what is signed, behind the signature.
const PROFILE: &str = include_str!("identity/profile.hex");
const PRESENCE: &str = include_str!("identity/presence.hex");
const SUCCESSION: &str = include_str!("identity/succession.hex");
const BUNDLE: &str = include_str!("identity/bundle.hex");

fn bytes_of(hex: &str) -> Bytes {
    let hex: String = hex.split_whitespace().collect();
    HEXLOWER.decode(hex.as_bytes()).unwrap().into()
}

fn is<T: Record>(record: &Signed<T>, hex: &str) {
    assert_eq!(HEXLOWER.encode(record.bytes()), HEXLOWER.encode(&bytes_of(hex)), "{record:?}");
    assert_eq!(Signed::<T>::decode(bytes_of(hex)).as_ref(), Ok(record));
    assert_eq!(record.keep().open(), *record);
}

#[test]
fn records_are_these_bytes() {
    let bundle = bundle();
    is(bundle.profile.as_ref().unwrap(), PROFILE);
    is(&bundle.presences[0], PRESENCE);
    is(bundle.succession.as_ref().unwrap(), SUCCESSION);
    assert_eq!(HEXLOWER.encode(&bundle.encode()), HEXLOWER.encode(&bytes_of(BUNDLE)));
    assert_eq!(Bundle::decode(&bytes_of(BUNDLE)), Ok(bundle));
}

#[test]
fn names_and_keys_are_these() {
    let network = Network::new("home").unwrap();
    assert_eq!(protocol(&network), "/peerage/home/identity/1");
    assert_eq!(topic(&network), "/peerage/home/identity/1");
    let key = kad_key(&id(&key()));
    assert_eq!(key[..6], *b"/user/");
    assert_eq!(key[6..], *blake3::hash(id(&self::key()).as_bytes()).as_bytes());
}

#[test]
fn a_change_to_any_byte_is_noticed() {
    for (record, decode) in [
        (PROFILE, (|bytes| Signed::<Profile>::decode(bytes).is_ok()) as fn(Bytes) -> bool),
        (PRESENCE, |bytes| Signed::<Presence>::decode(bytes).is_ok()),
        (SUCCESSION, |bytes| Signed::<Succession>::decode(bytes).is_ok()),
        (BUNDLE, |bytes| Bundle::decode(&bytes).is_ok()),
    ] {
        let whole = bytes_of(record);
        assert!(decode(whole.clone()));
        for at in 0..whole.len() {
            let mut changed = whole.to_vec();
            changed[at] ^= 1;
            assert!(!decode(changed.into()), "byte {at} of {record}");
            assert!(!decode(whole.slice(..at)), "cut at {at}");
        }
        assert!(!decode([&whole[..], &[0]].concat().into()), "a byte more");
    }
}

#[test]
fn a_signature_does_not_count_for_another_kind_or_by_another_key() {
    let presence = signed(presence());
    assert!(Signed::<Profile>::decode(presence.bytes().clone()).is_err());
    assert!(Signed::<Succession>::decode(presence.bytes().clone()).is_err());
    assert_eq!(Signed::sign(profile(), &other()), Err(RecordError::Signature));
    let theirs = Signed::sign(Profile { user: id(&other()), ..profile() }, &other()).unwrap();
    let forged = [&theirs.bytes()[..64], &signed(profile()).bytes()[64..]].concat();
    assert_eq!(Signed::<Profile>::decode(forged.into()), Err(RecordError::Signature));
}

#[test]
fn a_field_out_of_its_bounds_is_refused_when_signed_and_when_read() {
    let long = "x".repeat(257);
    let bio = |text: &str| [("topic".into(), text.into())].into();
    for wrong in [
        Profile { seq: 0, ..profile() },
        Profile { display_name: Some(long.clone()), ..profile() },
        Profile { display_name: Some("\u{1b}[2J".into()), ..profile() },
        Profile { display_name: Some("\u{202e}ana".into()), ..profile() },
        Profile { bio: (0..33).map(|n| (n.to_string(), String::new())).collect(), ..profile() },
        Profile { bio: [(String::new(), String::new())].into(), ..profile() },
        Profile { bio: [(long, String::new())].into(), ..profile() },
        Profile { bio: [("a\nb".into(), String::new())].into(), ..profile() },
        Profile { bio: bio(&"x".repeat(MAX_BIO_BYTES + 1)), ..profile() },
        Profile { bio: bio("\u{7}"), ..profile() },
        Profile {
            services: (0..33).map(|n| ServiceName::new(&format!("s{n}")).unwrap()).collect(),
            ..profile()
        },
        Profile { mailboxes: (0..5).map(|_| PeerId::random()).collect(), ..profile() },
    ] {
        let refused = Signed::sign(wrong.clone(), &key());
        assert!(matches!(refused, Err(RecordError::Field { .. })), "{wrong:?}");
    }
    assert!(
        Signed::sign(Profile { bio: bio("two\nlines\tand a tab"), ..profile() }, &key()).is_ok()
    );
    let large =
        Profile { bio: (0..4).map(|n| (n.to_string(), "x".repeat(4000))).collect(), ..profile() };
    let refused = Signed::sign(large, &key());
    assert!(matches!(refused, Err(RecordError::TooLarge { max: MAX_PROFILE_BYTES, .. })));
    let expires = NOW.plus(MAX_PRESENCE + Duration::from_millis(1));
    assert!(Signed::sign(Presence { expires, ..presence() }, &key()).is_err());
}

#[test]
fn what_a_later_version_adds_is_kept_and_passed_on() {
    let body = &bytes_of(PRESENCE)[64..];
    // One entry more in the map: "new": 1.
    let mut later = vec![body[0] + 1];
    later.extend(&body[1..]);
    later.extend([0x63, b'n', b'e', b'w', 0x01]);
    let message = [&b"peerage/identity/1/presence\0"[..], &later].concat();
    let signature = ed25519_dalek::Signer::sign(&key(), &message).to_bytes();
    let bytes = Bytes::from([&signature[..], &later].concat());
    let read = Signed::<Presence>::decode(bytes.clone()).unwrap();
    assert_eq!(*read, presence());
    let bundle = Bundle { presences: vec![read], ..Bundle::default() };
    let passed_on = Bundle::decode(&bundle.encode()).unwrap();
    assert_eq!(passed_on.presences[0].bytes(), &bytes);
    assert_eq!(passed_on.presences[0].keep().open().bytes(), &bytes);
}

#[test]
fn dates_are_compared_with_a_clock_that_may_be_minutes_off() {
    let before = |by: Duration| UnixMillis(NOW.0 - by.as_millis() as u64);
    assert_eq!(profile().check_time(before(MAX_SKEW)), Ok(()));
    let off = before(MAX_SKEW + Duration::from_secs(1));
    assert_eq!(profile().check_time(off), Err(RecordError::Future { seconds: 601 }));
    assert_eq!(presence().check_time(off), Err(RecordError::Future { seconds: 601 }));
    assert!(presence().is_online(NOW) && !presence().is_online(NOW.plus(HOUR)));
    let out = Presence { expires: NOW, ..presence() };
    assert!(!out.is_online(before(HOUR)));
    assert_eq!(out.check_time(NOW.plus(HOUR * 23)), Ok(()), "it takes back an older one");
    assert_eq!(out.check_time(NOW.plus(MAX_PRESENCE)), Err(RecordError::Expired));
}

#[test]
fn a_key_moves_only_with_the_consent_of_the_new_one() {
    let moved = Succession::moved(id(&key()), &other(), &recovery(), NOW);
    assert_eq!(moved.check(), Ok(()));
    assert!(moved.check_commitment(&profile().recovery).is_ok());
    assert_eq!(moved.check_commitment(&ContentHash([0; 32])), Err(RecordError::Recovery));
    let without = Succession { consent: None, ..moved.clone() };
    let to_another = Succession { successor: Some(id(&recovery())), ..moved.clone() };
    let itself = Succession { successor: Some(id(&key())), ..moved.clone() };
    let of_another = Succession { user: id(&recovery()), ..moved };
    for wrong in [without, to_another, itself, of_another] {
        assert!(Signed::sign(wrong.clone(), &recovery()).is_err(), "{wrong:?}");
    }
    let revoked = Succession::revoked(id(&key()), &recovery(), NOW);
    assert_eq!(Signed::sign(revoked.clone(), &key()), Err(RecordError::Signature));
    assert!(Signed::sign(revoked, &recovery()).is_ok());
}

#[test]
fn a_bundle_is_of_one_user_and_agrees_with_itself() {
    assert!(Bundle::decode(&Bundle::default().encode()).is_err(), "an empty one");
    let theirs = Signed::sign(Presence { user: id(&other()), ..presence() }, &other()).unwrap();
    let mixed = Bundle { presences: vec![theirs], ..bundle() };
    assert_eq!(Bundle::decode(&mixed.encode()), Err(RecordError::Mixed));
    let twice = Bundle { presences: vec![signed(presence()); 2], ..bundle() };
    assert!(matches!(Bundle::decode(&twice.encode()), Err(RecordError::Field { .. })));
    let stranger = Succession::revoked(id(&key()), &other(), NOW);
    let succession = Some(Signed::sign(stranger, &other()).unwrap());
    let forged = Bundle { succession, ..bundle() };
    assert_eq!(Bundle::decode(&forged.encode()), Err(RecordError::Recovery));
    let at = |_| signed(Presence { node: PeerId::random(), ..presence() });
    let many = Bundle { presences: (0..=MAX_NODES).map(at).collect(), ..bundle() };
    assert!(matches!(Bundle::decode(&many.encode()), Err(RecordError::Field { .. })));
    let long = vec![0; MAX_BUNDLE_BYTES + 1];
    assert!(matches!(Bundle::decode(&long), Err(RecordError::TooLarge { .. })));
}

#[test]
fn neither_the_corpus_nor_changes_of_it_break_the_decoder() {
    replay(env!("CARGO_MANIFEST_DIR"), "identity_bundle", fuzz::identity_bundle);
}

#[test]
fn the_corpus_has_every_golden_vector() {
    let corpus = corpus(env!("CARGO_MANIFEST_DIR"), "identity_bundle");
    for hex in [PROFILE, PRESENCE, SUCCESSION, BUNDLE] {
        let bytes = bytes_of(hex);
        assert!(corpus.iter().any(|(_, file)| *file == bytes), "{hex} is missing");
    }
}
