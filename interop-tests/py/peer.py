"""A py-libp2p node that is steered by JSON lines, see ../README.md for the protocol.

What the library cannot do, and what follows from it here:

* It has no events for identify or for subscriptions and forgets the agent of a peer
  (https://github.com/libp2p/py-libp2p/blob/v0.8.1/libp2p/identity/update.py), so `Gossip` and
  `watch_identify` hook the two functions that learn of them.
* Its QUIC streams (https://github.com/libp2p/py-libp2p/blob/v0.8.1/libp2p/transport/quic/stream.py)
  lose data that arrives together with the end of a stream: `handle_stop_sending` closes both
  directions when the other side only stops to listen, as rust-libp2p does with its identify
  answer, and `read` looks at the buffer before it waits for the lock of the state. Unmended,
  identify fails most of the time; `mend_quic_streams` keeps the wire as it is.
* Its own agent is fixed to `py-libp2p/<version>`.
* A published message goes to mesh members only
  (https://github.com/libp2p/py-libp2p/blob/v0.8.1/libp2p/pubsub/gossipsub.py, `_get_peers_to_send`),
  and only over a stream of our own, so `publish` waits until there are both.
"""

import argparse
import contextlib
import json
import sys

import multiaddr
import trio

from kad import Kad
from libp2p import generate_new_ed25519_identity, new_host
from libp2p.abc import INotifee
from libp2p.crypto.x25519 import create_new_key_pair
from libp2p.custom_types import TProtocol
from libp2p.host import basic_host
from libp2p.host.ping import PingService
from libp2p.identity.identify_push import identify_push
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.pubsub.gossipsub import GossipSub
from libp2p.pubsub.pubsub import Pubsub
from libp2p.security.noise import transport as noise
from libp2p.security.tls import transport as tls
from libp2p.tools.anyio_service import background_trio_service
from libp2p.transport.quic.stream import QUICStream, StreamState

COMMAND_TIMEOUT = 20.0
IDENTIFY_TIMEOUT = 10.0
LISTEN = {"tcp": "/ip4/127.0.0.1/tcp/0", "quic": "/ip4/127.0.0.1/udp/0/quic-v1"}
COMMANDS = (
    *("dial", "ping", "subscribe", "publish", "subscribers", "protocols"),
    *("kad_put", "kad_get", "provide", "find_providers"),
)
MESHSUB = [TProtocol(f"/meshsub/1.{minor}.0") for minor in (2, 1, 0)]


