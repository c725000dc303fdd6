use data_encoding::HEXLOWER;
use peerage_types::{ContentHash, Multiaddr, PeerId, TransferId};
use peerage_wire::files::{
    Answer, Content, FileMode, Frame, FrameError, Kind, LENGTH_BYTES, News, Part, Refusal, Request,
    Run, Status, Ticket, TicketError, length, manifest::Modified, reason,
};

fn content(name: &str) -> Content {
    let root = ContentHash([7; 32]);
    let name = name.to_owned();
    Content { root, kind: Kind::File, size: 300, bytes: 300, files: 1, name, file: Some(mode()) }
}

fn mode() -> FileMode {
    let modified = Modified { secs: 1_000_000_000, nanos: 123_000_000 };
    FileMode { executable: true, modified }
}

fn tree(name: &str) -> Content {
    Content { kind: Kind::Tree, files: 9, bytes: 1 << 40, file: None, ..content(name) }
}

fn peer() -> PeerId {
    "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN".parse().unwrap()
}

fn address(port: u16) -> Multiaddr {
    format!("/ip4/192.0.2.1/tcp/{port}").parse().unwrap()
}

const ID: TransferId = TransferId([1, 2, 3, 4, 5, 6, 7, 8]);

fn requests() -> Vec<Request> {
    let root = ContentHash([7; 32]);
    let tell = |news| Request::Tell { transfer: ID, news };
    vec![
        Request::Offer { transfer: ID, content: content("report.pdf") },
        Request::Fetch { transfer: Some(ID), root, part: Part::Tree, have: 9 },
        Request::Fetch { transfer: None, root, part: Part::Root, have: 0 },
        Request::Resolve { path: "music/ä".into() },
        tell(News::Accepted),
        tell(News::Rejected("no".into())),
        tell(News::Paused),
        tell(News::Resumed),
        tell(News::Cancelled),
        tell(News::Failed("disk full".into())),
        tell(News::Done),
        Request::Offer { transfer: ID, content: tree("photos") },
    ]
}

fn answers() -> Vec<Answer> {
    let refusals = [
        Refusal::NotFound,
        Refusal::Declined("no".into()),
        Refusal::Busy,
        Refusal::Paused,
        Refusal::Changed,
        Refusal::Unreadable,
    ];
    let mut all = vec![
        Answer::Accepted,
        Answer::Later,
        Answer::Noted,
        Answer::Open { size: 7 },
        Answer::Hashing { bytes: 1, total: 2 },
        Answer::Resolved(content("a")),
    ];
    all.extend(refusals.map(Answer::Refused));
    all
}

fn round_trip<F: Frame + PartialEq + std::fmt::Debug>(frames: Vec<F>) {
    for frame in frames {
        let bytes = frame.encode();
        let (head, body) = bytes.split_at(LENGTH_BYTES);
        assert_eq!(length(head.try_into().unwrap()).unwrap(), body.len());
        assert_eq!(F::decode(body).unwrap(), frame);
        let mut longer = body.to_vec();
        longer.push(0);
        assert_eq!(F::decode(&longer), Err(FrameError::Malformed), "trailing byte after {frame:?}");
        for end in 0..body.len() {
            assert!(F::decode(&body[..end]).is_err(), "{frame:?} cut at {end}");
        }
    }
}

#[test]
fn frames_come_back_as_they_were_sent_and_in_no_other_form() {
    round_trip(requests());
    round_trip(answers());
}

