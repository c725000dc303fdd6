// The commands of Kademlia, see ../README.md. Keys and values are hexadecimal.
import { CID } from 'multiformats/cid'
import * as Digest from 'multiformats/hashes/digest'

const RAW = 0x55

const unhex = (text) => new Uint8Array(Buffer.from(text, 'hex'))
const hex = (bytes) => Buffer.from(bytes).toString('hex')
const cid = (key) => CID.createV1(RAW, Digest.decode(unhex(key)))

// Runs a query to its end.
async function run (events) {
  for await (const _ of events);
}

export function records (node) {
  // The library pings whom it has come to know, once. Over its QUIC that fails now and then, and it
  // would never ask that peer.
  async function ready (signal) {
    const { dht } = node.services
    if (dht == null) {
      throw new Error('started without --kad')
    }
    for (const id of node.getPeers()) {
      const { protocols } = await node.peerStore.get(id, { signal }).catch(() => ({ protocols: [] }))
      if (protocols.includes(dht.protocol) && await dht.routingTable.find(id, { signal }) == null) {
        await dht.routingTable.add(id, { signal }).catch(() => {})
      }
    }
    return dht
  }
  return {
    async kad_put ({ key, value }, signal) {
      await run((await ready(signal)).put(unhex(key), unhex(value), { signal }))
      return { event: 'put' }
    },
    // Not `get`: that tells only the best value, and not who has it.
    async kad_get ({ key }, signal) {
      const values = []
      for await (const event of (await ready(signal)).contentFetching.getMany(unhex(key), { signal })) {
        if (event.name === 'VALUE') {
          values.push({ from: event.from.toString(), value: hex(event.value) })
        }
      }
      return { event: 'got', values }
    },
    async provide ({ key }, signal) {
      await run((await ready(signal)).provide(cid(key), { signal }))
      return { event: 'provided' }
    },
    async find_providers ({ key }, signal) {
      const providers = []
      for await (const event of (await ready(signal)).findProviders(cid(key), { signal })) {
        for (const { id } of event.name === 'PEER_RESPONSE' ? event.providers : []) {
          providers.push({ from: event.from.toString(), peer_id: id.toString() })
        }
      }
      return { event: 'providers', providers }
    }
  }
}
