use peerage_api::types::UnixMillis;

use super::*;

fn user(byte: u8) -> UserId {
    UserId([byte; 32])
}

fn called(text: &str) -> Named {
    named(text).unwrap()
}

fn contact(byte: u8, nick: Option<&str>, handle: Option<&str>) -> Contact {
    Contact {
        user: user(byte),
        nick: nick.map(str::to_owned),
        trust: 0,
        met: false,
        location: None,
        notes: None,
        tags: [].into(),
        verified: false,
        revoked: false,
        blocked: false,
        added_ms: UnixMillis(0),
        updated_ms: UnixMillis(0),
        moved_from: None,
        handle: handle.map(|handle| handle.parse().unwrap()),
        display_name: None,
        online: false,
        lookalikes: vec![],
    }
}

#[test]
fn a_user_is_named_by_its_whole_id_or_by_what_it_is_called() {
    let id = user(7).to_string();
    assert_eq!(called(&id), Named::Id(user(7)));
    assert_eq!(called(&id.to_uppercase()), Named::Id(user(7)));
    let ada = |handle| Named::Called { name: "ada".into(), handle };
    assert_eq!((called("ada"), called("@ada")), (ada(false), ada(true)));
    assert_eq!(called("My Aunt").to_string(), "My Aunt");
    assert_eq!(called("@ada").to_string(), "@ada");
    assert!(matches!(called("user1x"), Named::Called { .. }), "short enough for a handle");
    for wrong in ["", " ", "@", "@my aunt", &id[..62], &format!("{id}q"), &"x".repeat(257)] {
        assert!(named(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_name_that_can_mean_several_is_refused_with_all_of_them() {
    let candidate = |byte, text: &str| Candidate { user: user(byte), text: text.into() };
    let known = candidate(1, "@ada");
    let same = vec![candidate(1, "contact ada"), known.clone()];
    assert_eq!(one(&called("ada"), same, "").unwrap(), user(1));
    let Err(Failed::Because(reason)) = one(&called("ada"), vec![candidate(2, "@ada"), known], "")
    else {
        panic!("not refused")
    };
    assert_eq!(reason.code, "ambiguous");
    for byte in [1, 2] {
        assert!(reason.message.contains(&user(byte).to_string()), "{}", reason.message);
    }
    assert_eq!(reason.to_json()["error"]["users"].as_array().unwrap().len(), 2);
    let Err(Failed::Because(reason)) = one(&called("ada"), vec![], "here") else {
        panic!("not refused")
    };
    assert_eq!(reason.code, "unknown_user");
}

#[test]
fn a_contact_is_called_by_nick_or_handle_and_with_an_at_by_handle_alone() {
    let ada = contact(1, Some("My Aunt"), Some("Ada"));
    assert!(is_called(&ada, "my aunt", false) && is_called(&ada, "ada", false));
    assert!(is_called(&ada, "ada", true) && !is_called(&ada, "my aunt", true));
    assert!(!is_called(&ada, "aunt", false), "a part of it is not enough");
    assert_eq!(Candidate::contact(&ada).text, "contact My Aunt");
}

#[test]
fn a_contact_is_meant_before_strangers_unless_it_is_blocked_or_revoked() {
    let ada = contact(1, Some("My Aunt"), Some("Ada"));
    let blocked = Contact { blocked: true, ..contact(2, None, Some("ada")) };
    let revoked = Contact { revoked: true, ..contact(3, None, Some("ada")) };
    let meant = |book: &[Contact]| one(&called("ada"), preferred(book), "").ok();
    assert_eq!(meant(&[blocked.clone(), ada, revoked.clone()]), Some(user(1)));
    assert_eq!(meant(&[blocked, revoked]), None);
}
