//! What honest peers do.

use super::*;

#[tokio::test]
async fn equal_replicas_find_out_in_one_round_trip_and_less_than_200_bytes() {
    let (one, two) = (peer(1).await, peer(2).await);
    for _ in 0..2 {
        let (ours, theirs) = meet(&one, &two).await;
        assert!(ours.equal && bytes(&ours) < 200, "{} bytes", bytes(&ours));
        assert_eq!((ours.report.rounds, theirs.report.rounds), (1, 1));
        one.fill("a", 0..100).await;
        meet(&two, &one).await;
    }
}

#[tokio::test]
async fn an_empty_replica_gets_everything_in_one_round_trip() {
    let (one, two) = (peer(1).await, peer(2).await);
    one.fill("a", 0..1_000).await;
    let (ours, theirs) = meet(&two, &one).await;
    assert!(ours.equal);
    assert_eq!(
        (ours.report.rounds, ours.report.entries_in, theirs.report.entries_out),
        (1, 1_000, 1_000)
    );
    assert_equal(&one, &two).await;
    // It may as well be the one that is asked.
    let three = peer(3).await;
    let (ours, _) = meet(&one, &three).await;
    assert!(ours.equal && ours.report.rounds <= 2);
    assert_equal(&one, &three).await;
}

#[tokio::test]
async fn what_changed_since_the_last_session_is_all_that_travels() {
    let (one, two) = (peer(1).await, peer(2).await);
    one.fill("a", 0..5_000).await;
    meet(&two, &one).await;
    for n in 0..10 {
        one.write(vec![put(format!("settings/of/service/{n}"), "some value")], START).await;
    }
    let (ours, _) = meet(&two, &one).await;
    assert!(ours.equal && bytes(&ours) <= 5 << 10, "{} bytes", bytes(&ours));
    assert_eq!((ours.report.rounds, ours.report.entries_in), (1, 10));
    // Whoever has the news may open the session, and what both have written travels both ways.
    one.write(vec![put("x", 1)], START).await;
    two.write(vec![put("y", 1)], START).await;
    let (ours, theirs) = meet(&one, &two).await;
    assert!(ours.equal && ours.report.rounds <= 2);
    assert_eq!((ours.report.entries_in, theirs.report.entries_in), (1, 1));
    assert_eq!((ours.report.entries_out, theirs.report.entries_out), (1, 1));
    let (ours, _) = meet(&one, &two).await;
    assert!(bytes(&ours) < 200);
}

#[tokio::test]
async fn replicas_that_know_nothing_of_each_other_exchange_what_either_lacks() {
    let (one, two) = (peer(1).await, peer(2).await);
    one.fill("both", 0..300).await;
    meet(&two, &one).await;
    let three = peer(3).await;
    meet(&three, &one).await;
    one.fill("one", 0..500).await;
    three.fill("three", 0..700).await;
    three.fill("both", 0..50).await;
    three.write(vec![delete("both/200")], START).await;
    two.fill("two", 0..20).await;
    for (first, second) in [(&two, &three), (&one, &three), (&one, &two)] {
        let (ours, _) = meet(first, second).await;
        assert!(ours.equal);
        assert_equal(first, second).await;
    }
    assert_eq!(one.read("both/200", START).await, None);
    assert_eq!(two.items().await.len(), 300 + 500 + 700 + 20);
}

#[tokio::test]
async fn the_later_of_two_writes_wins_on_both_sides() {
    let (one, two) = (peer(1).await, peer(2).await);
    one.write(vec![put("k", 1), put("other", 1)], START).await;
    two.write(vec![put("k", 2)], START.plus(Duration::from_millis(1))).await;
    let (ours, _) = meet_at(&one, &two, START.plus(DAY)).await;
    assert!(ours.equal);
    for peer in [&one, &two] {
        assert_eq!(peer.read("k", START).await, Some(Value::Int(2)));
    }
}

#[tokio::test]
async fn replicas_of_very_different_size_need_few_turns() {
    for (few, many) in [(3, 3_000), (40, 3_000), (1, 33)] {
        let (one, two) = (peer(1).await, peer(2).await);
        one.fill("few", 0..few).await;
        two.fill("many", 0..many).await;
        let (ours, _) = meet(&one, &two).await;
        assert!(ours.equal && ours.report.rounds <= 5, "{} rounds", ours.report.rounds);
        assert_equal(&one, &two).await;
    }
}

