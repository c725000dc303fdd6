use bech32::{Bech32m, Hrp};
use data_encoding::HEXLOWER;
use peerage_types::{Author, Multiaddr, PeerId, SpaceId, UserId};
use peerage_wire::{
    fuzz,
    kv::{
        grant::{Grant, Grantee, MAX_PREFIX_BYTES, RecordError, Rights, Signed},
        ticket::{Holder, MAX_LINKS, MAX_NAME_BYTES, PREFIX, SpaceTicket, TicketError},
    },
};

use crate::{
    kv_grant::{derived, first, key, public, space},
    replay::{corpus, replay},
};

fn peer() -> PeerId {
    "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp".parse().unwrap()
}

fn address(port: u16) -> Multiaddr {
    format!("/ip4/192.0.2.1/tcp/{port}").parse().unwrap()
}

/// From the space over users 2, 3, … to the invite, whose key is 9; each adds `step` to the prefix.
fn chain(links: u8, step: &str) -> Vec<Signed<Grant>> {
    let mut grants: Vec<Signed<Grant>> = Vec::new();
    for number in 0..links {
        let to = match number + 1 == links {
            true => Grantee::Invite(public(&key(9))),
            false => Grantee::User(UserId(public(&key(number + 2)))),
        };
        let prefix = step.repeat(number.into());
        let (grant, by) = match grants.last() {
            None => (Grant { to, ..first() }, space()),
            Some(parent) => (Grant { prefix, ..derived(parent, to) }, key(number + 1)),
        };
        grants.push(Signed::sign(grant, &by).unwrap());
    }
    grants
}

fn ticket(grants: Vec<Signed<Grant>>) -> SpaceTicket {
    SpaceTicket {
        space: SpaceId(public(&space())),
        name: "nötes".into(),
        holder: Holder::Anyone(key(9)),
        grants,
        peers: vec![(peer(), vec![address(1)])],
    }
}

fn coded(bytes: &[u8]) -> String {
    bech32::encode::<Bech32m>(Hrp::parse(PREFIX).unwrap(), bytes).unwrap()
}

fn inside(text: &str) -> Vec<u8> {
    bech32::decode(text).unwrap().1
}

#[test]
fn a_ticket_survives_as_text_in_either_case() {
    for links in 1..=3 {
        let ticket = ticket(chain(links, "ä/"));
        let text = ticket.encode().unwrap();
        assert!(text.starts_with("peeragespace1"), "{text}");
        assert_eq!(SpaceTicket::decode(&text), Ok(ticket.clone()));
        assert_eq!(SpaceTicket::decode(&format!(" {}\n", text.to_uppercase())), Ok(ticket));
    }
}

#[test]
fn a_ticket_for_a_node_or_a_user_holds_no_secret_and_survives() {
    let key9 = public(&key(9));
    for author in [Author::Node(key9), Author::User(UserId(key9))] {
        let grant = Grant { to: author.into(), ..first() };
        let grants = vec![Signed::sign(grant, &space()).unwrap()];
        let named = SpaceTicket { holder: Holder::Named(author), ..ticket(grants) };
        let text = named.encode().unwrap();
        assert!(!HEXLOWER.encode(&inside(&text)).contains(&"09".repeat(32)));
        assert_eq!(SpaceTicket::decode(&text), Ok(named));
    }
}

const SIGNATURES: [&str; 2] = [
    "e0f9b24567ccb2bbb2a64134e65ce0e94e7d54d5964fdfaa8602d75fc92599a1fbc2a66dce75316b10652419a6a98b5232eae8a586bc0f90adbdebb299911608",
    "d9101bb2f360bb0fdb4b9c4770e96c39312fbfeb02653683b5d899b80926d510d283d643e03c3a6cad03a458536ad1a9e96f30c6e7c9ab7514dcf77351df110c",
];

fn golden() -> Vec<u8> {
    let [space, user] = [1, 2].map(|number| HEXLOWER.encode(&public(&key(number))));
    let (invite, nonce) = ("09".repeat(32), "07".repeat(8));
    let [first, second] = SIGNATURES;
    let peer = HEXLOWER.encode(&peer().to_bytes());
    let hex = format!(
        "01{space}03{invite}066ec3b6746573\
         02\
         02{user}02000001a3185c5000{:016x}{nonce}0000{first}\
         01000001a3185c5000000001a3185c5001{nonce}0002612f{second}\
         0126{peer}01000804c0000201060001",
        0
    );
    HEXLOWER.decode(hex.as_bytes()).unwrap()
}

#[test]
fn tickets_are_these_bytes_for_ever_and_in_no_other_form() {
    let ticket = ticket(chain(2, "a/"));
    assert_eq!(HEXLOWER.encode(&inside(&ticket.encode().unwrap())), HEXLOWER.encode(&golden()));
    assert_eq!(SpaceTicket::decode(&coded(&golden())), Ok(ticket));
    let longer = [&golden()[..], &[0]].concat();
    assert_eq!(SpaceTicket::decode(&coded(&longer)), Err(TicketError::Malformed));
}

