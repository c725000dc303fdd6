use bytes::Bytes;
use data_encoding::HEXLOWER;
use peerage_types::{Author, Hlc, SpaceId, UnixMillis, UserId};
use peerage_wire::{
    fuzz,
    identity::SigningKey,
    kv::grant::{
        Grant, GrantId, GrantRecord, Grantee, MAX_PREFIX_BYTES, MAX_RECORD_BYTES, RecordError,
        Revocation, Rights, Signed, Statement, space_key,
    },
};

use crate::replay::{corpus, replay};

pub(crate) const GIVEN: UnixMillis = UnixMillis(1_800_000_000_000);

pub(crate) fn public(key: &SigningKey) -> [u8; 32] {
    key.verifying_key().to_bytes()
}

pub(crate) fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

pub(crate) fn space() -> SigningKey {
    key(1)
}

pub(crate) fn first() -> Grant {
    Grant {
        space: SpaceId(public(&space())),
        to: Grantee::Node(public(&key(2))),
        issuer: public(&space()),
        rights: Rights::Write,
        prefix: String::new(),
        at: GIVEN,
        expires: None,
        parent: None,
        nonce: [7; 8],
    }
}

pub(crate) fn derived(parent: &Signed<Grant>, to: Grantee) -> Grant {
    Grant {
        to,
        issuer: *parent.to.key(),
        rights: Rights::Read,
        prefix: "a/ü".into(),
        expires: Some(UnixMillis(GIVEN.0 + 1)),
        parent: Some(parent.id()),
        ..first()
    }
}

fn sign<T: Statement>(says: T, by: &SigningKey) -> Signed<T> {
    Signed::sign(says, by).unwrap()
}

fn records() -> [GrantRecord; 3] {
    let first = sign(first(), &space());
    let second = sign(derived(&first, Grantee::User(UserId(public(&key(3))))), &key(2));
    let revocation = Revocation {
        space: first.space,
        grant: second.id(),
        issuer: public(&key(2)),
        at: Hlc::new(GIVEN, 5),
    };
    let revocation = GrantRecord::Revocation(sign(revocation, &key(2)));
    [GrantRecord::Grant(first), GrantRecord::Grant(second), revocation]
}

const SIGNATURES: [&str; 3] = [
    "823add1ed6c21e5c6458b6acdcb6882469748e8393174b153c1c89c384f32bfce4b9d2292e6b4b31529352150ed2987db76fa426bb6258c79b1590db1497af0c",
    "8a75d26643512487a3f62bc1952a541a924a83f606e29adcdc1fceda261eb11cc6fcf5309be55a6d8c4642e7bf41a170abac1570ff765b41e3767dd6f304dc02",
    "6770dc39fde39ac8d042713ea20ee103e67c832fca6889c778dfaf7682b84c5039abe4c8614a55e54b0d5bb9b5c5006e3f84be6c513c4f19de4abfdd28858101",
];
const IDS: [&str; 3] = [
    "b964bbf4117949003771774e4bd956dd",
    "619eb4454ba21004b4a0c53b9ca2ca32",
    "4951d8dadfa2148ee3846861ae5fbf87",
];

fn golden() -> [Bytes; 3] {
    let [space, node, user] = [1, 2, 3].map(|number| HEXLOWER.encode(&public(&key(number))));
    let (none, nonce) = ("00".repeat(16), "07".repeat(8));
    let [first, second, _] = IDS;
    let bodies = [
        format!("01{space}01{node}{space}02000001a3185c5000{:016x}{none}{nonce}0000", 0),
        format!(
            "01{space}02{user}{node}01000001a3185c5000000001a3185c5001{first}{nonce}0004612fc3bc"
        ),
        format!("02{space}{second}{node}01a3185c50000005"),
    ];
    let whole = |(body, signature): (String, &str)| HEXLOWER.decode((body + signature).as_bytes());
    let mut whole = bodies.into_iter().zip(SIGNATURES).map(|pair| whole(pair).unwrap().into());
    std::array::from_fn(|_| whole.next().unwrap())
}

#[test]
fn records_are_these_bytes() {
    for ((record, bytes), id) in records().into_iter().zip(golden()).zip(IDS) {
        assert_eq!(HEXLOWER.encode(record.bytes()), HEXLOWER.encode(&bytes));
        assert_eq!(GrantRecord::claimed_id(&bytes), Some(record.id()));
        assert_eq!((record.id().to_string(), GrantId::parse(id)), (id.into(), Some(record.id())));
        assert_eq!(GrantRecord::decode(bytes), Ok(record));
    }
}

