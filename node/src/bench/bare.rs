//! The least that a round trip can take here: 64 bytes over a bare TCP connection between two processes.

use std::{net::SocketAddr, time::Instant};

use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::side::input_ended;
use crate::{failed::Failed, output::Output};

const LEN: usize = 64;

/// First line of the side that answers.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Answering {
    pub(super) at: SocketAddr,
}

/// Round trips in microseconds.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Took {
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
}

impl Took {
    pub(super) fn of(mut took: Vec<f64>) -> Self {
        took.sort_unstable_by(f64::total_cmp);
        let at = |part: usize| took.get(took.len() * part / 100).copied().unwrap_or_default();
        Self { p50_us: at(50), p99_us: at(99) }
    }
}

/// Sends back what one connection sends, until standard input ends.
pub(super) async fn answer(out: Output) -> Result<(), Failed> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    out.line(&Answering { at: listener.local_addr()? })?;
    let echo = async {
        let (mut stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let mut bytes = [0; LEN];
        loop {
            stream.read_exact(&mut bytes).await?;
            stream.write_all(&bytes).await?;
        }
    };
    tokio::select! {
        ended = echo => {
            let ended: std::io::Result<()> = ended;
            // The other side has measured and closes.
            ended.or_else(|e| (e.kind() == std::io::ErrorKind::UnexpectedEof).then_some(()).ok_or(e))?;
        }
        () = input_ended() => {}
    }
    Ok(())
}

/// Measures against [`answer`].
pub(super) async fn ask(out: Output, at: SocketAddr, round_trips: u32) -> Result<(), Failed> {
    let mut stream = TcpStream::connect(at).await?;
    stream.set_nodelay(true)?;
    let mut bytes = [0x5a; LEN];
    let mut took = Vec::new();
    for _ in 0..round_trips {
        let start = Instant::now();
        stream.write_all(&bytes).await?;
        stream.read_exact(&mut bytes).await?;
        took.push(start.elapsed().as_secs_f64() * 1e6);
    }
    out.line(&Took::of(took))
}
