//! What sessions may cost.

use std::time::Instant;

use super::*;

/// Entries of the large test; 1,000,000 with `PEERAGE_KV_ENTRIES`.
fn entries() -> u32 {
    std::env::var("PEERAGE_KV_ENTRIES").map_or(100_000, |text| text.parse().unwrap())
}

/// Two replicas with the same entries, which have never met: both learned from a third.
async fn twins(count: u32) -> (Peer, Peer) {
    let source = peer(9).await;
    source.fill("key", 0..count).await;
    let twins = (peer(1).await, peer(2).await);
    for twin in [&twins.0, &twins.1] {
        let began = Instant::now();
        let (ours, _) = meet_quickly(twin, &source).await;
        let report = &ours.report;
        println!("{count} entries: {} bytes, {:?}", report.received_bytes, began.elapsed());
        assert_eq!((ours.equal, report.rounds, report.entries_in), (true, 1, u64::from(count)));
    }
    twins
}

#[tokio::test]
async fn equal_and_nearly_equal_replicas_say_little() {
    let (one, two) = twins(entries()).await;
    for n in 0..5 {
        one.write(vec![put(format!("key/{}", n * 1_000), -1)], START).await;
        two.write(vec![put(format!("new/{n}"), 1)], START).await;
    }
    let began = Instant::now();
    let (ours, _) = meet_quickly(&one, &two).await;
    let (rounds, took) = (ours.report.rounds, began.elapsed());
    println!("10 differences: {} bytes, {rounds} rounds, {took:?}", bytes(&ours));
    assert!(ours.equal);
    assert!(bytes(&ours) <= 64 << 10, "{} bytes", bytes(&ours));
    assert!(rounds <= 4, "{rounds} rounds");
    assert_equal(&one, &two).await;

    let began = Instant::now();
    let (ours, _) = meet_quickly(&two, &one).await;
    println!("equal: {} bytes, {:?}", bytes(&ours), began.elapsed());
    assert!(ours.equal && bytes(&ours) < 200);
    assert_eq!(ours.report.rounds, 1);
}

#[tokio::test]
async fn a_first_synchronisation_lets_go_of_the_pages_that_it_replaces() {
    let (one, two) = (peer(1).await, peer(2).await);
    for from in (0..20_000).step_by(1_000) {
        one.fill("key", from..from + 1_000).await;
    }
    let (ours, _) = meet_quickly(&two, &one).await;
    assert!(ours.equal);
    let usage = two.store.usage().await.unwrap();
    let (file, rows) = (two.store.stats().file_bytes, usage.row_bytes);
    println!("{file} bytes of file, {} of pages, {rows} of rows", usage.allocated_bytes);
    // Pages are about two thirds full, and the file is doubled when it is full; with all that was replaced
    // meanwhile it would be some ten times as large as its rows.
    assert!(file < 4 * rows, "{file} bytes for {rows}");
}
