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
  const dht = () => node.services.dht ?? (() => { throw new Error('started without --kad') })()
  return {
    async kad_put ({ key, value }, signal) {
      await run(dht().put(unhex(key), unhex(value), { signal }))
      return { event: 'put' }
    },
    // Not `get`: that tells only the best value, and not who has it.
    async kad_get ({ key }, signal) {
      const values = []
      for await (const event of dht().contentFetching.getMany(unhex(key), { signal })) {
        if (event.name === 'VALUE') {
          values.push({ from: event.from.toString(), value: hex(event.value) })
        }
      }
      return { event: 'got', values }
    },
    async provide ({ key }, signal) {
      await run(dht().provide(cid(key), { signal }))
      return { event: 'provided' }
    },
    async find_providers ({ key }, signal) {
      const providers = []
      for await (const event of dht().findProviders(cid(key), { signal })) {
        for (const { id } of event.name === 'PEER_RESPONSE' ? event.providers : []) {
          providers.push({ from: event.from.toString(), peer_id: id.toString() })
        }
      }
      return { event: 'providers', providers }
    }
  }
}
