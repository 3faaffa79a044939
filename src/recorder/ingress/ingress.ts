/**
 * The listener on the data path: `node:http` in, undici out.
 * Node's defaults that would show (time-outs, header limit, Date) are changed here; what each would do is in `docs/architecture.md`.
 */

import { once } from 'node:events'
import { createServer, ServerResponse } from 'node:http'
import type { IncomingMessage, Server } from 'node:http'
import { createRequire } from 'node:module'
import { connect, isIPv6 } from 'node:net'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Pool } from 'undici'
import { StenoError } from '../../errors.ts'
import { hostOf } from '../../platform/address.ts'
import type { Address } from '../../platform/address.ts'
import { listen } from '../../platform/listen.ts'
import type { Log } from '../../platform/log.ts'
import { Exchange } from './exchange.ts'
import type { ExchangeDeps, Upgrade } from './exchange.ts'

/** Longer than any load balancer in front keeps an idle connection, so that it, not we, closes first. */
const KEEP_ALIVE_MS = 620_000
const MAX_HEADER_BYTES = 64 * 1024
const CONNECT_MS = 10_000
/** Below Node's own 5 s: an idle connection is dropped before the upstream drops it, since a POST is never sent twice. */
const UPSTREAM_IDLE_MS = 4_000
const LOOP_PROBE_MS = 500
const ACCEPT_MS = 20

export interface Ingress {
  /** @returns the port that it listens on */
  start(): Promise<number>
  /** Stops accepting, closes idle connections, waits for exchanges in flight up to the deadline, then cuts them. */
  drain(deadlineMs: number): Promise<void>
}

export interface IngressOptions {
  readonly listen: Address
  readonly upstream: URL
  /** Address of this machine from which it connects to the upstream; the kernel's choice when absent. */
  readonly connectFrom?: string | undefined
  readonly log: Log
  readonly exchange: Omit<ExchangeDeps, 'upstream'>
}

export function createIngress(options: IngressOptions): Ingress {
  const pool = new (loadPool())(options.upstream.origin, {
    pipelining: 1,
    headersTimeout: 0,
    bodyTimeout: 0,
    keepAliveTimeout: UPSTREAM_IDLE_MS,
    maxHeaderSize: MAX_HEADER_BYTES,
    connect: { timeout: CONNECT_MS },
    ...(options.connectFrom === undefined ? {} : { localAddress: options.connectFrom }),
  })
  const deps: ExchangeDeps = { ...options.exchange, upstream: pool }
  const sockets = new Set<Socket>()
  const live = new Map<ServerResponse, Exchange>()
  let draining = false
  let onIdle: (() => void) | undefined

  const leave = (res: ServerResponse): void => {
    live.delete(res)
    if (live.size === 0) onIdle?.()
  }
  const run = (req: IncomingMessage, res: ServerResponse, upgrade?: Upgrade): void => {
    const exchange = new Exchange(req, res, deps, upgrade)
    live.set(res, exchange)
    exchange.run()
  }
  /** Answers that each connection still owes: several, when requests are pipelined. */
  const answering = new WeakMap<Socket, number>()
  const server: Server = createServer({
    keepAliveTimeout: KEEP_ALIVE_MS,
    requestTimeout: 0,
    headersTimeout: 60_000,
    maxHeaderSize: MAX_HEADER_BYTES,
    keepAlive: true,
    keepAliveInitialDelay: 30_000,
    noDelay: true,
    // Counted, and refused below.
    requireHostHeader: false,
    // Any other upgrade is an offer that a server may ignore (RFC 9110, 7.8), and so it is not forwarded. So is one that comes before all
    // answers on its connection have gone: the connection is still theirs.
    shouldUpgradeCallback: req => req.headers.upgrade?.toLowerCase() === 'websocket' && !answering.has(req.socket),
  })
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  const onRequest = (req: IncomingMessage, res: ServerResponse): void => {
    res.sendDate = false
    if (draining) res.shouldKeepAlive = false
    const { socket } = req
    const owed = (answering.get(socket) ?? 0) + 1
    answering.set(socket, owed)
    // Node reads nothing that stands right behind an offer: whoever pipelined more must not wait for it.
    if (owed > 1 && req.headers.upgrade !== undefined) res.shouldKeepAlive = false
    res.on('close', () => {
      const left = (answering.get(socket) ?? 1) - 1
      if (left > 0) answering.set(socket, left)
      else answering.delete(socket)
      leave(res)
    })
    // RFC 9112, 3.2: exactly one. Which of two the upstream takes for the target must not be left to chance.
    const hosts = hostCount(req.rawHeaders)
    if (hosts > 1 || (hosts === 0 && req.httpVersionMinor > 0)) {
      options.log.info('a request that could not be read was refused', { reason: `${hosts} Host fields` })
      deps.observed.blocked('unreadable-request')
      res.writeHead(400, ['Connection', 'close', 'Content-Length', '0']).end()
      return
    }
    run(req, res)
  }
  server.on('request', onRequest)
  // Any other expectation: Node would answer 417 by itself.
  server.on('checkExpectation', onRequest)
  // Node answers 100 Continue itself before 'request'; nothing to add.
  server.on('upgrade', (req, socket: Socket, head) => {
    // Node has let go of the socket: nobody else listens, and a broken peer must not end the process. The close that follows says it all.
    socket.on('error', () => {})
    const res = new ServerResponse(req)
    res.sendDate = false
    res.shouldKeepAlive = false
    res.assignSocket(socket)
    res.once('finish', () => socket.end())
    run(req, res, { socket, head })
    socket.once('close', () => leave(res))
  })
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Duplex) => {
    if (error.code === 'ECONNRESET' || error.code === 'EPIPE') {
      // A client that left, not one that could not be understood.
      socket.destroy()
      return
    }
    options.log.info('a request that could not be read was refused', { reason: error.code ?? error.name })
    deps.observed.blocked('unreadable-request')
    if (!socket.writable) {
      socket.destroy()
      return
    }
    const [status, text] = error.code === 'HPE_HEADER_OVERFLOW' ? [431, 'Request Header Fields Too Large'] : error.code === 'ERR_HTTP_REQUEST_TIMEOUT' ? [408, 'Request Timeout'] : [400, 'Bad Request']
    socket.end(`HTTP/1.1 ${status} ${text}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`)
  })

  return {
    start: async () => {
      const port = await listen(server, options.listen, '--listen')
      const wrong = problemOf(await tryUpstream(server, options), options)
      if (wrong !== undefined) {
        server.close()
        for (const socket of sockets) socket.destroy()
        await pool.destroy()
        throw wrong
      }
      return port
    },
    drain: async deadlineMs => {
      draining = true
      server.close()
      server.closeIdleConnections()
      for (const [res, exchange] of live) {
        res.shouldKeepAlive = false
        exchange.endIfQuiet()
      }
      if (live.size > 0) {
        await new Promise<void>(resolve => {
          const timer = setTimeout(resolve, deadlineMs)
          onIdle = () => {
            clearTimeout(timer)
            resolve()
          }
        })
      }
      // Each socket's end records the end of what was on it: all of that before the caller writes its last frame.
      const cut = [...sockets].map(socket => once(socket, 'close'))
      for (const socket of sockets) socket.destroy()
      await Promise.all(cut)
      await pool.destroy()
    },
  }
}

