//! One arm per command of the facet.

use std::time::Instant;

use peerage_api::{
    LinkError,
    exchange::{
        Broadcast, Broadcasted, Command, ExchangeError, Expect, MAX_BODY_BYTES, MAX_REASON_BYTES,
        OpenOutbox, Outgoing, Refuse, Reply,
    },
};

use crate::Behaviour;

impl Behaviour {
    /// Does or begins what a handle asks for; the answer goes through the command's own door.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn on_command(&mut self, command: Command, now: Instant) {
        match command {
            Command::Broadcast(ask) if self.stopping => ask.reply(Err(LinkError::Stopped.into())),
            Command::Broadcast(ask) => {
                let answer = self.broadcast(&ask.request);
                ask.reply(answer);
            }
            Command::Reply(ask) => {
                let (request, door) = ask.split();
                let _ = door.send(self.reply(request, now));
            }
            Command::Refuse(ask) => {
                let (request, door) = ask.split();
                let _ = door.send(self.refuse(request, now));
            }
            Command::GetStats(ask) => ask.reply(Ok(self.stats())),
            Command::Subscribe(open) if self.stopping => open.refuse(LinkError::Stopped.into()),
            Command::Subscribe(open) => self.registry.subscribe(open),
            Command::Respond(open) if self.stopping => open.refuse(LinkError::Stopped.into()),
            Command::Respond(open) => self.registry.respond(open),
            Command::Outbox(open) => self.outbox(open),
        }
    }

    fn outbox(&mut self, OpenOutbox { peer, reply }: OpenOutbox) {
        if self.stopping {
            let _ = reply.send(Err(LinkError::Stopped.into()));
            return;
        }
        let stream = match self.links.outbound(&peer) {
            Some(stream) => stream.clone(),
            None => self.open(peer),
        };
        stream.door.wait(reply, &stream.outbox);
    }

    fn broadcast(&mut self, message: &Broadcast) -> Result<Broadcasted, ExchangeError> {
        check_size(message.body.data.len())?;
        let mut outcome = Broadcasted::default();
        for peer in self.links.members() {
            let outbox = match self.links.outbound(&peer) {
                Some(stream) => stream.outbox.clone(),
                // Its queue takes messages before it is open.
                None => self.open(peer).outbox,
            };
            let (kind, body) = (message.kind.clone(), message.body.clone());
            match outbox.try_send(Outgoing { kind, body, expect: Expect::Nothing, room: None }) {
                Ok(()) => outcome.sent += 1,
                Err(_) => outcome.missed += 1,
            }
        }
        Ok(outcome)
    }

    fn reply(&self, Reply { request, body }: Reply, now: Instant) -> Result<(), ExchangeError> {
        check_size(body.data.len())?;
        self.registry.replies().reply(request, body, now)
    }

    fn refuse(
        &self,
        Refuse { request, reason }: Refuse,
        now: Instant,
    ) -> Result<(), ExchangeError> {
        // The reason may quote what the asking peer sent: its length must not fail the refusal.
        let mut reason = reason;
        reason.truncate(reason.floor_char_boundary(MAX_REASON_BYTES));
        self.registry.replies().refuse(request, reason, now)
    }
}

fn check_size(bytes: usize) -> Result<(), ExchangeError> {
    match bytes {
        0..=MAX_BODY_BYTES => Ok(()),
        bytes => Err(ExchangeError::TooLarge { bytes, max: MAX_BODY_BYTES }),
    }
}
