//! Figures: `cargo test --release -p peerage-content --test it -- --ignored --nocapture bench`.
//!
//! ext4 without a journal does not use inodes again for five minutes after they were freed, and
//! creates files slowly meanwhile: wait between runs, or set `TMPDIR`.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use peerage_content::Sink;

use crate::support::{Place, noise};

/// Resident memory of this process in KiB: now and at most.
fn memory() -> (u64, u64) {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    (field("VmRSS:"), field("VmHWM:"))
}

fn rate(what: &str, bytes: u64, files: u64, took: Duration) {
    let (secs, (rss, peak)) = (took.as_secs_f64(), memory());
    println!(
        "{what:<32} {:>8.0} MB/s {:>8.0} files/s {:>7.2} us/file {:>8.1} ms   rss {rss} peak {peak} KiB",
        bytes as f64 / 1e6 / secs,
        files as f64 / secs,
        secs * 1e6 / files as f64,
        secs * 1e3,
    );
}

fn run(place: &Place, name: &str, paths: &[PathBuf]) {
    let timed = |what: &str, bytes, files, since: Instant| {
        rate(&format!("{name}: {what}"), bytes, files, since.elapsed());
    };
    place.prepare(paths);
    // What was just made is not to be written back meanwhile.
    rustix::fs::sync();
    let since = Instant::now();
    let (prepared, source) = place.source(paths);
    let (bytes, files) = (prepared.record.bytes, prepared.record.files);
    timed("prepare", bytes, files, since);

    let pieces = source.plan().pieces();
    let mut out = Vec::new();
    let since = Instant::now();
    for piece in 0..pieces {
        source.read_piece(piece, &mut out).unwrap();
    }
    timed("read_piece", bytes, files, since);

    let since = Instant::now();
    let sink = Sink::create(source.plan().clone(), name, &place.target(), &place.state()).unwrap();
    timed("create", bytes, files, since);
    let mut writing = Duration::ZERO;
    for piece in 0..pieces {
        source.read_piece(piece, &mut out).unwrap();
        let since = Instant::now();
        sink.write_piece(piece, &out).unwrap();
        writing += since.elapsed();
    }
    rate(&format!("{name}: write_piece"), bytes, files, writing);
    let since = Instant::now();
    sink.finish().unwrap();
    timed("finish (sync)", bytes, files, since);
}

#[test]
#[ignore = "prints figures"]
fn bench_a_large_file() {
    let place = Place::new();
    let path = place.file("large", &noise(1, 1 << 30));
    // A virtual machine may give pages back to its host when they are free, and get them slowly.
    let warm = place.out().join("warm");
    fs::copy(place.file("noise", &noise(2, 1 << 30)), &warm).unwrap();
    fs::remove_file(warm).unwrap();
    fs::remove_file(place.input("noise")).unwrap();
    run(&place, "1 GiB", &[path]);
}

#[test]
#[ignore = "prints figures"]
fn bench_10_000_small_files() {
    small(10_000, 10_000);
}

#[test]
#[ignore = "prints figures"]
fn bench_100_000_small_files() {
    small(100_000, 1_000);
}

fn small(files: usize, bytes: usize) {
    let place = Place::new();
    let content = noise(1, bytes);
    for number in 0..files {
        let mut content = content.clone();
        content[..8].copy_from_slice(&(number as u64).to_le_bytes());
        place.file(&format!("tree/{:03}/a file {number}", number / 100), &content);
    }
    println!("before: rss {} peak {} KiB", memory().0, memory().1);
    run(&place, &format!("{files}x{bytes}"), &[place.input("tree")]);
}