#[test]
fn frames_are_these_bytes_for_ever() {
    let golden = |frame: &Request| HEXLOWER.encode(&frame.encode());
    let root = "07".repeat(32);
    assert_eq!(
        golden(&requests()[1]),
        format!(
            "00000051a1656665746368a4687472616e7366657248010203040506070864726f6f745820{root}\
             647061727464747265656468617665{}",
            "09"
        )
    );
    assert_eq!(
        golden(&requests()[6]),
        "00000025a16474656c6ca2687472616e73666572480102030405060708646e65777366706175736564"
    );
    // offer, transfer, content: root, kind, size, bytes, files, name, file.
    let start = format!(
        "a1656f66666572a2687472616e736665724801020304050607\
         0867636f6e74656e74{{fields}}64726f6f745820{root}646b696e64"
    );
    let offer = |len: &str, fields: &str, rest: &str| {
        format!("{len}{}{rest}", start.replace("{fields}", fields))
    };
    assert_eq!(
        golden(&requests()[0]),
        offer(
            "0000008d",
            "a7",
            "6466696c656473697a6519012c65627974657319012c6566696c657301\
             646e616d656a7265706f72742e7064666466696c6583f51a3b9aca001a0754d4c0"
        )
    );
    assert_eq!(
        golden(&requests()[11]),
        offer(
            "0000007e",
            "a6",
            "64747265656473697a6519012c6562797465731b00000100000000006566696c657309\
             646e616d656670686f746f73"
        )
    );
    assert_eq!(Run { first: 1, count: 0x0203 }.encode(), [0, 0, 0, 1, 0, 0, 2, 3]);
    assert_eq!(Run::decode([0, 0, 0, 1, 0, 0, 2, 3]), Run { first: 1, count: 0x0203 });
    assert_eq!([0, 1, 2, 3, 4].map(Status::decode).map(|s| s.unwrap() as u8), [0, 1, 2, 3, 4]);
    assert_eq!(Status::decode(5), None);
}

#[test]
fn lengths_are_bounded_before_anything_is_read() {
    for wrong in [0u32, 8193, u32::MAX] {
        assert_eq!(length(wrong.to_be_bytes()), Err(FrameError::Length { len: wrong }));
    }
    assert_eq!(length(8192u32.to_be_bytes()), Ok(8192));
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let long = "x".repeat(256);
    for name in ["", "..", "a/b", "a\\b", "a\0", "C:", "con", "a\u{202e}b", &long] {
        let offer = Request::Offer { transfer: ID, content: content(name) };
        assert!(Request::decode(&offer.encode()[LENGTH_BYTES..]).is_err(), "{name:?}");
    }
    let lie = Content { bytes: 9, ..content("a") };
    let offer = Request::Offer { transfer: ID, content: lie };
    assert_eq!(Request::decode(&offer.encode()[LENGTH_BYTES..]), Err(FrameError::Malformed));
}

#[test]
fn modes_and_times_that_make_no_sense_are_refused() {
    let offer = |content: &Content| {
        let offer = Request::Offer { transfer: ID, content: content.clone() };
        Request::decode(&offer.encode()[LENGTH_BYTES..]).map(drop)
    };
    let time = |secs, nanos| {
        let modified = Modified { secs, nanos };
        Content { file: Some(FileMode { executable: false, modified }), ..content("a") }
    };
    for fine in [time(i64::MIN, 999_999_999), time(-1, 0), Content { file: None, ..content("a") }] {
        assert_eq!(offer(&fine), Ok(()));
        let ticket = Ticket { content: fine, peers: vec![] };
        assert_eq!(Ticket::decode(&ticket.encode()), Ok(ticket));
    }
    for wrong in [time(0, 1_000_000_000), Content { file: Some(mode()), ..tree("a") }] {
        assert_eq!(offer(&wrong), Err(FrameError::Malformed));
        let ticket = Ticket { content: wrong, peers: vec![] };
        let error = TicketError::Content(FrameError::Malformed);
        assert_eq!(Ticket::decode(&ticket.encode()), Err(error));
    }
    // Not known is said by leaving it out, not by null.
    let unknown = Request::Offer { transfer: ID, content: tree("a") }.encode();
    let mut null = unknown[LENGTH_BYTES..].to_vec();
    let fields = null.iter().position(|byte| *byte == 0xa6).unwrap();
    null[fields] = 0xa7;
    null.extend_from_slice(b"\x64file\xf6");
    assert_eq!(Request::decode(&null), Err(FrameError::Malformed));
}

