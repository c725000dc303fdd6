//! Twenty nodes in one process and no time: churn, partitions and simultaneous dials, from a seed.
//!
//! Every node runs the real core; the network between them is made up here. A failing run prints
//! its seed; `PEERAGE_SIM_SEED=… cargo test -p peerage-peers sim` repeats it.

mod network;

use std::time::Duration;

use peerage_types::UnixMillis;
use rand::{RngExt, SeedableRng, rngs::StdRng};

use network::{NODES, Seen, World};

/// Members are protected by, and protect, the node on the other side of this distance.
const PARTNER: usize = 8;

fn run(seed: u64) -> Seen {
    println!("PEERAGE_SIM_SEED={seed}");
    let mut world = World::new(StdRng::seed_from_u64(seed));
    world.start_all();
    for _ in 0..120 {
        let pause = world.rng.random_range(100..12_000);
        world.advance(Duration::from_millis(pause));
        chaos(&mut world);
    }
    world.calm_down();
    // Longer than the longest delay of a redial with its jitter, than any grace and any drain.
    world.advance(Duration::from_secs(600));
    world.check_quiet();
    println!("{:?}", world.seen);
    world.seen
}

fn chaos(world: &mut World) {
    let node = world.rng.random_range(0..NODES);
    let other = world.rng.random_range(0..NODES);
    match world.rng.random_range(0..10) {
        0 => world.crash(node),
        1 | 2 => world.restart(node),
        3 => world.split(),
        4 => world.heal(),
        5 | 6 if node != other => world.dial_both_ways(node, other),
        7 => (0..6).for_each(|step| world.discover(node, (other + step) % NODES)),
        8 => world.network_changed(node),
        _ => world.cut(node),
    }
}

#[test]
fn twenty_nodes_survive_churn_partitions_and_simultaneous_dials() {
    if let Ok(seed) = std::env::var("PEERAGE_SIM_SEED") {
        run(seed.parse().expect("a number"));
        return;
    }
    let (mut retired, mut trimmed, mut refused) = (0, 0, 0);
    for seed in (0..12).chain([UnixMillis::now().0]) {
        let seen = run(seed);
        retired += seen.retired;
        trimmed += seen.trimmed;
        refused += seen.refused;
    }
    assert!(retired > 0 && trimmed > 0 && refused > 0, "the runs tested nothing");
}
