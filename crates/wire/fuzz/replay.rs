//! The short run of a fuzz target on the stable toolchain: its corpus, then seeded changes of it.
//!
//! Included with `#[path]` by the tests of every crate that has a `fuzz` folder; needs only `std`.

use std::{
    env, fs,
    hash::{BuildHasher as _, RandomState},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::Path,
};

/// Changed inputs of one run; another number with `PEERAGE_FUZZ_RUNS`.
const RUNS: u64 = 5_000;
/// Changes to one input.
const MAX_CHANGES: u64 = 6;
/// Inputs do not grow beyond this many bytes.
const MAX_LEN: usize = 8 << 10;
/// Bytes at which numbers, texts and frames change their meaning.
const TELLING: &[u8] = b"\x00\x01\x02\x7f\x80\xff\x1b\x3b\x5f\x9f\xbf{}[]\",:\\/-0e.";

/// Runs `target` of the crate in `folder` on its corpus and on changes of it. `PEERAGE_SEED` repeats
/// a run. What breaks it is printed; as a file of the corpus it will be run for ever.
pub(crate) fn replay(folder: &str, target: &str, run: impl Fn(&[u8])) {
    let corpus = corpus(folder, target);
    for (name, input) in &corpus {
        attempt(&run, name, input);
    }
    let number = |name| env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seed = number("PEERAGE_SEED").unwrap_or_else(|| RandomState::new().hash_one(target));
    println!("PEERAGE_SEED={seed}");
    let mut random = Random(seed);
    for _ in 0..number("PEERAGE_FUZZ_RUNS").unwrap_or(RUNS) {
        let (name, input) = &corpus[random.below(corpus.len())];
        let mut input = input.clone();
        for _ in 0..=random.next() % MAX_CHANGES {
            random.change(&mut input, &corpus);
        }
        input.truncate(MAX_LEN);
        attempt(&run, name, &input);
    }
}

/// The files of a target's corpus, by name.
pub(crate) fn corpus(folder: &str, target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(folder).join("fuzz/corpus").join(target);
    let files = fs::read_dir(&folder).unwrap().map(|file| file.unwrap());
    let mut corpus: Vec<_> = files
        .map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap()))
        .collect();
    corpus.sort_unstable();
    assert!(!corpus.is_empty(), "{} is empty", folder.display());
    corpus
}

fn attempt(run: &impl Fn(&[u8]), name: &str, input: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(input))) {
        println!("made from {name}: \"{}\"", input.escape_ascii());
        resume_unwind(panic);
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn change(&mut self, input: &mut Vec<u8>, corpus: &[(String, Vec<u8>)]) {
        let at = self.below(input.len() + 1);
        let end = (at + self.below(16)).min(input.len());
        let byte = match self.below(3) {
            0 => self.next() as u8,
            _ => TELLING[self.below(TELLING.len())],
        };
        match self.below(7) {
            0 if at < input.len() => input[at] ^= 1 << self.below(8),
            1 if at < input.len() => input[at] = byte,
            2 => input.insert(at, byte),
            3 => drop(input.drain(at..end)),
            4 => input.truncate(at),
            5 => {
                let again = input[at..end].to_vec();
                input.splice(at..at, again);
            }
            _ => {
                let other = &corpus[self.below(corpus.len())].1;
                let from = self.below(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
        }
    }
}