#[test]
fn a_reason_is_cut_between_characters() {
    assert_eq!(reason("short"), "short");
    let cut = reason(&"ä".repeat(200));
    assert_eq!((cut.len(), cut.chars().count()), (256, 128));
}

#[test]
fn a_ticket_survives_as_text_in_either_case() {
    let ticket = Ticket { content: content("a.txt"), peers: vec![(peer(), vec![address(1)])] };
    let text = ticket.encode();
    assert!(text.starts_with("peeragefile1"), "{text}");
    assert_eq!(Ticket::decode(&text), Ok(ticket.clone()));
    assert_eq!(Ticket::decode(&format!(" {}\n", text.to_uppercase())), Ok(ticket));
}

#[test]
fn tickets_are_these_bytes_for_ever_and_in_no_other_form() {
    let hrp = bech32::Hrp::parse("peeragefile").unwrap();
    let root = "07".repeat(32);
    let coded = |hex: &str| {
        let bytes = HEXLOWER.decode(hex.as_bytes()).unwrap();
        bech32::encode::<bech32::Bech32m>(hrp, &bytes).unwrap()
    };
    let peer_bytes = HEXLOWER.encode(&peer().to_bytes());
    let peers = format!("81825826{peer_bytes}814804c000020106{:04x}", 1);
    let file = format!(
        "01885820{root}6466696c6519012c19012c0165612e74787483f51a3b9aca001a0754d4c0{peers}"
    );
    let ticket = Ticket { content: content("a.txt"), peers: vec![(peer(), vec![address(1)])] };
    assert_eq!(ticket.encode(), coded(&file));
    let dir = format!("01885820{root}647472656519012c1b0000010000000000096161f680");
    let ticket = Ticket { content: tree("a"), peers: vec![] };
    assert_eq!(ticket.encode(), coded(&dir));
    assert_eq!(Ticket::decode(&coded(&dir)), Ok(ticket));
    // A byte more, and a number in a longer form.
    for other in [format!("{dir}00"), dir.replace("0961", "180961")] {
        assert_eq!(Ticket::decode(&coded(&other)), Err(TicketError::Malformed), "{other}");
    }
}

#[test]
fn a_ticket_with_too_many_addresses_keeps_its_first_peers() {
    let addresses: Vec<_> = (1..20).map(address).collect();
    let peers = vec![(peer(), addresses); 9];
    let ticket = Ticket { content: content(&"n".repeat(255)), peers };
    let text = ticket.encode();
    assert!(text.len() <= 1023, "{}", text.len());
    let read = Ticket::decode(&text).unwrap();
    assert!(!read.peers.is_empty() && read.peers[0].1.contains(&address(1)));
}

#[test]
fn what_is_wrong_with_a_ticket_is_said() {
    let ticket = Ticket { content: content("a.txt"), peers: vec![] };
    let text = ticket.encode();
    let mut wrong = text.clone();
    let swapped = if text.ends_with('q') { 'p' } else { 'q' };
    wrong.replace_range(text.len() - 1.., &swapped.to_string());
    assert_eq!(Ticket::decode(&wrong), Err(TicketError::Checksum));
    assert_eq!(Ticket::decode(&text[..40]), Err(TicketError::Checksum));
    assert_eq!(Ticket::decode(""), Err(TicketError::Checksum));
    let other = bech32::encode::<bech32::Bech32m>(bech32::Hrp::parse("abc").unwrap(), &[1]);
    assert_eq!(Ticket::decode(&other.unwrap()), Err(TicketError::Prefix("abc".into())));
    let hrp = bech32::Hrp::parse("peeragefile").unwrap();
    let coded = |bytes: &[u8]| bech32::encode::<bech32::Bech32m>(hrp, bytes).unwrap();
    assert_eq!(Ticket::decode(&coded(&[2])), Err(TicketError::Version(2)));
    assert_eq!(Ticket::decode(&coded(&[])), Err(TicketError::Malformed));
    assert_eq!(Ticket::decode(&coded(&[1, 0xff])), Err(TicketError::Malformed));
}
