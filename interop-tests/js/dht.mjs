// Nodes of bittorrent-dht on 127.0.0.1 that are steered by JSON lines, see ../README.md. The first
// is alone, the others enter at it and at `--bootstrap`.
import { createHash, createPublicKey, verify as verifyWith } from 'node:crypto'
import dgram from 'node:dgram'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import DHT from 'bittorrent-dht'

const HOST = '127.0.0.1'
const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex')

const { values: flags } = parseArgs({
  options: {
    nodes: { type: 'string', default: '1' },
    bootstrap: { type: 'string', multiple: true, default: [] }
  }
})

const emit = (event) => process.stdout.write(`${JSON.stringify(event)}\n`)
const hex = (text) => Buffer.from(text, 'hex')

function verify (signature, message, key) {
  const der = Buffer.concat([SPKI_PREFIX, Buffer.from(key)])
  const publicKey = createPublicKey({ key: der, format: 'der', type: 'spki' })
  return verifyWith(null, Buffer.from(message), publicKey, Buffer.from(signature))
}

// UDP payload that the nodes exchanged with a port that is not one of theirs.
const traffic = new Map()
function count (port, direction, bytes) {
  const counted = traffic.get(port) ?? { sent: 0, received: 0, packets: 0 }
  counted[direction] += bytes
  counted.packets += 1
  traffic.set(port, counted)
}

function countingSocket () {
  const socket = dgram.createSocket('udp4')
  socket.on('message', (message, { port }) => count(port, 'received', message.length))
  const send = socket.send.bind(socket)
  socket.send = (buffer, offset, length, port, ...rest) => {
    count(port, 'sent', length)
    return send(buffer, offset, length, port, ...rest)
  }
  return socket
}

async function start (bootstrap) {
  const dht = new DHT({
    bootstrap: bootstrap.length > 0 ? bootstrap : false,
    host: HOST,
    socket: countingSocket(),
    verify
  })
  dht.on('warning', (warning) => console.error(String(warning)))
  dht.listen(0, HOST)
  await once(dht, 'listening')
  if (!dht.ready) {
    await once(dht, 'ready')
  }
  return dht
}

const entrance = (dht) => `${HOST}:${dht.address().port}`
const nodes = [await start(flags.bootstrap)]
while (nodes.length < Number(flags.nodes)) {
  nodes.push(await start([entrance(nodes[0]), ...flags.bootstrap]))
}
const node = nodes.at(-1)

const call = (method, ...args) => new Promise((resolve, reject) => {
  node[method](...args, (error, ...results) => error ? reject(error) : resolve(results))
})

const commands = {
  async announce ({ infohash, port }) {
    await call('announce', hex(infohash), port)
    return { event: 'announced' }
  },
  async lookup ({ infohash }) {
    const peers = new Set()
    const onPeer = ({ host, port }, found) => {
      if (found.toString('hex') === infohash) peers.add(`${host}:${port}`)
    }
    node.on('peer', onPeer)
    await call('lookup', hex(infohash))
    node.off('peer', onPeer)
    return { event: 'found', peers: [...peers] }
  },
  async put ({ key, seq, value, signature }) {
    const item = { k: hex(key), seq, v: hex(value), sig: hex(signature) }
    const [, stored] = await call('put', item)
    return { event: 'put', stored }
  },
  async get ({ key }) {
    const target = createHash('sha1').update(hex(key)).digest()
    const [item] = await call('get', target, { cache: false })
    if (item == null) return { event: 'got' }
    return { event: 'got', seq: item.seq, value: Buffer.from(item.v).toString('hex') }
  },
  async traffic ({ port }) {
    const none = { sent: 0, received: 0, packets: 0 }
    return { event: 'traffic', ...(traffic.get(port) ?? none) }
  }
}

emit({ event: 'ready', nodes: nodes.map(entrance) })
for await (const line of createInterface({ input: process.stdin })) {
  let cmd = null
  try {
    const request = JSON.parse(line)
    cmd = request.cmd
    if (!Object.hasOwn(commands, cmd)) throw new Error(`unknown command ${cmd}`)
    emit(await commands[cmd](request))
  } catch (error) {
    emit({ event: 'error', cmd, message: String(error?.message ?? error) })
  }
}
process.exit(0)