#[tokio::test]
async fn large_values_come_in_parts_and_whole() {
    let (one, two) = (peer(1).await, peer(2).await);
    let value = |len: usize, byte: u8| Value::Bytes(Bytes::from(vec![byte; len]));
    let sizes = [64 << 10, (64 << 10) + 1, 1 << 20, (3 << 20) + 5, 16 << 20];
    for (n, len) in (0..).zip(sizes) {
        one.write(vec![put(format!("large/{n}"), value(len, n))], START).await;
    }
    one.write(vec![put("small", 1)], START).await;
    let (ours, theirs) = meet(&two, &one).await;
    assert!(ours.equal);
    assert_eq!((ours.report.entries_in, theirs.report.entries_out), (6, 6));
    for (n, len) in (0..).zip(sizes) {
        assert_eq!(two.read(&format!("large/{n}"), START).await, Some(value(len, n)));
    }
    // By ranges too, both ways, and not again.
    let three = peer(3).await;
    three.write(vec![put("mine", value(100_000, 9))], START).await;
    let (ours, theirs) = meet(&three, &two).await;
    assert!(ours.equal);
    assert_eq!((ours.report.entries_in, theirs.report.entries_in), (6, 1));
    let (ours, _) = meet(&three, &two).await;
    assert!(bytes(&ours) < 200);
}

#[tokio::test]
async fn a_value_over_the_limit_of_this_node_is_not_even_fetched() {
    let one = peer(1).await;
    let two = limited(2, Limits { max_value: 100_000, ..Limits::default() }).await;
    one.write(vec![put("k", Value::Bytes(vec![1; 5 << 20].into())), put("a", 1)], START).await;
    let (ours, _) = meet(&two, &one).await;
    assert!(!ours.equal);
    assert_eq!((ours.report.entries_in, ours.report.refused > 0), (1, true));
    assert!(bytes(&ours) < 10_000, "{}", bytes(&ours));
}

#[tokio::test]
async fn what_one_refuses_ends_the_session_without_being_equal() {
    let one = peer(1).await;
    let two = limited(2, Limits { space_entries: 10, ..Limits::default() }).await;
    one.fill("a", 0..50).await;
    for _ in 0..2 {
        let (ours, _) = meet(&two, &one).await;
        assert!(!ours.equal);
        assert!(ours.report.refused > 0);
    }
    assert_eq!(two.items().await.len(), 10);
}

#[tokio::test]
async fn both_write_much_without_waiting_for_each_other() {
    let (one, two) = (peer(1).await, peer(2).await);
    let text = "x".repeat(2_000);
    for (peer, prefix) in [(&one, "one"), (&two, "two")] {
        let writes = (0..1_500).map(|n| put(format!("{prefix}/{n}"), text.clone())).collect();
        peer.write(writes, START).await;
    }
    // 3 MB each way through pipes of 16 KiB.
    let (ours, _) = meet(&one, &two).await;
    assert!(ours.equal && bytes(&ours) > 6_000_000);
    assert_equal(&one, &two).await;
}

#[tokio::test]
async fn deleted_and_expired_entries_are_the_same_everywhere() {
    let (one, two) = (peer(1).await, peer(2).await);
    one.fill("a", 0..100).await;
    let short = put("short", 1).expiring(Duration::from_secs(10));
    one.write(vec![short, put("long", 1).expiring(DAY)], START).await;
    meet(&two, &one).await;
    one.write((0..50).map(|n| delete(format!("a/{n}"))).collect(), START).await;
    let later = START.plus(Duration::from_secs(11));
    one.replica.expire(later).await.unwrap();
    let (ours, _) = meet_at(&two, &one, later).await;
    assert!(ours.equal);
    for peer in [&one, &two] {
        assert_eq!(peer.read("short", later).await, None);
        assert_eq!(peer.read("long", later).await, Some(Value::Int(1)));
        assert_eq!(peer.read("a/0", later).await, None);
    }
    // To a new one as well, whose clock is a little behind.
    let three = peer(3).await;
    let (left, right) = pipe();
    let space = one.replica.default_space();
    let (first, _) = tokio::join!(
        initiate(left, one.id, space, three.replica.clone(), || START.plus(Duration::from_secs(5))),
        respond(right, three.id, one.replica.clone(), || later),
    );
    assert!(first.unwrap().equal);
    assert_equal(&one, &three).await;
}

#[tokio::test]
async fn a_replica_that_was_away_too_long_does_not_bring_back_what_was_deleted() {
    let (one, two) = (peer(1).await, peer(2).await);
    one.fill("a", 0..200).await;
    meet(&two, &one).await;
    one.write((0..100).map(|n| delete(format!("a/{n}"))).collect(), START).await;
    one.write(vec![put("news", 1)], START).await;
    // Another one keeps it current.
    let three = peer(3).await;
    let mut now = START;
    for _ in 0..5 {
        now = now.plus(DAY * 8);
        meet_at(&three, &one, now).await;
    }
    assert_eq!(one.items().await.len(), 101);
    // What was written while away counts.
    two.write(vec![put("written/away", 2)], START.plus(DAY)).await;
    let (ours, theirs) = meet_at(&two, &one, now).await;
    assert!(ours.equal && theirs.equal);
    assert_equal(&one, &two).await;
    assert_eq!(two.items().await.len(), 102);
    assert_eq!(one.read("a/5", now).await, None);
    assert_eq!(two.read("news", now).await, Some(Value::Int(1)));
    assert_eq!(one.read("written/away", now).await, Some(Value::Int(2)));
    let (ours, _) = meet_at(&two, &one, now).await;
    assert!(bytes(&ours) < 200);
}

