// A js-libp2p node that is steered by JSON lines, see ../README.md for the protocol.
import './polyfill.mjs'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { quic } from '@chainsafe/libp2p-quic'
import { gossipsub } from '@libp2p/gossipsub'
import { identify } from '@libp2p/identify'
import { kadDHT, passthroughMapper } from '@libp2p/kad-dht'
import { noise } from '@libp2p/noise'
import { peerIdFromString } from '@libp2p/peer-id'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { tls } from '@libp2p/tls'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { records } from './kad.mjs'

const COMMAND_TIMEOUT_MS = 20_000
const IDENTIFY_TIMEOUT_MS = 10_000

const { values: flags } = parseArgs({
  options: {
    transport: { type: 'string', default: 'tcp' },
    security: { type: 'string', default: 'noise' },
    kad: { type: 'string' },
    topic: { type: 'string', multiple: true, default: [] },
    unsigned: { type: 'boolean', default: false }
  }
})

const encrypters = { noise, tls }

const transports = {
  tcp: {
    transports: [tcp()],
    connectionEncrypters: [encrypters[flags.security]?.()],
    streamMuxers: [yamux()],
    addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] }
  },
  quic: {
    transports: [quic()],
    addresses: { listen: ['/ip4/127.0.0.1/udp/0/quic-v1'] }
  }
}

const emit = (event) => process.stdout.write(`${JSON.stringify(event)}\n`)

if (!(flags.transport in transports && flags.security in encrypters)) {
  const message = `unknown transport ${flags.transport} with ${flags.security}`
  emit({ event: 'error', cmd: 'start', message })
  process.exit(2)
}

// Our nodes judge the records they are given, so this one takes all and prefers the newest.
const dht = () => kadDHT({
  protocol: flags.kad,
  clientMode: false,
  validators: { user: async () => {} },
  selectors: { user: () => 0 },
  peerInfoMapper: passthroughMapper,
  allowQueryWithZeroPeers: true
})

const node = await createLibp2p({
  ...transports[flags.transport],
  // The default gater refuses loopback addresses only in browsers; say it, so that it stays true.
  connectionGater: { denyDialMultiaddr: () => false },
  services: {
    identify: identify(),
    // rust-libp2p keeps one ping stream open; the default of one outbound stream then refuses ours
    // while the previous one is still closing.
    ping: ping({ maxInboundStreams: 8, maxOutboundStreams: 8 }),
    pubsub: gossipsub({
      globalSignaturePolicy: flags.unsigned ? 'StrictNoSign' : 'StrictSign',
      emitSelf: false
    }),
    ...(flags.kad != null && { dht: dht() })
  }
})
const { pubsub } = node.services

const identified = new Map()
const awaitingIdentify = new Map()

node.addEventListener('peer:identify', ({ detail }) => {
  const peer = detail.peerId.toString()
  const seen = { peer_id: peer, agent: detail.agentVersion, protocols: detail.protocols }
  identified.set(peer, seen)
  awaitingIdentify.get(peer)?.resolve(seen)
  emit({ event: 'identified', ...seen })
})
node.addEventListener('connection:open', ({ detail: connection }) => {
  emit({
    event: 'connected',
    peer_id: connection.remotePeer.toString(),
    direction: connection.direction === 'inbound' ? 'in' : 'out',
    address: connection.remoteAddr.toString()
  })
})
node.addEventListener('peer:disconnect', ({ detail }) => {
  identified.delete(detail.toString())
  emit({ event: 'disconnected', peer_id: detail.toString() })
})
pubsub.addEventListener('subscription-change', ({ detail }) => {
  for (const { topic, subscribe } of detail.subscriptions) {
    const event = subscribe ? 'subscribed' : 'unsubscribed'
    emit({ event, peer_id: detail.peerId.toString(), topic })
  }
})
pubsub.addEventListener('gossipsub:message', ({ detail: { msg } }) => {
  emit({
    event: 'message',
    topic: msg.topic,
    from: msg.from?.toString() ?? null,
    data: new TextDecoder().decode(msg.data)
  })
})

const target = ({ addr, peer }) => (addr != null ? multiaddr(addr) : peerIdFromString(peer))

async function identityOf (peer) {
  if (identified.has(peer)) {
    return identified.get(peer)
  }
  const waiting = awaitingIdentify.get(peer) ?? Promise.withResolvers()
  awaitingIdentify.set(peer, waiting)
  const timer = setTimeout(() => waiting.reject(new Error(`no identify from ${peer}`)), IDENTIFY_TIMEOUT_MS)
  try {
    return await waiting.promise
  } finally {
    clearTimeout(timer)
    awaitingIdentify.delete(peer)
  }
}

// A subscription can arrive before our own stream to the peer is open; `publish` then passes the
// peer over in silence, and no event tells when that has ended.
async function writable (topic, signal) {
  const open = (peer) => pubsub.streamsOutbound.has(peer.toString())
  while (!pubsub.getSubscribers(topic).every(open)) {
    signal.throwIfAborted()
    await sleep(20)
  }
}

const commands = {
  async dial ({ addr }, signal) {
    const connection = await node.dial(multiaddr(addr), { signal })
    return { event: 'dialed', peer_id: connection.remotePeer.toString() }
  },
  async ping (request, signal) {
    return { event: 'pong', rtt_ms: await node.services.ping.ping(target(request), { signal }) }
  },
  async subscribe ({ topic }) {
    pubsub.subscribe(topic)
    return { event: 'joined', topic }
  },
  async publish ({ topic, data }, signal) {
    await writable(topic, signal)
    const { recipients } = await pubsub.publish(topic, new TextEncoder().encode(data))
    return { event: 'published', topic, recipients: recipients.map(String) }
  },
  async subscribers ({ topic }) {
    return { event: 'subscribers', topic, peers: pubsub.getSubscribers(topic).map(String) }
  },
  async protocols ({ peer }) {
    return { event: 'protocols', ...await identityOf(peer) }
  },
  ...records(node),
  async stop () {
    await node.stop()
    return { event: 'stopped' }
  }
}

async function obey (line) {
  let cmd = null
  try {
    const request = JSON.parse(line)
    cmd = request.cmd
    if (!Object.hasOwn(commands, cmd)) {
      throw new Error(`unknown command ${cmd}`)
    }
    emit(await commands[cmd](request, AbortSignal.timeout(COMMAND_TIMEOUT_MS)))
  } catch (error) {
    emit({ event: 'error', cmd, message: String(error?.message ?? error) })
  }
  return cmd !== 'stop'
}

flags.topic.forEach((topic) => pubsub.subscribe(topic))
emit({
  event: 'ready',
  peer_id: node.peerId.toString(),
  listen: node.getMultiaddrs().map(String)
})

for await (const line of createInterface({ input: process.stdin })) {
  if (line.trim() !== '' && !await obey(line)) {
    break
  }
}
process.exit(0)
