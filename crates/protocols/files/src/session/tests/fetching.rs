//! What a fetch makes of honest, broken and lying providers.

use peerage_content::{
    WriteError,
    faults::{ENOSPC, Faults, Faulty},
};
use peerage_wire::files::{FrameError, Refusal};

use super::*;

#[tokio::test]
async fn files_of_all_sizes_arrive_as_they_were() {
    for len in [0, 1, 16 << 10, (16 << 10) + 1, MIB - 1, MIB, MIB + 1, 5 * MIB + 12345] {
        let shelf = Shelf::new();
        let source = shelf.file(len);
        let download = shelf.download(source.plan());
        fetch_all(&download, &source).await;
        assert_eq!(download.done_bytes(), len as u64);
        assert!(fs::read(shelf.finish(&download)).unwrap() == noise(len), "{len} bytes");
    }
}

#[tokio::test]
async fn a_tree_arrives_with_its_list_of_files() {
    let shelf = Shelf::new();
    for n in 0..700 {
        shelf.put(&format!("tree/small/{n}"), &noise(n));
    }
    shelf.put("tree/large", &noise(2 * MIB + 7));
    fs::create_dir(shelf.dir.path().join("in/tree/empty")).unwrap();
    let source = shelf.source(shelf.dir.path().join("in/tree"));
    let list = source.plan().manifest().unwrap().clone();

    let list_source = Arc::new(Source::manifest(&list));
    let download = in_memory(list_source.plan());
    fetch_all(&download, &list_source).await;
    let Place::Memory(collector) = &download.place else { unreachable!() };
    let bytes = lock(collector).take().unwrap().finish().unwrap();
    let received = peerage_content::Manifest::decode(bytes).unwrap();
    assert_eq!(received.root(), list.root());

    let download = shelf.download(&Plan::tree(received));
    fetch_all(&download, &source).await;
    let got = shelf.finish(&download);
    for n in [0, 1, 511, 512, 699] {
        assert!(fs::read(got.join(format!("small/{n}"))).unwrap() == noise(n), "file {n}");
    }
    assert!(fs::read(got.join("large")).unwrap() == noise(2 * MIB + 7));
    assert!(got.join("empty").is_dir());
}

/// Fetches from a provider of which only piece 2 is wrong.
async fn with_piece_2(spoil: impl FnOnce(&mut Vec<u8>) + Send + 'static) -> (Outcome, u64) {
    let shelf = Shelf::new();
    let source = shelf.file(5 * MIB);
    let download = shelf.download(source.plan());
    let (stream, fetching) = fetching(&download, 1);
    let lying = Arc::clone(&source);
    let mut spoil = Some(spoil);
    let providing = tokio::spawn(provide_what(stream, download.plan.bytes(), move |piece| {
        let mut answer = honest(&lying, piece);
        if piece == 2
            && let Some(spoil) = spoil.take()
        {
            spoil(&mut answer);
        }
        answer
    }));
    let outcome = outcome(fetching).await;
    let corrupt = download.corrupt_bytes();
    within("the end of the provider", providing).await.unwrap();
    // Whatever it was, nothing wrong was kept, and an honest provider completes it.
    fetch_all(&download, &source).await;
    assert!(fs::read(shelf.finish(&download)).unwrap() == noise(5 * MIB));
    (outcome, corrupt)
}

#[tokio::test]
async fn a_wrong_byte_is_noticed_wherever_it_is() {
    // The first hash pair, the last pair above the block, one within it, a group, the last byte.
    for at in [1, 64, 3 * 64 + 1, 3 * 64 + 200, 500_000, usize::MAX] {
        let (outcome, corrupt) = with_piece_2(move |answer| {
            let at = at.min(answer.len() - 1);
            answer[at] ^= 1;
        })
        .await;
        assert!(matches!(outcome, Err(SessionError::Corrupt)), "byte {at}: {outcome:?}");
        assert!(corrupt > MIB as u64, "byte {at}: {corrupt} bytes are counted");
    }
}

#[tokio::test]
async fn another_piece_than_was_asked_for_does_not_verify() {
    let shelf = Shelf::new();
    let source = shelf.file(4 * MIB);
    let download = shelf.download(source.plan());
    let (stream, fetching) = fetching(&download, 1);
    let reversed = Arc::clone(&source);
    tokio::spawn(provide_what(stream, download.plan.bytes(), move |piece| {
        honest(&reversed, 3 - piece)
    }));
    assert!(matches!(outcome(fetching).await, Err(SessionError::Corrupt)));
    assert_eq!(download.done_bytes(), 0);
}

#[tokio::test]
async fn a_provider_that_ends_in_the_middle_is_an_error_that_a_retry_may_mend() {
    for keep in [0, 1, 2, 1000] {
        let (outcome, corrupt) = with_piece_2(move |answer| answer.truncate(keep)).await;
        // What follows is out of step, or nothing follows.
        assert!(outcome.is_err(), "{keep} bytes: {outcome:?}");
        assert!(keep > 0 || matches!(outcome, Err(SessionError::Io(_))), "{outcome:?}");
        assert!(keep > 0 || corrupt == 0);
    }
}

