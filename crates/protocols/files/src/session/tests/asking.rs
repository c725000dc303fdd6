//! One question, its answers.

use peerage_types::TransferId;
use peerage_wire::files::{Frame as _, News, Refusal};

use super::{super::ask, *};

async fn asked(answers: Vec<u8>) -> (Result<Answer, SessionError>, Vec<(u64, u64)>) {
    let (ours, mut theirs) = pipe();
    let asking = tokio::spawn(async {
        let mut seen = Vec::new();
        let question = Request::Tell { transfer: TransferId([7; 8]), news: News::Paused };
        let answer = ask(ours, question, |bytes, total| seen.push((bytes, total))).await;
        (answer, seen)
    });
    let heard: Request = hear(&mut theirs).await.unwrap();
    assert_eq!(heard, Request::Tell { transfer: TransferId([7; 8]), news: News::Paused });
    theirs.write_all(&answers).await.unwrap();
    theirs.close().await.unwrap();
    within("the answer", asking).await.unwrap()
}

#[tokio::test]
async fn the_last_answer_counts_and_progress_is_passed_on() {
    let hashing = |bytes| Answer::Hashing { bytes, total: 9 }.encode();
    let answers = [hashing(1), hashing(5), Answer::Noted.encode()].concat();
    let (answer, seen) = asked(answers).await;
    assert_eq!((answer.unwrap(), seen), (Answer::Noted, vec![(1, 9), (5, 9)]));
    let (refused, _) = asked(Answer::Refused(Refusal::Busy).encode()).await;
    assert_eq!(refused.unwrap(), Answer::Refused(Refusal::Busy));
}

#[tokio::test]
async fn an_answer_that_is_cut_or_garbage_is_an_error() {
    let whole = Answer::Refused(Refusal::Declined("no".into())).encode();
    for len in 0..whole.len() {
        let (cut, _) = asked(whole[..len].to_vec()).await;
        assert!(matches!(cut, Err(SessionError::Io(_))), "{len} bytes: {cut:?}");
    }
    let (garbage, _) = asked(b"\0\0\0\x02hi".to_vec()).await;
    assert!(matches!(&garbage, Err(error) if error.is_misbehaviour()), "{garbage:?}");
}
