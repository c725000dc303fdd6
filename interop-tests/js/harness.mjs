// A js-libp2p node in libp2p's test harness, as its upper-case variables say; see ../README.md.
import './polyfill.mjs'
import { quic } from '@chainsafe/libp2p-quic'
import { noise } from '@libp2p/noise'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { tls } from '@libp2p/tls'
import { webSockets } from '@libp2p/websockets'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createClient } from '@redis/client'
import { createLibp2p } from 'libp2p'
import { WebSocket } from 'ws'

// node has it from version 22 on.
globalThis.WebSocket ??= WebSocket

const { IS_DIALER, LISTENER_IP, REDIS_ADDR, SECURE_CHANNEL, TEST_KEY, TRANSPORT } = process.env
const TIMEOUT_S = Number(process.env.TEST_TIMEOUT_SECS ?? 180)

const transports = {
  tcp: { make: tcp, listen: 'tcp/0' },
  ws: { make: webSockets, listen: 'tcp/0/ws' },
  'quic-v1': { make: quic, listen: 'udp/0/quic-v1' }
}
const encrypters = { noise, tls }

const transport = transports[TRANSPORT]
const layers = TRANSPORT === 'quic-v1'
  ? {}
  : { connectionEncrypters: [encrypters[SECURE_CHANNEL]()], streamMuxers: [yamux()] }

const redis = createClient({ url: `redis://${REDIS_ADDR}` })
redis.on('error', (error) => console.error(`redis: ${error.message}`))
await redis.connect()
const key = `${TEST_KEY}_listener_multiaddr`

const dialer = IS_DIALER === 'true'
const node = await createLibp2p({
  transports: [transport.make()],
  ...layers,
  addresses: { listen: dialer ? [] : [`/ip4/${LISTENER_IP}/${transport.listen}`] },
  connectionGater: { denyDialMultiaddr: () => false },
  services: { ping: ping({ maxInboundStreams: 8, maxOutboundStreams: 8 }) }
})

async function dial () {
  const posted = await redis.blPop(key, TIMEOUT_S)
  const address = multiaddr(posted.element)
  console.error(`dialling ${address}`)
  const signal = AbortSignal.timeout(TIMEOUT_S * 1000)
  const start = performance.now()
  const connection = await node.dial(address, { signal })
  await node.services.ping.ping(connection.remotePeer, { signal })
  const handshake = performance.now() - start
  const rtt = await node.services.ping.ping(connection.remotePeer, { signal })
  process.stdout.write(
    `latency:\n  handshake_plus_one_rtt: ${handshake.toFixed(3)}\n  ping_rtt: ${rtt}\n  unit: ms\n`
  )
}

async function listen () {
  const [address] = node.getMultiaddrs()
  await redis.del(key)
  await redis.rPush(key, address.toString())
  console.error(`listening on ${address}`)
  await new Promise((resolve) => setTimeout(resolve, TIMEOUT_S * 1000))
  throw new Error(`nobody ended the test within ${TIMEOUT_S} s`)
}

try {
  await (dialer ? dial() : listen())
} catch (error) {
  console.error(error)
  process.exit(1)
}
process.exit(0)
