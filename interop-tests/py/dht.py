"""A libtorrent DHT node on 127.0.0.1 that is steered by JSON lines, see ../README.md.

libtorrent keeps its nodes apart by address and trusts none on this machine, unless told so. Its keys
are the 64 bytes that SHA-512 makes of a seed, and it counts the number of an item up by itself.
"""

import argparse
import hashlib
import json
import sys
import time

import libtorrent as lt

# It may ask itself on the way, and gives up on the answer after 15 s.
COMMAND_TIMEOUT = 28.0
# It drops what it is asked while its table is young.
ATTEMPTS = 5
SETTINGS = {
    "listen_interfaces": "127.0.0.1:0",
    "enable_dht": True,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "dht_restrict_routing_ips": False,
    "dht_restrict_search_ips": False,
    "dht_prefer_verified_node_ids": False,
    "dht_ignore_dark_internet": False,
    "dht_bootstrap_nodes": "",
    "alert_mask": int(lt.alert.category_t.dht_notification | lt.alert.category_t.error_notification)
    | int(lt.alert.category_t.dht_operation_notification)
    | int(lt.alert.category_t.dht_log_notification),
}


def emit(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


class Node:
    def __init__(self, bootstrap):
        nodes = ",".join(bootstrap)
        self.session = lt.session({**SETTINGS, "dht_bootstrap_nodes": nodes})
        for entry in bootstrap:
            host, port = entry.rsplit(":", 1)
            self.session.add_dht_node((host, int(port)))
        self.wait(lambda alert: isinstance(alert, lt.dht_bootstrap_alert))

    def wait(self, wanted):
        """The first alert that is wanted."""
        return next(self.alerts(wanted))

    def alerts(self, wanted, seconds=COMMAND_TIMEOUT):
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if self.session.wait_for_alert(int(left * 1000) + 1) is None:
                continue
            for alert in self.session.pop_alerts():
                if wanted(alert):
                    yield alert
        raise TimeoutError("no alert in time")

    def entrance(self):
        return f"127.0.0.1:{self.session.listen_port()}"

    def announce(self, infohash, port):
        """Until it was sent to some node, of which nothing but the log tells."""
        sent = lambda alert: isinstance(alert, lt.dht_log_alert) and (
            "invoking announce_peer" in alert.message()
        )
        self.session.dht_announce(lt.sha1_hash(bytes.fromhex(infohash)), port, 0)
        self.wait(sent)
        emit("announced")

    def lookup(self, infohash):
        target = lt.sha1_hash(bytes.fromhex(infohash))
        self.session.dht_get_peers(target)
        is_reply = lambda alert: isinstance(alert, lt.dht_get_peers_reply_alert)
        peers = set()
        try:
            # It reports the answers of nodes as they come, and not when the last one has.
            for alert in self.alerts(is_reply, 1.5):
                peers.update(f"{host}:{port}" for host, port in alert.peers())
        except TimeoutError:
            pass
        return {"peers": sorted(peers)}

    def get(self, key):
        self.session.dht_get_mutable_item(bytes.fromhex(key), b"")
        is_item = lambda alert: isinstance(alert, lt.dht_mutable_item_alert)
        alert = self.wait(lambda alert: is_item(alert) and alert.authoritative)
        if not alert.item:
            return {}
        item = alert.item
        value = item if isinstance(item, bytes) else item.get("value", item)
        return {"seq": alert.seq, "value": value.hex()}

    def put(self, seed, key, value):
        secret = bytearray(hashlib.sha512(bytes.fromhex(seed)).digest())
        secret[0] &= 248
        secret[31] &= 63
        secret[31] |= 64
        for _ in range(ATTEMPTS):
            self.session.dht_put_mutable_item(
                bytes(secret), bytes.fromhex(key), bytes.fromhex(value), b""
            )
            alert = self.wait(lambda alert: isinstance(alert, lt.dht_put_alert))
            if alert.num_success > 0:
                break
        return {"stored": alert.num_success, "seq": alert.seq}


def obey(node, request):
    cmd = request.pop("cmd")
    if cmd == "announce":
        node.announce(**request)
    elif cmd == "lookup":
        emit("found", **node.lookup(**request))
    elif cmd == "get":
        emit("got", **node.get(**request))
    elif cmd == "put":
        emit("put", **node.put(**request))
    else:
        raise ValueError(f"unknown command {cmd}")


def main():
    flags = argparse.ArgumentParser()
    flags.add_argument("--bootstrap", action="append", default=[])
    node = Node(flags.parse_args().bootstrap)
    emit("ready", nodes=[node.entrance()])
    for line in sys.stdin:
        request = json.loads(line)
        try:
            obey(node, dict(request))
        except Exception as error:  # Whatever it is, the test should read it.
            emit("error", cmd=request.get("cmd"), message=f"{type(error).__name__}: {error}")


main()
