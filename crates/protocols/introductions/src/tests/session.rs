use bytes::Bytes;
use futures::{AsyncReadExt as _, AsyncWriteExt as _, future::join};
use peerage_types::Network;
use peerage_wire::introductions::{Frame, Signed};
use tokio::io::duplex;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt as _};

use super::{Person, START};
use crate::session::{Question, SessionError, answer, ask};

const ASKER: Person = Person(1);
const OTHER: Person = Person(2);

fn streams() -> (Compat<tokio::io::DuplexStream>, Compat<tokio::io::DuplexStream>) {
    let (here, there) = duplex(64 << 10);
    (here.compat(), there.compat())
}

fn bytes(person: &Person) -> Bytes {
    person.record(START).bytes().clone()
}

fn question(limit: u8) -> Question {
    Question { limit, namespace: Some([1; 20]), own: vec![bytes(&ASKER)] }
}

/// What comes of asking somebody who says `reply`.
async fn asked(reply: Vec<u8>, limit: u8) -> Result<Vec<Signed>, SessionError> {
    let (here, mut there) = streams();
    let reply = async move {
        // It may be cut off at its first word.
        let _ = there.write_all(&reply).await;
        let _ = there.close().await;
        let _ = there.read_to_end(&mut Vec::new()).await;
    };
    join(ask(here, question(limit), Network::default()), reply).await.0
}

/// What comes of being asked by somebody who says `words`.
async fn answered(words: Vec<u8>) -> Result<Vec<Signed>, SessionError> {
    let (here, mut there) = streams();
    let words = async move {
        let _ = there.write_all(&words).await;
        let _ = there.close().await;
        let _ = there.read_to_end(&mut Vec::new()).await;
    };
    let serve = answer(here, ASKER.peer(), Network::default(), |_, _| Vec::new());
    join(serve, words).await.0
}

#[tokio::test]
async fn both_sides_learn() {
    let (here, there) = streams();
    let reply = |limit, namespace| {
        assert_eq!((limit, namespace), (16, Some([1; 20])));
        vec![bytes(&OTHER)]
    };
    let serve = answer(there, ASKER.peer(), Network::default(), reply);
    let (learned, told) = join(ask(here, question(16), Network::default()), serve).await;
    assert_eq!(learned.unwrap(), [OTHER.record(START)]);
    assert_eq!(told.unwrap(), [ASKER.record(START)]);
}

#[tokio::test]
async fn a_forged_record_ends_the_dialog_and_nothing_of_it_is_used() {
    let mut forged = bytes(&OTHER).to_vec();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    let reply = Frame::Answer(vec![bytes(&ASKER), forged.clone().into()]).encode();
    let refused = asked(reply, 16).await.unwrap_err();
    assert!(refused.is_misbehaviour(), "{refused}");
    let own = vec![Bytes::from(forged)];
    let refused = answered(Frame::Ask { limit: 1, namespace: None, own }.encode()).await;
    assert!(refused.unwrap_err().is_misbehaviour());
}

#[tokio::test]
async fn nobody_says_more_than_it_was_asked_or_that_it_is_another() {
    let reply = Frame::Answer(vec![bytes(&OTHER); 3]).encode();
    assert!(matches!(asked(reply.clone(), 2).await, Err(SessionError::TooMuch)));
    assert_eq!(asked(reply, 3).await.unwrap().len(), 3);
    let own = vec![bytes(&OTHER)];
    let words = Frame::Ask { limit: 16, namespace: None, own }.encode();
    assert!(matches!(answered(words).await, Err(SessionError::Another)));
}

#[tokio::test]
async fn nonsense_is_misbehaviour_and_a_broken_stream_is_not() {
    let out_of_turn = Frame::Answer(vec![]).encode();
    assert!(matches!(answered(out_of_turn).await, Err(SessionError::OutOfTurn)));
    for nonsense in [vec![0xff; 70_000], vec![0, 0], vec![0, 1, 9], vec![0, 2, 2, 7]] {
        assert!(asked(nonsense.clone(), 16).await.unwrap_err().is_misbehaviour());
        assert!(answered(nonsense).await.unwrap_err().is_misbehaviour());
    }
    assert!(!asked(vec![], 16).await.unwrap_err().is_misbehaviour());
    assert!(!asked(vec![0, 9, 2], 16).await.unwrap_err().is_misbehaviour());
}
