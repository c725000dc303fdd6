"""Kademlia for peer.py, see ../README.md for the commands. Keys and values are bytes.

What the library cannot do, and what follows from it here:

* Its protocol id is a constant that three modules import
  (https://github.com/libp2p/py-libp2p/blob/v0.8.1/libp2p/kad_dht/common.py; `protocol_prefix` does
  not change it), so `speak` sets it in each before the DHT is made.
* Its `put_value` and `get_value` take text as keys and encode it as UTF-8
  (https://github.com/libp2p/py-libp2p/blob/v0.8.1/libp2p/kad_dht/kad_dht.py), but ours end in a hash.
  The messages underneath take bytes and are used here.
* For the same reason it refuses every record of ours that a peer puts: its PUT_VALUE handler decodes
  the key.
"""

import libp2p.kad_dht.common
import libp2p.kad_dht.kad_dht
import libp2p.kad_dht.peer_routing
import libp2p.kad_dht.provider_store
import libp2p.kad_dht.value_store

from libp2p.custom_types import TProtocol
from libp2p.kad_dht import DHTMode, KadDHT


def speak(protocol):
    for module in (
        libp2p.kad_dht.common,
        libp2p.kad_dht.kad_dht,
        libp2p.kad_dht.peer_routing,
        libp2p.kad_dht.provider_store,
        libp2p.kad_dht.value_store,
    ):
        module.PROTOCOL_ID = TProtocol(protocol)


class Kad:
    """The DHT, and who has what in it."""

    def __init__(self, host, protocol):
        speak(protocol)
        self.own = host.get_id()
        self.dht = KadDHT(host, DHTMode.SERVER)

    async def others(self, key):
        peers = await self.dht.peer_routing.find_closest_peers_network(key)
        return [peer for peer in peers if peer != self.own]

    async def put(self, key, value):
        store = self.dht.value_store
        store.put(key, value)
        for peer in await self.others(key):
            if not await store._store_at_peer(peer, key, value):
                raise RuntimeError(f"{peer} does not take the value")

    async def get(self, key):
        """(peer, value) of all that have one, this peer among them."""
        found = []
        for peer in [self.own, *await self.others(key)]:
            value = await self.dht.value_store._get_from_peer(peer, key)
            if value is not None:
                found.append((peer, value))
        return found

    async def provide(self, key):
        await self.dht.provider_store.provide(key)

    async def find_providers(self, key):
        """(peer, provider) of all that know one, this peer among them."""
        store = self.dht.provider_store
        found = [(self.own, provider.peer_id) for provider in store.get_providers(key)]
        for peer in await self.others(key):
            told, _ = await store._get_providers_from_peer_with_closers(peer, key)
            found += [(peer, provider.peer_id) for provider in told]
        return found
