//! What the serving side makes of those who fetch.

use std::task::Poll;

use futures::AsyncWrite;

use super::*;

/// A stream that `source` is served on.
fn served(source: &Arc<Source>) -> (Pipe, JoinHandle<Result<(), SessionError>>) {
    let (ours, theirs) = pipe();
    (ours, tokio::spawn(serve(theirs, unlimited(source))))
}

async fn ask(stream: &mut Pipe, first: u32, count: u32) {
    stream.write_all(&Run { first, count }.encode()).await.unwrap();
    stream.flush().await.unwrap();
}

async fn receive(stream: &mut Pipe, source: &Source, piece: u32) {
    let mut answer = vec![0; 1 + source.plan().wire_len(piece)];
    within("a piece", stream.read_exact(&mut answer)).await.unwrap();
    assert!(answer == honest(source, piece), "piece {piece}");
}

async fn ended(serving: JoinHandle<Result<(), SessionError>>) -> Result<(), SessionError> {
    within("the end of the serving", serving).await.unwrap()
}

#[tokio::test]
async fn pieces_come_in_the_order_they_were_asked_for_as_often_as_they_were() {
    let shelf = Shelf::new();
    let source = shelf.file(4 * MIB);
    let (mut stream, serving) = served(&source);
    ask(&mut stream, 2, 2).await;
    ask(&mut stream, 0, 1).await;
    ask(&mut stream, 2, 1).await;
    for piece in [2, 3, 0, 2] {
        receive(&mut stream, &source, piece).await;
    }
    stream.close().await.unwrap();
    let mut rest = Vec::new();
    within("the end", stream.read_to_end(&mut rest)).await.unwrap();
    assert!(rest.is_empty());
    ended(serving).await.unwrap();
}

#[tokio::test]
async fn runs_that_are_none_or_past_the_end_are_misbehaviour() {
    let shelf = Shelf::new();
    let source = shelf.file(4 * MIB);
    for (first, count) in [(0, 0), (4, 1), (0, 5), (3, 2), (u32::MAX, 1), (1, u32::MAX)] {
        let (mut stream, serving) = served(&source);
        ask(&mut stream, first, count).await;
        let outcome = ended(serving).await;
        assert!(matches!(outcome, Err(SessionError::OutOfTurn)), "{first}+{count}: {outcome:?}");
    }
}

#[tokio::test]
async fn of_what_is_empty_nothing_can_be_asked() {
    let shelf = Shelf::new();
    let source = shelf.file(0);
    let (mut stream, serving) = served(&source);
    ask(&mut stream, 0, 1).await;
    assert!(matches!(ended(serving).await, Err(SessionError::OutOfTurn)));
    let (mut stream, serving) = served(&source);
    stream.close().await.unwrap();
    ended(serving).await.unwrap();
}

#[tokio::test]
async fn who_leaves_in_the_middle_of_a_piece_or_of_a_run_ends_the_serving() {
    let shelf = Shelf::new();
    let source = shelf.file(4 * MIB);
    let (mut stream, serving) = served(&source);
    ask(&mut stream, 0, 4).await;
    stream.read_exact(&mut [0; 1000]).await.unwrap();
    drop(stream);
    assert!(matches!(ended(serving).await, Err(SessionError::Io(_))));

    let (mut stream, serving) = served(&source);
    stream.write_all(&[0; RUN_BYTES - 1]).await.unwrap();
    drop(stream);
    ended(serving).await.unwrap();
}

/// Time stands still while anything can run, so that the timeout fires when nothing can.
#[tokio::test(start_paused = true)]
async fn who_asks_and_never_reads_is_not_read_from_either() {
    let shelf = Shelf::new();
    let source = shelf.file(4 * MIB);
    let (mut stream, serving) = served(&source);
    let flood = Run { first: 0, count: 4 }.encode().repeat(1 << 12);
    let mut taken = 0;
    loop {
        let written = timeout(Duration::from_secs(1), async {
            std::future::poll_fn(|cx| {
                match std::pin::Pin::new(&mut stream).poll_write(cx, &flood) {
                    Poll::Ready(written) => Poll::Ready(written.unwrap()),
                    Poll::Pending => Poll::Pending,
                }
            })
            .await
        });
        match written.await {
            Ok(bytes) => taken += bytes,
            Err(_) => break,
        }
    }
    // 128 runs wait, one is in each hand, the rest is in the pipe.
    assert!(taken <= PIPE_BYTES + 140 * RUN_BYTES, "{taken} bytes were taken");
    drop(stream);
    assert!(ended(serving).await.is_err());
}

#[tokio::test]
async fn a_file_that_changed_is_said_to_have_and_not_sent_wrong() {
    let shelf = Shelf::new();
    let source = shelf.file(4 * MIB);
    shelf.put("file", &noise(4 * MIB + 1)[1..]);
    let (mut stream, serving) = served(&source);
    ask(&mut stream, 1, 1).await;
    let mut status = [0];
    within("a status", stream.read_exact(&mut status)).await.unwrap();
    assert_eq!(Status::decode(status[0]), Some(Status::Changed));
    stream.close().await.unwrap();
    let said = ended(serving).await.unwrap_err();
    assert!(
        matches!(said, SessionError::Refused(peerage_wire::files::Refusal::Changed)),
        "{said:?}"
    );
}

#[tokio::test]
async fn what_is_served_is_counted_for_the_whole_and_the_share() {
    let shelf = Shelf::new();
    let source = shelf.file(2 * MIB + 5);
    let (whole, share) = (Arc::new(Traffic::new(None, None)), Arc::default());
    let traffic = Arc::new(Traffic::counted(Arc::clone(&whole), Some(Arc::clone(&share))));
    let download = shelf.download(source.plan());
    let (stream, fetching) = fetching(&download, 1);
    let serving = Serving { source: Arc::clone(&source), traffic: Arc::clone(&traffic) };
    let providing = tokio::spawn(provide(stream, serving));
    assert_eq!(outcome(fetching).await.unwrap(), Fetched::All);
    ended(providing).await.unwrap();
    let wire: usize = (0..3).map(|piece| source.plan().wire_len(piece)).sum();
    let counted =
        |counter: &std::sync::atomic::AtomicU64| counter.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!((counted(&whole.wire), counted(&traffic.wire)), (wire as u64, wire as u64));
    assert_eq!(
        (counted(&whole.content), counted(&share)),
        (2 * MIB as u64 + 5, 2 * MIB as u64 + 5)
    );
    assert_eq!(counted(&download.traffic.wire), wire as u64);
}
