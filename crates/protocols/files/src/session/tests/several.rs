//! Several providers, those that go away, and limits.

use tokio::{sync::Notify, time::Instant};

use super::*;

#[tokio::test]
async fn two_providers_share_the_work_and_when_one_dies_the_other_does_the_rest() {
    let shelf = Shelf::new();
    let source = shelf.file(20 * MIB);
    let download = shelf.download(source.plan());
    let dead = Arc::new(Notify::new());

    let (stream, dying) = fetching(&download, 1);
    let (mortal, told) = (Arc::clone(&source), Arc::clone(&dead));
    let size = source.plan().bytes();
    let mut left = 3;
    tokio::spawn(async move {
        let few = move |piece| match left {
            0 => Vec::new(),
            _ => {
                left -= 1;
                honest(&mortal, piece)
            }
        };
        provide_what(stream, size, few).await;
        told.notify_one();
    });
    let (mut stream, living) = fetching(&download, 2);
    let patient = unlimited(&source);
    tokio::spawn(async move {
        open(&mut stream, size).await;
        dead.notified().await;
        serve(stream, patient).await.unwrap();
    });
    assert!(matches!(outcome(dying).await, Err(SessionError::Io(_))));
    assert_eq!(outcome(living).await.unwrap(), Fetched::All);
    assert!(fs::read(shelf.finish(&download)).unwrap() == noise(20 * MIB));
    assert_eq!(download.corrupt_bytes(), 0);
}

#[tokio::test]
async fn dropping_a_fetch_frees_what_it_had_asked_for() {
    let shelf = Shelf::new();
    let source = shelf.file(6 * MIB);
    let download = shelf.download(source.plan());
    let (mut silent, fetching) = fetching(&download, 1);
    open(&mut silent, download.plan.bytes()).await;
    within("a run", silent.read_exact(&mut [0; RUN_BYTES])).await.unwrap();
    assert_ne!(download.next(2), Some(0), "provider 1 owes it");
    download.release(2);
    fetching.abort();
    assert!(within("the end", fetching).await.unwrap_err().is_cancelled());
    let mut free = Vec::new();
    while let Some(piece) = download.next(2) {
        free.push(piece);
    }
    free.sort_unstable();
    assert_eq!(free, [0, 1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn a_provider_that_stalls_does_not_keep_its_pieces_from_others() {
    let shelf = Shelf::new();
    let source = shelf.file(6 * MIB);
    let download = shelf.download(source.plan());
    let (mut silent, stalled) = fetching(&download, 1);
    open(&mut silent, download.plan.bytes()).await;
    within("a run", silent.read_exact(&mut [0; RUN_BYTES])).await.unwrap();
    fetch_all(&download, &source).await;
    stalled.abort();
}

#[tokio::test]
async fn a_provider_that_lies_does_not_harm_what_another_brings() {
    let shelf = Shelf::new();
    let source = shelf.file(10 * MIB);
    let download = shelf.download(source.plan());
    let (stream, lied) = fetching(&download, 1);
    let liar = Arc::clone(&source);
    tokio::spawn(provide_what(stream, download.plan.bytes(), move |piece| {
        let mut answer = honest(&liar, piece);
        answer[1000] ^= 0x80;
        answer
    }));
    fetch_all(&download, &source).await;
    // It had lied before the honest one was done, or had nothing left to lie about.
    let lied = outcome(lied).await;
    assert!(matches!(lied, Err(SessionError::Corrupt) | Ok(Fetched::All)), "{lied:?}");
    assert!(fs::read(shelf.finish(&download)).unwrap() == noise(10 * MIB));
}

const LIMIT: u64 = 1_000_000;

/// Fetches 4 MiB with these limits; returns by how much it was slowed down.
async fn limited(sent: Traffic, received: Traffic) -> Duration {
    let shelf = Shelf::new();
    let source = shelf.file(4 * MIB);
    let plan = source.plan().clone();
    let place = Place::Memory(std::sync::Mutex::new(Some(Collector::new(plan.clone()))));
    let download = Arc::new(Download::new(plan, place, Arc::new(received)));
    let (stream, fetching) = fetching(&download, 1);
    let serving = Serving { source, traffic: Arc::new(sent) };
    let began = Instant::now();
    tokio::spawn(provide(stream, serving));
    assert_eq!(fetching.await.unwrap().unwrap(), Fetched::All);
    began.elapsed()
}

/// Time stands still while anything runs: only what waits on purpose takes any.
#[tokio::test(start_paused = true)]
async fn limits_hold_on_either_side_and_for_the_whole() {
    let free = || Traffic::new(None, None);
    let slow = || Traffic::new(Some(LIMIT), None);
    let within_whole = || Traffic::new(None, Some(Arc::new(slow())));
    let least = Duration::from_secs(4 * MIB as u64 / LIMIT) - Duration::from_millis(250);
    for (sent, received) in [(slow(), free()), (free(), slow()), (within_whole(), free())] {
        let took = limited(sent, received).await;
        assert!(took >= least, "{took:?} instead of {least:?}");
    }
}
