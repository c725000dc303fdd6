//! Replicas that are away for longer than deletions are remembered.

use std::time::Duration;

use peerage_api::kv::Write;
use peerage_types::KvKey;
use rand::RngExt as _;

use super::{for_each_seed, world::World};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const REPLICAS: usize = 8;
/// The last of them go away.
const AWAY: usize = 2;

fn put(name: String, value: i64) -> Write {
    Write::put(KvKey::new(&name).unwrap(), value)
}

fn delete(name: String) -> Write {
    Write::Delete { key: KvKey::new(&name).unwrap(), expect: None }
}

/// Everybody who is there meets, and forgets what is due.
async fn a_day_passes(world: &mut World, there: usize) {
    world.now = world.now.plus(DAY);
    for at in 1..there {
        world.session(0, at, (usize::MAX, usize::MAX)).await;
    }
    for at in 1..there {
        world.session(at, 0, (usize::MAX, usize::MAX)).await;
    }
}

#[test]
fn what_was_deleted_while_a_replica_was_away_for_long_stays_deleted() {
    for_each_seed(|seed| async move {
        let mut world = World::new(seed, REPLICAS).await;
        let there = REPLICAS - AWAY;
        for n in 0..60 {
            world.apply(n % REPLICAS, vec![put(format!("k{n}"), 1)]).await;
        }
        a_day_passes(&mut world, REPLICAS).await;
        let short = Duration::from_secs(600);
        world.apply(0, (0..5).map(|n| put(format!("k{n}"), 2).expiring(short)).collect()).await;
        world.apply(0, (5..30).map(|n| delete(format!("k{n}"))).collect()).await;
        for day in 0..40 {
            let (at, n) = (world.random.random_range(0..there), world.random.random_range(30..45));
            world.apply(at, vec![put(format!("k{n}"), 100 + day)]).await;
            let alone = there + world.random.random_range(0..AWAY);
            world.apply(alone, vec![put(format!("away/{alone}/{day}"), day)]).await;
            a_day_passes(&mut world, there).await;
        }
        // What is written when the others have forgotten counts as usual.
        world.apply(there, vec![put("k50".into(), 7), put("k7".into(), 7)]).await;
        world.apply(there + 1, vec![delete("k51".into())]).await;
        for _ in 0..10 {
            world.meet_some().await;
        }
        world.settle().await;
        world.assert_equal().await;
        let kept = world.state(0).await;
        let has = |name: &str| kept.contains_key(&KvKey::new(name).unwrap());
        assert!(!(0..30).filter(|n| *n != 7).any(|n| has(&format!("k{n}"))), "back from the dead");
        assert!(has("k7") && has("k50") && has("k59"));
        assert!((0..40).any(|day| has(&format!("away/{there}/{day}"))));
    });
}

#[test]
fn two_that_were_away_do_not_bring_back_what_neither_knew_to_be_deleted() {
    for_each_seed(|seed| async move {
        let mut world = World::new(seed, REPLICAS).await;
        let there = REPLICAS - AWAY;
        world.apply(0, (0..20).map(|n| put(format!("k{n}"), 1)).collect()).await;
        a_day_passes(&mut world, REPLICAS).await;
        world.apply(0, (0..10).map(|n| delete(format!("k{n}"))).collect()).await;
        for _ in 0..40 {
            a_day_passes(&mut world, there).await;
        }
        // Both come back and meet each other first.
        world.session(there, there + 1, (usize::MAX, usize::MAX)).await;
        world.settle().await;
        world.assert_equal().await;
        assert_eq!(world.state(there).await.len(), 10);
    });
}