#[test]
fn a_ticket_with_a_changed_byte_admits_nobody_to_anything_else() {
    let whole = golden();
    let fine = SpaceTicket::decode(&coded(&whole)).unwrap();
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        // Name and peers are not signed; what is signed and the holder are as they were.
        if let Ok(read) = SpaceTicket::decode(&coded(&changed)) {
            assert_eq!((&read.grants, &read.holder), (&fine.grants, &fine.holder), "at {at}");
        }
        assert!(SpaceTicket::decode(&coded(&whole[..at])).is_err(), "up to {at}");
    }
}

#[test]
fn what_is_wrong_with_a_ticket_is_said() {
    let text = coded(&golden());
    let mut wrong = text.clone();
    let swapped = if text.ends_with('q') { 'p' } else { 'q' };
    wrong.replace_range(text.len() - 1.., &swapped.to_string());
    let fails = |text: &str, error| assert_eq!(SpaceTicket::decode(text), Err(error));
    fails(&wrong, TicketError::Checksum);
    fails(&text[..40], TicketError::Checksum);
    fails("", TicketError::Checksum);
    fails(&"q".repeat(1024), TicketError::Checksum);
    let other = bech32::encode::<Bech32m>(Hrp::parse("peeragefile").unwrap(), &golden()).unwrap();
    fails(&other, TicketError::Prefix("peeragefile".into()));
    fails(&coded(&[2]), TicketError::Version(2));
    fails(&coded(&[]), TicketError::Malformed);
    fails(&coded(&[1, 0xff]), TicketError::Malformed);
    let mut forged = golden();
    forged[171] ^= 1;
    fails(&coded(&forged), TicketError::Grant(RecordError::Signature));
    let mut spoken = golden();
    spoken[67] = 0x1b;
    fails(&coded(&spoken), TicketError::Malformed);
}

#[test]
fn a_ticket_leaves_out_addresses_and_then_peers_that_do_not_fit() {
    let addresses: Vec<_> = (1..20).map(address).collect();
    for links in 1..=MAX_LINKS as u8 {
        let mut ticket = ticket(chain(links, "12345678"));
        ticket.name = "n".repeat(MAX_NAME_BYTES);
        ticket.peers = vec![(peer(), addresses.clone()); 9];
        let text = ticket.encode().unwrap();
        assert!(text.len() <= 1023, "{}", text.len());
        let read = SpaceTicket::decode(&text).unwrap();
        assert_eq!(read.grants, ticket.grants);
        let kept: Vec<_> = read.peers.iter().map(|(_, addresses)| addresses.len()).collect();
        assert_eq!(kept.first().is_some_and(|count| *count > 0), links < 4, "{links}: {kept:?}");
    }
}

#[test]
fn a_ticket_that_cannot_be_made_is_not() {
    let long = "p".repeat(MAX_PREFIX_BYTES);
    assert_eq!(ticket(chain(2, &long)).encode(), Err(TicketError::TooLong));
    let fails = |change: fn(&mut SpaceTicket), error| {
        let mut ticket = ticket(chain(3, "a/"));
        change(&mut ticket);
        assert_eq!(ticket.encode(), Err(error));
    };
    fails(|it| it.grants.clear(), TicketError::Chain);
    fails(|it| _ = it.grants.remove(0), TicketError::Chain);
    fails(|it| _ = it.grants.remove(1), TicketError::Chain);
    fails(|it| _ = it.grants.pop(), TicketError::Chain);
    fails(|it| it.holder = Holder::Anyone(key(8)), TicketError::Chain);
    fails(|it| it.space = SpaceId([3; 32]), TicketError::Chain);
    fails(|it| it.grants = chain(5, ""), TicketError::Chain);
    fails(|it| it.name = "n".repeat(MAX_NAME_BYTES + 1), TicketError::Malformed);
    fails(|it| it.name = "\x1b[2J".into(), TicketError::Malformed);
    let node = Grant { to: Grantee::Node(public(&key(9))), rights: Rights::Write, ..first() };
    let other = ticket(vec![Signed::sign(node, &space()).unwrap()]);
    assert_eq!(other.encode(), Err(TicketError::Chain), "an invite is no node");
}

#[test]
fn the_secret_of_a_ticket_is_not_shown() {
    let shown = format!("{:?}", ticket(chain(2, "")));
    assert!(!shown.contains("9, 9, 9, 9") && !shown.contains("09090909"), "{shown}");
}

#[test]
fn neither_the_corpus_nor_changes_of_it_break_the_decoder() {
    replay(env!("CARGO_MANIFEST_DIR"), "kv_ticket", fuzz::kv_ticket);
}

#[test]
fn the_corpus_has_the_golden_vector() {
    let corpus = corpus(env!("CARGO_MANIFEST_DIR"), "kv_ticket");
    assert!(corpus.iter().any(|(_, file)| *file == golden()));
}
