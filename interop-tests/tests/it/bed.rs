//! The foreign peers among themselves. When these fail too, the fault is not in our node.

use anyhow::{Result, ensure};
use peerage_interop_tests::{Foreign, Kind, Transport};

const TOPIC: &str = "bed";

#[tokio::test]
async fn js_and_py_understand_each_other_over_tcp() -> Result<()> {
    understand(Transport::TcpNoise).await
}

#[tokio::test]
async fn js_and_py_understand_each_other_over_quic() -> Result<()> {
    understand(Transport::Quic).await
}

async fn understand(transport: Transport) -> Result<()> {
    for (dialler, listener) in [(Kind::Js, Kind::Py), (Kind::Py, Kind::Js)] {
        let flags = ["--topic", TOPIC];
        let Some(mut a) = Foreign::spawn(dialler, transport, &flags).await? else { return Ok(()) };
        let Some(mut b) = Foreign::spawn(listener, transport, &flags).await? else { return Ok(()) };
        a.dial(b.address()?).await?;
        talk(&mut a, &mut b, listener).await?;
        talk(&mut b, &mut a, dialler).await?;
        a.stop().await?;
        b.stop().await?;
    }
    Ok(())
}

async fn talk(from: &mut Foreign, to: &mut Foreign, to_kind: Kind) -> Result<()> {
    from.connected(to.peer_id()).await?;
    let identity = from.identity_of(to.peer_id()).await?;
    ensure!(identity.agent.starts_with(to_kind.library()), "{identity:?}");
    from.ping(to.peer_id()).await?;
    from.subscribed(to.peer_id(), TOPIC).await?;
    ensure!(from.subscribers(TOPIC).await? == [to.peer_id()]);
    from.publish(TOPIC, from.peer_id().to_owned().as_str()).await?;
    let message = to.message(TOPIC).await?;
    ensure!(message.from == from.peer_id() && message.data == from.peer_id(), "{message:?}");
    Ok(())
}
