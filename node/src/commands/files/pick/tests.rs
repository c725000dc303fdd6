use peerage_api::files::Kind;
use peerage_api::types::{ContentHash, UnixMillis};

use super::{super::show::tests::transfer as one, *};

fn reason(failed: Failed) -> (String, String) {
    match failed {
        Failed::Because(reason) => (reason.code, reason.message),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_id_may_be_abbreviated_to_four_digits() {
    let whole = "00ff10ab00000001";
    assert_eq!(Named::parse(whole), Ok(Named::Whole(whole.parse().unwrap())));
    assert_eq!(Named::parse("00FF1"), Ok(Named::Begins("00ff1".into())));
    for wrong in ["", "00f", "00fg", "00ff10ab000000011", "photos"] {
        assert!(Named::parse(wrong).unwrap_err().contains("first 4"), "{wrong}");
    }
}

#[test]
fn a_prefix_means_one_transfer_or_an_error_that_lists_candidates() {
    let known = [one("00ff10ab00000001"), one("00ff20ab00000001"), one("1234567800000000")];
    assert_eq!(transfer("00ff1", &known).unwrap(), known[0].transfer);
    let (code, text) = reason(transfer("00ff", &known).unwrap_err());
    assert_eq!(code, "ambiguous");
    assert!(text.contains("00ff10ab00000001") && text.contains("00ff20ab00000001"), "{text}");
    assert!(!text.contains("12345678"), "{text}");
    let (code, text) = reason(transfer("dead", &known).unwrap_err());
    assert_eq!(code, "unknown_transfer");
    assert!(text.contains("no transfer begins with dead") && text.contains("12345678"), "{text}");
    assert!(reason(transfer("dead", &[]).unwrap_err()).1.ends_with("there are none"));
}

#[test]
fn a_share_is_meant_by_id_prefix_name_hash_or_ticket() {
    let share = |id: &str, name: &str, byte| Share {
        share: id.parse().unwrap(),
        name: name.to_owned(),
        what: Shared::Content {
            hash: ContentHash([byte; 32]),
            kind: Kind::File,
            bytes: 1,
            files: 1,
            ticket: format!("peeragefile1{byte}"),
        },
        paths: vec![],
        served_bytes: 0,
        created_ms: UnixMillis(0),
        skipped: vec![],
        skipped_count: 0,
        missing: false,
    };
    let known = [
        share("00ff10ab00000001", "photos", 1),
        share("00ff20ab00000001", "notes", 2),
        share("1234567800000000", "notes", 3),
        share("5555567800000000", "00ff", 4),
    ];
    let hash = ContentHash([3; 32]).to_string().to_uppercase();
    for (text, index) in [
        ("00FF10ab00000001", 0),
        ("00ff2", 1),
        ("photos", 0),
        (&hash, 2),
        ("PEERAGEFILE11", 0),
        // A name comes before what an id begins with.
        ("00ff", 3),
    ] {
        assert_eq!(super::share(text, &known).unwrap(), &known[index], "{text}");
    }
    let (code, text) = reason(super::share("notes", &known).unwrap_err());
    assert_eq!(code, "ambiguous");
    assert!(text.contains("00ff20ab00000001 notes") && text.contains("1234567800000000"), "{text}");
    assert_eq!(reason(super::share("nothing", &known).unwrap_err()).0, "unknown_share");
}