/** The pool alone: undici's entry also loads fetch, WebSocket and caches, 30 ms of start-up and 4 MB that nothing here uses. */
function loadPool(): typeof Pool {
  return createRequire(import.meta.url)('undici/lib/dispatcher/pool.js') as typeof Pool
}

function hostCount(raw: readonly string[]): number {
  let count = 0
  for (let i = 0; i < raw.length; i += 2) if (raw[i]?.length === 4 && raw[i]?.toLowerCase() === 'host') count++
  return count
}

/** Where a connection to the upstream ends. An upstream that is down will come up. */
type Way = 'elsewhere' | 'back' | 'no-source'

function problemOf(way: Way, { upstream, connectFrom }: IngressOptions): StenoError | undefined {
  if (way === 'back') return new StenoError('upstream.loop', `the upstream ${upstream.origin} is this recorder itself; give the address of the MCP server with --upstream`)
  if (way === 'no-source') return new StenoError('usage.invalid', `--connect-from ${connectFrom} is no address of this machine; give one that it has, such as 127.0.0.15`)
  return undefined
}

/** Connects to the upstream once and looks whether the connection arrives at our own listener: that sees through any name or alias. */
function tryUpstream(server: Server, { upstream, connectFrom }: IngressOptions): Promise<Way> {
  return new Promise(resolve => {
    const host = hostOf(upstream)
    const probe = connect({ host, port: Number(upstream.port || (upstream.protocol === 'https:' ? 443 : 80)), ...(isIPv6(host) ? { family: 6 } : {}), ...(connectFrom === undefined ? {} : { localAddress: connectFrom }) })
    const arrived: number[] = []
    const onConnection = (socket: Socket): void => {
      arrived.push(socket.remotePort ?? -1)
      check()
    }
    const finish = (way: Way): void => {
      clearTimeout(timer)
      server.off('connection', onConnection)
      probe.destroy()
      resolve(way)
    }
    const check = (): void => {
      if (probe.localPort !== undefined && arrived.includes(probe.localPort)) finish('back')
    }
    const timer = setTimeout(() => finish('elsewhere'), LOOP_PROBE_MS)
    server.on('connection', onConnection)
    probe.on('error', (error: NodeJS.ErrnoException) => finish(error.syscall === 'bind' ? 'no-source' : 'elsewhere'))
    probe.on('connect', () => {
      check()
      // Our own accept is ready by now, if it is ours. After a timer and then an immediate, the loop has looked at its sockets, however busy it was.
      setTimeout(() => setImmediate(() => finish('elsewhere')), ACCEPT_MS)
    })
  })
}