#[test]
fn a_grant_and_its_revocation_have_a_place_each() {
    let [first, second, revocation] = records();
    let place = |record: &GrantRecord| GrantRecord::place(record.bytes()).unwrap();
    let of = |kind: u8, id: GrantId| [&[kind][..], &id.0].concat();
    assert_eq!(place(&first)[..], of(1, first.id()));
    assert_eq!(place(&second)[..], of(1, second.id()));
    assert_eq!(place(&revocation)[..], of(2, second.id()));
    assert_eq!(GrantRecord::place(&[3; 300]), None);
    assert_eq!(GrantRecord::place(&[]), None);
}

#[test]
fn a_change_to_any_byte_is_noticed_and_nothing_is_cut_or_added() {
    for whole in golden() {
        for at in 0..whole.len() {
            let mut changed = whole.to_vec();
            changed[at] ^= 1;
            assert!(GrantRecord::decode(changed.into()).is_err(), "at {at}");
            assert!(GrantRecord::decode(whole.slice(..at)).is_err(), "up to {at}");
        }
        let longer = [&whole[..], &[0]].concat();
        assert!(GrantRecord::decode(longer.into()).is_err());
    }
    let long = vec![1; MAX_RECORD_BYTES + 1];
    assert_eq!(GrantRecord::decode(long.into()), Err(RecordError::Malformed));
}

#[test]
fn a_record_signed_by_another_or_for_another_purpose_is_none() {
    assert_eq!(Signed::sign(first(), &key(9)).unwrap_err(), RecordError::Signature);
    let grant = sign(first(), &space());
    let mut body = vec![Grant::KIND];
    grant.put(&mut body);
    // Neither its body alone nor the signature of someone else will do.
    use ed25519_dalek::Signer as _;
    for by in [space(), key(9)] {
        let bytes = [&body[..], &by.sign(&body).to_bytes()].concat();
        assert_eq!(GrantRecord::decode(bytes.into()), Err(RecordError::Signature));
    }
}

#[test]
fn fields_keep_their_bounds() {
    let fails = |change: fn(&mut Grant), field| {
        let mut grant = first();
        change(&mut grant);
        assert_eq!(Signed::sign(grant, &space()).unwrap_err(), RecordError::Field(field));
    };
    fails(|it| it.prefix = "p".repeat(MAX_PREFIX_BYTES + 1), "prefix");
    fails(|it| it.prefix = "a\0".into(), "prefix");
    fails(|it| it.expires = Some(UnixMillis(0)), "expiry");
    fails(|it| it.parent = Some(GrantId([0; 16])), "parent");
    fails(|it| it.parent = Some(GrantId([1; 16])), "issuer");
    fails(|it| it.issuer = [3; 32], "issuer");
    let longest = Grant { prefix: "p".repeat(MAX_PREFIX_BYTES), ..first() };
    assert_eq!(sign(longest, &space()).bytes().len(), MAX_RECORD_BYTES);
}

#[test]
fn kinds_of_grantees_are_told_apart() {
    let key = [5; 32];
    let [node, user] = [Author::Node(key), Author::User(UserId(key))];
    assert_eq!(Grantee::from(node).author(), Some(node));
    assert_eq!(Grantee::from(user).author(), Some(user));
    assert_ne!(Grantee::from(node), Grantee::from(user));
    assert_eq!(Grantee::Invite(key).author(), None);
    assert!(Rights::Read < Rights::Write);
}

#[test]
fn a_space_has_the_same_key_for_the_same_owner_and_name_only() {
    let id = |owner, name| public(&space_key(&key(owner), name));
    assert_eq!(HEXLOWER.encode(&id(1, "notes")), SPACE);
    assert_eq!(id(1, "notes"), id(1, "notes"));
    let all = [id(1, "notes"), id(2, "notes"), id(1, "note"), id(1, ""), public(&key(1))];
    let distinct: std::collections::BTreeSet<_> = all.iter().collect();
    assert_eq!(distinct.len(), all.len());
}

const SPACE: &str = "abc2795e69e9016fb61c69409ddfabf147550d2dffad8463baac5d31e8333ac6";

#[test]
fn an_id_is_32_digits_and_nothing_else() {
    let id = "00112233445566778899aabbccddeeff";
    assert_eq!(GrantId::parse(id).unwrap().to_string(), id);
    for wrong in ["", &id[1..], &id.to_uppercase(), &id.replacen('0', "+", 1), &format!("{id}0")] {
        assert_eq!(GrantId::parse(wrong), None, "{wrong}");
    }
}

#[test]
fn neither_the_corpus_nor_changes_of_it_break_the_decoder() {
    replay(env!("CARGO_MANIFEST_DIR"), "kv_grant", fuzz::kv_grant);
}

#[test]
fn the_corpus_has_every_golden_vector() {
    let corpus = corpus(env!("CARGO_MANIFEST_DIR"), "kv_grant");
    for bytes in golden() {
        assert!(corpus.iter().any(|(_, file)| *file == bytes), "{bytes:?} is missing");
    }
}