#[tokio::test]
async fn the_one_that_was_away_may_be_the_one_that_is_asked() {
    for away in [5_u32, 500] {
        let (one, two) = (peer(1).await, peer(2).await);
        one.fill("a", 0..away * 2).await;
        meet(&two, &one).await;
        one.write((0..away).map(|n| delete(format!("a/{n}"))).collect(), START).await;
        let three = peer(3).await;
        let now = START.plus(DAY * 40);
        meet_at(&one, &three, START.plus(DAY * 20)).await;
        meet_at(&one, &three, now).await;
        let (ours, _) = meet_at(&one, &two, now).await;
        assert!(ours.equal);
        assert_eq!(two.items().await.len(), away as usize);
        assert_equal(&one, &two).await;
    }
}

#[tokio::test]
async fn two_that_were_both_away_bury_nothing_but_what_they_once_had_in_common() {
    let (one, two) = (peer(1).await, peer(2).await);
    one.fill("a", 0..50).await;
    meet(&two, &one).await;
    let later = START.plus(DAY);
    one.write((0..10).map(|n| delete(format!("a/{n}"))).collect(), later).await;
    two.write(vec![put("two", 1)], later).await;
    let now = START.plus(DAY * 60);
    let (ours, _) = meet_at(&one, &two, now).await;
    assert!(ours.equal);
    assert_equal(&one, &two).await;
    assert_eq!(one.items().await.len(), 41);
    // An empty one that comes makes nobody forget anything.
    let three = peer(3).await;
    let (ours, _) = meet_at(&three, &one, now).await;
    assert!(ours.equal);
    assert_eq!(three.items().await.len(), 41);
}

#[tokio::test]
async fn clocks_that_are_days_apart_are_refused_and_so_said() {
    let (one, two) = (peer(1).await, peer(2).await);
    one.fill("a", 0..5).await;
    let (left, right) = pipe();
    let space = one.replica.default_space();
    let (first, second) = tokio::join!(
        initiate(left, two.id, space, one.replica.clone(), || START.plus(DAY * 50)),
        respond(right, one.id, two.replica.clone(), || START.plus(DAY * 40)),
    );
    assert!(matches!(first, Err(SessionError::Refused { reason: Reason::Clock })), "{first:?}");
    assert!(matches!(second, Err(SessionError::Declined(Reason::Clock))), "{second:?}");
    assert!(!first.unwrap_err().is_misbehaviour());
}

#[tokio::test]
async fn a_session_that_has_carried_enough_is_gone_on_with_in_the_next() {
    let bounds = Bounds { sent: 20_000, received: 10 << 20, ..Bounds::default() };
    // By feed.
    let (one, two) = (peer(1).await, peer(2).await);
    let text = "x".repeat(1_000);
    let all =
        |prefix: &str| (0..2_000).map(|n| put(format!("{prefix}/{n}"), text.clone())).collect();
    one.write(all("one"), START).await;
    let (first, _) = try_meet(&two, &one, bounds, START).await;
    let first = first.unwrap();
    let some = two.items().await.len();
    assert!(!first.equal && some > 0 && some < 2_000, "{some}");
    let mut sessions = 1;
    while !try_meet(&two, &one, bounds, START).await.0.unwrap().equal {
        sessions += 1;
        assert!(sessions < 50);
    }
    assert!(two.replica.stats(Space::Default).await.unwrap().entries == 2_000);
    // Nothing was sent twice.
    let seen = two.view().await.peer(&one.id).await.unwrap().unwrap();
    assert!(seen.cursor.is_some());
    // By ranges.
    let three = peer(3).await;
    three.write(all("three"), START).await;
    let mut sessions = 1;
    while !try_meet(&three, &one, bounds, START).await.0.unwrap().equal {
        sessions += 1;
        assert!(sessions < 400);
    }
    assert!(sessions > 1);
    assert_equal(&one, &three).await;
    // By turns.
    let bounds = Bounds { turns: 2, ..Bounds::default() };
    let four = peer(4).await;
    four.fill("four", 0..3_000).await;
    let (first, second) = try_meet(&four, &one, bounds, START).await;
    assert!(!first.unwrap().equal && !second.unwrap().equal);
    assert!(meet(&four, &one).await.0.equal);
    let page = Page { limit: 1, ..Page::default() };
    let _ = page;
}
