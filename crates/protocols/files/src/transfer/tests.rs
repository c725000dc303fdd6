//! Rows outlive the process that wrote them.

use peerage_api::LinkError;
use peerage_content::{SourceItem, SourceKind, Stamp};
use peerage_types::ContentHash;
use peerage_wire::files::MAX_REASON_BYTES;

use super::*;

fn row() -> Row {
    let hash = ContentHash([0xab; 32]);
    Row {
        state: State::Failed,
        peer: Some(PeerId::random()),
        content: Some(Content {
            root: hash,
            kind: Kind::Tree,
            size: 1000,
            bytes: u64::MAX,
            files: 3,
            name: "ñame".into(),
            file: None,
        }),
        name: "名".into(),
        side: Side::Receive {
            pushed: false,
            published: Some("docs/a b".into()),
            providers: vec![
                (PeerId::random(), vec!["/ip4/127.0.0.1/tcp/1".parse().unwrap()]),
                (PeerId::random(), vec![]),
            ],
            into: "/tmp/a b".into(),
            rename: Some("x".into()),
            share: true,
            begun: true,
        },
        wire_bytes: 1 << 40,
        done_bytes: 7,
        seconds: 0.1,
        limit_bps: Some(1),
        paths: vec!["/tmp/a b/x".into()],
        skipped: vec![Skipped { path: "/dev/null".into(), reason: "no file".into() }],
        skipped_count: 200,
        started: UnixMillis(1),
        finished: Some(UnixMillis(2)),
        error: None,
        untold: Some(News::Rejected("no".into())),
        patient: true,
    }
}

/// What comes back from the store, compared by its encoding and by what it shows.
fn survives(row: &Row) {
    let encoded = row.encode().unwrap();
    let decoded = Row::decode(&encoded).unwrap_or_else(|| panic!("{row:?} is lost"));
    assert_eq!(format!("{row:?}"), format!("{decoded:?}"));
}

fn errors() -> Vec<FilesError> {
    let (peer, hash, transfer) = (PeerId::random(), ContentHash([7; 32]), TransferId([1; 8]));
    let (path, reason) = (PathBuf::from("/a/ñ b"), "because".to_owned());
    vec![
        FilesError::UnknownTransfer { transfer },
        FilesError::UnknownShare { share: "x".into() },
        FilesError::WrongState { transfer, state: State::Asked, action: "be paused".into() },
        FilesError::BadTicket { reason: reason.clone() },
        FilesError::Path { path: path.clone(), reason: reason.clone() },
        FilesError::Changed { path: path.clone() },
        FilesError::NotPublished { peer, path: "a/b".into() },
        FilesError::NotThere { peer, hash },
        FilesError::Unreachable { peer, reason: reason.clone() },
        FilesError::NoProvider { hash },
        FilesError::Rejected { peer, reason: reason.clone() },
        FilesError::Cancelled { by: api::Side::Them },
        FilesError::Blocked { peer },
        FilesError::Unsupported { peer },
        FilesError::DiskFull { dir: path, needed: u64::MAX, free: 0 },
        FilesError::Corrupt { hash },
        FilesError::Expired { peer, seconds: 86_400 },
        FilesError::TimedOut { peer, seconds: 30 },
        FilesError::TooMany { what: "paths".into(), max: 4096 },
        FilesError::Broken { peer, reason: reason.clone() },
        FilesError::Store { reason },
        FilesError::Link(LinkError::Stopped),
        FilesError::Link(LinkError::Overloaded),
    ]
}

/// A new variant must be added to [`errors`]: this does not compile without it.
fn number(error: &FilesError) -> usize {
    match error {
        FilesError::UnknownTransfer { .. } => 0,
        FilesError::UnknownShare { .. } => 1,
        FilesError::WrongState { .. } => 2,
        FilesError::BadTicket { .. } => 3,
        FilesError::Path { .. } => 4,
        FilesError::Changed { .. } => 5,
        FilesError::NotPublished { .. } => 6,
        FilesError::NotThere { .. } => 7,
        FilesError::Unreachable { .. } => 8,
        FilesError::NoProvider { .. } => 9,
        FilesError::Rejected { .. } => 10,
        FilesError::Cancelled { .. } => 11,
        FilesError::Blocked { .. } => 12,
        FilesError::Unsupported { .. } => 13,
        FilesError::DiskFull { .. } => 14,
        FilesError::Corrupt { .. } => 15,
        FilesError::Expired { .. } => 16,
        FilesError::TimedOut { .. } => 17,
        FilesError::TooMany { .. } => 18,
        FilesError::Broken { .. } => 19,
        FilesError::Store { .. } => 20,
        FilesError::Link(_) => 21,
    }
}

#[test]
fn a_row_survives_with_whatever_ended_it() {
    survives(&row());
    let errors = errors();
    let numbers: std::collections::BTreeSet<_> = errors.iter().map(number).collect();
    assert_eq!(numbers.len(), 22, "one of each");
    for error in errors {
        survives(&Row { error: Some(error), ..row() });
    }
}

#[test]
fn every_state_piece_of_news_and_side_survives() {
    let states = [
        State::Preparing,
        State::Offered,
        State::Asked,
        State::Connecting,
        State::AwaitingDirect,
        State::Running,
        State::Paused,
        State::PausedByPeer,
        State::Done,
        State::Failed,
        State::Cancelled,
        State::Rejected,
    ];
    for state in states {
        survives(&Row { state, ..row() });
    }
    let words = || "x".repeat(MAX_REASON_BYTES);
    let all_news = [
        News::Accepted,
        News::Rejected(words()),
        News::Paused,
        News::Resumed,
        News::Cancelled,
        News::Failed(words()),
        News::Done,
    ];
    for news in all_news {
        survives(&Row { untold: Some(news), ..row() });
    }
    let stamp = Stamp { size: 1, secs: -5, nanos: 999_999_999 };
    let record = SourceRecord {
        root: ContentHash([3; 32]),
        kind: SourceKind::Blob,
        name: "a".into(),
        bytes: 1,
        files: 1,
        manifest_bytes: 0,
        items: vec![SourceItem { name: "a".into(), path: "/a".into() }],
        stamp: Some(stamp),
        executable: true,
    };
    for record in [None, Some(record)] {
        survives(&Row { side: Side::Send { keep_links: true, record, offered: true }, ..row() });
    }
    let file = Some((true, i64::MIN, 999_999_999).into());
    let content = Some(Content { kind: Kind::File, file, ..row().content.unwrap() });
    survives(&Row { content, ..row() });
    survives(&Row { peer: None, content: None, finished: None, limit_bps: None, ..row() });
}

#[test]
fn a_row_of_another_version_or_cut_short_is_none() {
    let encoded = row().encode().unwrap();
    for len in 0..encoded.len() {
        assert!(Row::decode(&encoded[..len]).is_none(), "{len} bytes");
    }
    let mut other = encoded.to_vec();
    other[0] += 1;
    assert!(Row::decode(&other).is_none());
}

#[test]
fn what_is_shown_is_never_more_than_there_is() {
    let now = Instant::now();
    let content = |bytes| Content { bytes, ..row().content.unwrap() };
    let row = Row { content: Some(content(10)), done_bytes: 99, state: State::Paused, ..row() };
    let whole = Arc::new(Traffic::new(None, None));
    let transfer = Transfer::new(TransferId([0; 8]), row, whole, now);
    let shown = transfer.shown(now);
    assert_eq!((shown.bytes, shown.done_bytes, shown.resumed_bytes), (10, 10, 10));
    assert_eq!((shown.rate_bps, shown.eta_s, shown.providers), (0, None, 0));
}
