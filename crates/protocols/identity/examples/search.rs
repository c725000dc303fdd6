//! Measures searches and memory with 100,000 known users.
//!
//! `cargo run --release -p peerage-identity --example search`

use std::{collections::HashSet, time::Instant};

use peerage_api::users::{Attribute, Matching, Page, Search};
use peerage_identity::{Behaviour, Config};
use peerage_store::Store;
use peerage_types::{Handle, Network, PeerId, ServiceName, UnixMillis, UserId};
use peerage_wire::identity::{Bundle, Profile, Signed, SigningKey, recovery_commitment};

const USERS: u32 = 100_000;
const RUNS: u32 = 50;

fn bundle(number: u32) -> Bundle {
    let key = SigningKey::from_bytes(&blake3::derive_key("example key", &number.to_be_bytes()));
    let profile = Profile {
        user: UserId(key.verifying_key().to_bytes()),
        seq: 1,
        handle: Handle::new(&format!("user.{number}")).ok(),
        display_name: Some(format!("Ünal Somebody the {number}th")),
        bio: [("about".into(), format!("I was made as number {number}, like everybody here."))]
            .into(),
        avatar: None,
        services: ServiceName::new("org.example.notes").into_iter().collect(),
        mailboxes: [].into(),
        recovery: recovery_commitment(&[7; 32]),
        updated: UnixMillis::now(),
    };
    Bundle { profile: Signed::sign(profile, &key).ok(), ..Bundle::default() }
}

/// Resident memory in bytes, where the system tells it.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}

/// Processor time of this process in milliseconds, where the system tells it, in steps of 10: on
/// a machine that is busy with others it says more than the clock.
fn processor_ms() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the name: the state, then numbers; user and system time are the 12th and 13th.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>() * 10
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let behaviour =
        Behaviour::new(Config::new(Network::default(), PeerId::random()), Store::in_memory());
    let directory = behaviour.directory();
    // Rows that wait to be written are not what is measured.
    drop(behaviour);
    let (before, start) = (resident(), Instant::now());
    (0..USERS).for_each(|number| _ = directory.announce(&bundle(number)));
    println!("{USERS} users signed and taken in {:?}", start.elapsed());
    println!("{} bytes of memory a user", resident().saturating_sub(before) / u64::from(USERS));

    for (text, attribute, matching) in [
        ("somebody", Attribute::Any, Matching::Contains),
        ("nowhere to be found", Attribute::Any, Matching::Contains),
        ("user.777", Attribute::Any, Matching::Prefix),
        ("user.4242", Attribute::Handle, Matching::Exact),
        ("ünal", Attribute::Name, Matching::Prefix),
        ("number 99", Attribute::Bio, Matching::Contains),
        ("org.example", Attribute::Service, Matching::Prefix),
        ("qqq", Attribute::Id, Matching::Contains),
    ] {
        let page = Page { limit: 50, after: None };
        let search = Search { text: text.into(), attribute, matching, viewer: None, page };
        let mut times = Vec::new();
        let mut found = 0;
        let before = processor_ms();
        for _ in 0..RUNS {
            let start = Instant::now();
            found = directory.search(search.clone(), HashSet::new()).await?.items.len();
            times.push(start.elapsed());
        }
        times.sort_unstable();
        let (median, most) = (times[times.len() / 2], times[times.len() - 1]);
        let cpu = (processor_ms() - before) / u64::from(RUNS);
        println!(
            "{attribute:?} {matching:?} {text:?}: {found} shown, median {median:?}, most {most:?}, \
             processor {cpu} ms"
        );
    }
    Ok(())
}
