//! Many replicas that write, gossip, meet, part and crash at random, from a seed: once it is quiet, all
//! of them have the same, which is what a plain merge of all acknowledged writes gives.
//!
//! `PEERAGE_KV_SEEDS=500 cargo test -p peerage-kv --lib sim` runs more seeds than usual, and
//! `PEERAGE_KV_SEED=7` that one alone.

mod away;
mod oracle;
mod pipe;
mod world;

use rand::RngExt as _;

use oracle::Oracle;
use world::World;

const REPLICAS: usize = 50;
const STEPS: usize = 120;
/// Run every time: some 10 s without optimisation.
const SEEDS: u64 = 6;

fn seeds() -> Vec<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    match number("PEERAGE_KV_SEED") {
        Some(seed) => vec![seed],
        None => (1..=number("PEERAGE_KV_SEEDS").unwrap_or(SEEDS)).collect(),
    }
}

/// Runs a simulation for each seed, each on a runtime whose time stands still.
fn for_each_seed<F: Future<Output = ()>>(run: impl Fn(u64) -> F) {
    for seed in seeds() {
        eprintln!("seed {seed}");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(run(seed));
    }
}

#[test]
fn replicas_converge_whatever_happens_to_them() {
    for_each_seed(|seed| async move {
        let mut world = World::new(seed, REPLICAS).await;
        for _ in 0..STEPS {
            step(&mut world).await;
        }
        assert!(world.put_off.get() > 0);
        world.settle().await;
        world.assert_equal().await;
    });
}

async fn step(world: &mut World) {
    let pause = world.random.random_range(0..3_000);
    world.now.0 += pause;
    match world.random.random_range(0..20) {
        0..9 => world.write_somewhere().await,
        9..14 => world.meet_some().await,
        14..16 => world.part(),
        16 => world.heal(),
        17..19 => world.endanger(),
        _ => world.sweep_somewhere().await,
    }
    world.deliver().await;
    world.restart_crashed().await;
}

#[test]
fn the_oracle_notices_a_single_write_that_is_missing() {
    for_each_seed(|seed| async move {
        let mut world = World::new(seed, 3).await;
        world.write_at(0, "k1").await;
        world.settle().await;
        world.assert_equal().await;
        let mut lost = Oracle::default();
        std::mem::swap(&mut lost, &mut world.oracle);
        assert_ne!(world.state(1).await, world.oracle.merged(world.now));
        assert_eq!(world.state(1).await, lost.merged(world.now));
    });
}
