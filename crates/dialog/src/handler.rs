//! One per connection: negotiates substreams and passes them on; runs nothing.

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::future::{Ready, ready};
use libp2p_core::{InboundUpgrade, UpgradeInfo, upgrade::ReadyUpgrade};
use libp2p_swarm::{
    ConnectionHandler, ConnectionHandlerEvent, Stream, StreamProtocol, StreamUpgradeError,
    SubstreamProtocol,
    handler::{ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound},
};

use crate::DialogId;

/// Asks a connection's [`Handler`] to open a substream.
#[derive(Debug)]
pub struct HandlerCommand {
    pub(crate) id: DialogId,
    pub(crate) protocol: StreamProtocol,
}

/// What a connection's [`Handler`] tells; for [`crate::Dialogs::on_handler_event`].
#[derive(Debug)]
pub struct HandlerEvent(pub(crate) Report);

#[derive(Debug)]
pub(crate) enum Report {
    /// So many commands have left the connection's queue.
    Taken(usize),
    Opened {
        id: DialogId,
        stream: Stream,
    },
    Failed {
        id: DialogId,
        error: StreamUpgradeError<Infallible>,
    },
    Inbound {
        protocol: StreamProtocol,
        stream: Stream,
    },
}

/// The `ConnectionHandler` of [`crate::Dialogs`].
#[derive(Debug)]
pub struct Handler {
    served: Served,
    open_timeout: Duration,
    /// At most [`crate::MAX_UNTAKEN_OPENS`], as the behaviour sends no more before `Taken`.
    requests: VecDeque<HandlerCommand>,
    taken: usize,
    /// Opens received and not yet reported.
    opening: usize,
    /// One or two: the connection polls the handler after every event it gives to it.
    reports: VecDeque<Report>,
}

impl Handler {
    pub(crate) fn new(served: Served, open_timeout: Duration) -> Self {
        Self {
            served,
            open_timeout,
            requests: VecDeque::new(),
            taken: 0,
            opening: 0,
            reports: VecDeque::new(),
        }
    }

    fn opened(&mut self, report: Report) {
        self.opening = self.opening.saturating_sub(1);
        self.reports.push_back(report);
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = HandlerCommand;
    type ToBehaviour = HandlerEvent;
    type InboundProtocol = Served;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = DialogId;

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(self.served.clone(), ()).with_timeout(self.open_timeout)
    }

    fn connection_keep_alive(&self) -> bool {
        self.opening > 0
    }

    fn on_behaviour_event(&mut self, command: HandlerCommand) {
        self.taken += 1;
        self.opening += 1;
        self.requests.push_back(command);
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, DialogId, HandlerEvent>> {
        // No waker is kept: everything that changes this state is followed by another poll.
        if let Some(HandlerCommand { id, protocol }) = self.requests.pop_front() {
            let protocol = SubstreamProtocol::new(ReadyUpgrade::new(protocol), id)
                .with_timeout(self.open_timeout);
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        let report = match std::mem::take(&mut self.taken) {
            0 => self.reports.pop_front(),
            count => Some(Report::Taken(count)),
        };
        match report {
            Some(report) => {
                Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(HandlerEvent(report)))
            }
            None => {
                // Each connection has one of these for every protocol, and is quiet nearly always:
                // a kilobyte of empty queues would be kept for each.
                (self.requests, self.reports) = (VecDeque::new(), VecDeque::new());
                Poll::Pending
            }
        }
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol, (), DialogId>,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: (protocol, stream),
                ..
            }) => self.reports.push_back(Report::Inbound { protocol, stream }),
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: stream,
                info: id,
            }) => self.opened(Report::Opened { id, stream }),
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info: id, error }) => {
                self.opened(Report::Failed { id, error });
            }
            _ => {}
        }
    }
}

/// The protocols served inbound, preferred first. The connection asks for them at every poll, so a
/// clone must be cheap.
#[derive(Clone, Debug)]
pub struct Served(Arc<[StreamProtocol]>);

impl Served {
    pub(crate) fn new(protocols: &[StreamProtocol]) -> Self {
        Self(protocols.into())
    }
}

#[derive(Clone, Debug)]
pub struct ServedIter {
    served: Served,
    next: usize,
}

impl Iterator for ServedIter {
    type Item = StreamProtocol;

    fn next(&mut self) -> Option<StreamProtocol> {
        let protocol = self.served.0.get(self.next).cloned();
        self.next += 1;
        protocol
    }
}

impl UpgradeInfo for Served {
    type Info = StreamProtocol;
    type InfoIter = ServedIter;

    fn protocol_info(&self) -> ServedIter {
        ServedIter { served: self.clone(), next: 0 }
    }
}

impl InboundUpgrade<Stream> for Served {
    type Output = (StreamProtocol, Stream);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        ready(Ok((protocol, stream)))
    }
}