#[tokio::test]
async fn an_unknown_status_is_out_of_turn_and_a_stop_is_a_pause() {
    let (outcome, _) = with_piece_2(|answer| answer[0] = 77).await;
    assert!(matches!(&outcome, Err(error @ SessionError::OutOfTurn) if error.is_misbehaviour()));
    let (outcome, _) = with_piece_2(|answer| *answer = vec![Status::Stopped as u8]).await;
    assert!(matches!(outcome, Err(SessionError::Refused(Refusal::Paused))), "{outcome:?}");
}

#[tokio::test]
async fn what_a_provider_lacks_is_left_and_the_rest_fetched() {
    let shelf = Shelf::new();
    let source = shelf.file(20 * MIB);
    let download = shelf.download(source.plan());
    let (stream, fetching) = fetching(&download, 1);
    let lacking = Arc::clone(&source);
    tokio::spawn(provide_what(stream, download.plan.bytes(), move |piece| match piece {
        3 => vec![Status::Missing as u8],
        7 | 8 => vec![Status::Changed as u8],
        19 => vec![Status::Unreadable as u8],
        _ => honest(&lacking, piece),
    }));
    assert_eq!(outcome(fetching).await.unwrap(), Fetched::Useless);
    assert_eq!(download.done_bytes(), 16 * MIB as u64);
    fetch_all(&download, &source).await;
}

/// Fetches from one that answers the request so.
async fn answered(bytes: Vec<u8>) -> Outcome {
    let shelf = Shelf::new();
    let download = shelf.download(shelf.file(10).plan());
    let (mut stream, fetching) = fetching(&download, 1);
    let _: Request = hear(&mut stream).await.unwrap();
    stream.write_all(&bytes).await.unwrap();
    stream.close().await.unwrap();
    outcome(fetching).await
}

#[tokio::test]
async fn only_open_begins_a_fetch() {
    use peerage_wire::files::Frame as _;
    let refused = answered(Answer::Refused(Refusal::NotFound).encode()).await;
    assert!(matches!(refused, Err(SessionError::Refused(Refusal::NotFound))));
    for other in [Answer::Accepted, Answer::Noted, Answer::Hashing { bytes: 1, total: 2 }] {
        let outcome = answered(other.encode()).await;
        assert!(matches!(outcome, Err(SessionError::OutOfTurn)), "{outcome:?}");
    }
    let long = answered(vec![0xff; 100]).await;
    assert!(matches!(long, Err(SessionError::Frame(FrameError::Length { .. }))), "{long:?}");
    let garbage = answered(b"\0\0\0\x05garbage".to_vec()).await;
    assert!(matches!(garbage, Err(SessionError::Frame(FrameError::Malformed))), "{garbage:?}");
    let nothing = answered(Vec::new()).await;
    assert!(matches!(&nothing, Err(error @ SessionError::Io(_)) if !error.is_misbehaviour()));
}

#[tokio::test]
async fn a_full_disk_keeps_what_is_there_and_room_lets_it_go_on() {
    let shelf = Shelf::new();
    let source = shelf.file(8 * MIB);
    let disk = Arc::new(Faulty::new(Faults { write: Some((4, ENOSPC)), ..Faults::default() }));
    let download = shelf.download_on(disk.clone(), source.plan());
    let (stream, fetching) = fetching(&download, 1);
    tokio::spawn(provide(stream, unlimited(&source)));
    let full = outcome(fetching).await;
    let Err(SessionError::Write(WriteError::DiskFull { .. })) = full else { panic!("{full:?}") };
    let kept = download.done_bytes();
    assert!(kept > 0 && kept < 8 * MIB as u64, "{kept}");
    disk.set(Faults::default());
    fetch_all(&download, &source).await;
    assert!(fs::read(shelf.finish(&download)).unwrap() == noise(8 * MIB));
}

#[tokio::test]
async fn after_the_close_nothing_more_is_written() {
    let shelf = Shelf::new();
    let source = shelf.file(2 * MIB);
    let download = shelf.download(source.plan());
    download.close();
    let written = download.write(1, 0, &honest(&source, 0)[1..]);
    assert!(matches!(written, crate::download::Written::Kept));
    let Place::Disk(sink) = &download.place else { unreachable!() };
    assert!(!sink.has(0));
}

#[tokio::test]
async fn a_provider_that_knows_another_size_is_not_blamed() {
    let shelf = Shelf::new();
    let source = shelf.file(3 * MIB);
    let download = shelf.download(source.plan());
    let (mut stream, fetching) = fetching(&download, 1);
    open(&mut stream, source.plan().bytes() + 1).await;
    let error = outcome(fetching).await.unwrap_err();
    assert!(matches!(error, SessionError::OtherSize) && !error.is_misbehaviour(), "{error}");
    assert_eq!(download.corrupt_bytes(), 0);
}