def emit(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


class Gossip(Pubsub):
    """Pubsub that says when a peer subscribes."""

    def handle_subscription(self, origin_id, sub_message):
        super().handle_subscription(origin_id, sub_message)
        event = "subscribed" if sub_message.subscribe else "unsubscribed"
        emit(event, peer_id=str(origin_id), topic=sub_message.topicid)


class Connections(INotifee):
    """Says when peers come and go."""

    def __init__(self, identities):
        self.identities = identities

    async def connected(self, network, conn):
        direction = "in" if conn.direction.name == "INBOUND" else "out"
        emit("connected", peer_id=str(conn.muxed_conn.peer_id), direction=direction)

    async def disconnected(self, network, conn):
        peer = str(conn.muxed_conn.peer_id)
        self.identities.forget(peer)
        emit("disconnected", peer_id=peer)

    async def opened_stream(self, network, stream):
        pass

    async def closed_stream(self, network, stream):
        pass

    async def listen(self, network, multiaddr):
        pass

    async def listen_close(self, network, multiaddr):
        pass


class Identities:
    """What identify told of each connected peer, for those who wait for it."""

    def __init__(self):
        self.known = {}
        self.changed = trio.Event()

    def learn(self, peer, agent, protocols):
        self.known[peer] = {"peer_id": peer, "agent": agent, "protocols": protocols}
        emit("identified", **self.known[peer])
        self.changed.set()
        self.changed = trio.Event()

    def forget(self, peer):
        self.known.pop(peer, None)

    async def of(self, peer):
        with trio.fail_after(IDENTIFY_TIMEOUT):
            while peer not in self.known:
                await self.changed.wait()
        return self.known[peer]


def watch_identify(identities):
    store = basic_host.update_peerstore_from_identify

    async def update(peerstore, peer_id, message):
        await store(peerstore, peer_id, message)
        if message.protocols:
            identities.learn(str(peer_id), message.agent_version, list(message.protocols))

    for module in (basic_host, identify_push):
        module.update_peerstore_from_identify = update


def mend_quic_streams():
    async def handle_stop_sending(stream, error_code):
        stream._write_closed = True
        stream._backpressure_event.set()
        stream._state = StreamState.CLOSED if stream._read_closed else StreamState.WRITE_CLOSED
        try:
            stream._connection._quic.reset_stream(int(stream.stream_id), error_code)
            await stream._connection._transmit()
        except Exception as error:
            print(f"no RESET_STREAM: {error!r}", file=sys.stderr)

    unmended = QUICStream.read

    async def read(stream, n=None):
        try:
            return await unmended(stream, n)
        except Exception:
            if stream._receive_buffer and not stream.is_reset():
                return stream._extract_data_from_buffer(-1 if n is None else n)
            raise

    QUICStream.handle_stop_sending = handle_stop_sending
    QUICStream.read = read


class Peer:
    """The commands, by name."""

    def __init__(self, host, kad, pubsub, router, identities, nursery):
        self.host = host
        self.kad = kad
        self.pubsub = pubsub
        self.router = router
        self.identities = identities
        self.nursery = nursery
        self.pings = PingService(host)

    async def dial(self, addr):
        info = info_from_p2p_addr(multiaddr.Multiaddr(addr))
        await self.host.connect(info)
        emit("dialed", peer_id=str(info.peer_id))

    async def ping(self, addr=None, peer=None):
        if addr is not None:
            info = info_from_p2p_addr(multiaddr.Multiaddr(addr))
            await self.host.connect(info)
            peer = str(info.peer_id)
        (rtt,) = await self.pings.ping(ID.from_string(peer))
        emit("pong", rtt_ms=rtt)

    async def subscribe(self, topic):
        await self.join(topic)
        emit("joined", topic=topic)

    async def publish(self, topic, data):
        for peer in list(self.pubsub.peer_topics.get(topic, ())):
            await self.pubsub.wait_for_peer(peer, timeout=COMMAND_TIMEOUT)
            if self.router.mesh.get(topic) == set():
                await self.pubsub.wait_for_mesh(peer, topic, timeout=COMMAND_TIMEOUT)
        await self.pubsub.publish(topic, data.encode())
        recipients = self.router.mesh.get(topic) or self.router.fanout.get(topic) or ()
        emit("published", topic=topic, recipients=[str(peer) for peer in recipients])

    async def subscribers(self, topic):
        peers = self.pubsub.peer_topics.get(topic, ())
        emit("subscribers", topic=topic, peers=[str(peer) for peer in peers])

    async def protocols(self, peer):
        emit("protocols", **await self.identities.of(peer))

    async def kad_put(self, key, value):
        await self.kad.put(bytes.fromhex(key), bytes.fromhex(value))
        emit("put")

    async def kad_get(self, key):
        found = await self.kad.get(bytes.fromhex(key))
        emit("got", values=[{"from": str(peer), "value": value.hex()} for peer, value in found])

    async def provide(self, key):
        await self.kad.provide(bytes.fromhex(key))
        emit("provided")

    async def find_providers(self, key):
        found = await self.kad.find_providers(bytes.fromhex(key))
        pairs = [{"from": str(peer), "peer_id": str(provider)} for peer, provider in found]
        emit("providers", providers=pairs)

    async def join(self, topic):
        subscription = await self.pubsub.subscribe(topic)
        self.nursery.start_soon(tell_messages, topic, subscription, self.host.get_id())


async def tell_messages(topic, subscription, own):
    async for message in subscription:
        author = ID(message.from_id)
        if author != own:
            data = message.data.decode(errors="replace")
            emit("message", topic=topic, **{"from": str(author)}, data=data)


async def obey(peer, line):
    """Runs one command; false after `stop`."""
    cmd = None
    try:
        request = json.loads(line)
        cmd = request.pop("cmd")
        if cmd == "stop":
            return False
        if cmd not in COMMANDS:
            raise ValueError(f"unknown command {cmd}")
        with trio.fail_after(COMMAND_TIMEOUT):
            await getattr(peer, cmd)(**request)
    except trio.TooSlowError:
        emit("error", cmd=cmd, message="timed out")
    except Exception as error:
        emit("error", cmd=cmd, message=f"{type(error).__name__}: {error}")
    return True


def secured(keys, name):
    if name == "tls":
        return {tls.PROTOCOL_ID: tls.TLSTransport(keys)}
    # Its static key is signed with the identity, which is what makes it the peer's.
    return {noise.PROTOCOL_ID: noise.Transport(keys, noise_privkey=create_new_key_pair().private_key)}


@contextlib.asynccontextmanager
async def running(kad):
    async with contextlib.AsyncExitStack() as stack:
        if kad is not None:
            await stack.enter_async_context(background_trio_service(kad.dht))
        yield


async def serve(given):
    identities = Identities()
    watch_identify(identities)
    mend_quic_streams()
    listen = [multiaddr.Multiaddr(LISTEN[given.transport])]
    keys = generate_new_ed25519_identity()
    host = new_host(key_pair=keys, sec_opt=secured(keys, given.security), listen_addrs=listen)
    host.get_network().register_notifee(Connections(identities))
    # The default heartbeat is 120 s: nobody would join a mesh while a test lasts.
    router = GossipSub(MESHSUB, degree=6, degree_low=4, degree_high=12, heartbeat_interval=1)
    pubsub = Gossip(host, router, strict_signing=not given.unsigned)
    kad = Kad(host, given.kad) if given.kad else None
    async with (
        host.run(listen_addrs=listen),
        background_trio_service(pubsub),
        background_trio_service(router),
        running(kad),
        trio.open_nursery() as nursery,
    ):
        await pubsub.wait_until_ready()
        peer = Peer(host, kad, pubsub, router, identities, nursery)
        for topic in given.topic:
            await peer.join(topic)
        addresses = [str(address) for address in host.get_addrs()]
        emit("ready", peer_id=str(host.get_id()), listen=addresses)
        async for line in trio.wrap_file(sys.stdin):
            if line.strip() and not await obey(peer, line):
                emit("stopped")
                break
        nursery.cancel_scope.cancel()


def main():
    flags = argparse.ArgumentParser()
    flags.add_argument("--transport", choices=LISTEN, default="tcp")
    flags.add_argument("--security", choices=("noise", "tls"), default="noise")
    flags.add_argument("--kad")
    flags.add_argument("--topic", action="append", default=[])
    flags.add_argument("--unsigned", action="store_true")
    trio.run(serve, flags.parse_args())


if __name__ == "__main__":
    main()
