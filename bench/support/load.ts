/**
 * The load, a process of its own: takes one `LoadOrder` after the other from its parent and answers each with a `LoadResult`.
 * Raw sockets and prepared requests, one call at a time on each connection.
 */

import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { createResponseReader } from './response-reader.ts'

export interface LoadOrder {
  readonly port: number
  readonly tool: 'json' | 'sse' | 'events'
  readonly connections: number
  readonly seconds: number
  /** Calls a second; without it, each connection calls again as soon as it has an answer. */
  readonly rate?: number
}

export interface LoadResult {
  readonly calls: number
  readonly seconds: number
  readonly p50Ms: number
  readonly p99Ms: number
  /** Set when a call failed; the figures then say nothing. */
  readonly error?: string
}

interface Connection {
  readonly socket: Socket
  busy: boolean
  sentMs: number
  call(sinceMs: number): void
}

const END_MS = 20_000

async function run(order: LoadOrder): Promise<LoadResult> {
  const latencies: number[] = []
  let id = 0
  let stopped = false
  let failure: string | undefined
  let whenIdle = (): void => {}
  const waiting: number[] = []

  const open = async (index: number): Promise<Connection> => {
    const socket = connect(order.port, '127.0.0.1')
    await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject))
    socket.setNoDelay(true)
    const reader = createResponseReader()
    const head = `POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:${order.port}\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\nMcp-Session-Id: bench-${index}\r\nMcp-Protocol-Version: 2025-11-25\r\n`
    const connection: Connection = {
      socket,
      busy: false,
      sentMs: 0,
      call: sinceMs => {
        const body = `{"jsonrpc":"2.0","id":${id++},"method":"tools/call","params":{"name":"${order.tool}","arguments":{"city":"Paris","days":3},"_meta":{"progressToken":1}}}`
        connection.busy = true
        connection.sentMs = sinceMs
        socket.write(`${head}Content-Length: ${body.length}\r\n\r\n${body}`, 'latin1')
      },
    }
    const fail = (why: string): void => {
      if (connection.busy) failure ??= why
      connection.busy = false
      whenIdle()
    }
    socket.on('error', error => fail(error.message)).on('close', () => fail('the connection was closed during a call'))
    socket.on('data', chunk => {
      let ended
      try {
        ended = reader.read(chunk)
      } catch (error) {
        fail(String(error))
        socket.destroy()
        return
      }
      if (!ended) return
      const now = performance.now()
      latencies.push(now - connection.sentMs)
      connection.busy = false
      const due = waiting.shift()
      if (due !== undefined) connection.call(due)
      else if (order.rate === undefined && !stopped) connection.call(now)
      else whenIdle()
    })
    return connection
  }

  const connections = await Promise.all(Array.from({ length: order.connections }, (_, index) => open(index)))
  const start = performance.now()
  if (order.rate === undefined) for (const connection of connections) connection.call(performance.now())
  else await steady(order.rate, order.seconds, connections, waiting)
  if (order.rate === undefined) await new Promise(done => setTimeout(done, order.seconds * 1000))
  stopped = true
  const counted = latencies.length
  const seconds = (performance.now() - start) / 1000
  // What is under way ends; it counts only where the rate was given, for there it began in time.
  await new Promise<void>(done => {
    const timer = setTimeout(() => {
      failure ??= 'calls were not answered in time'
      done()
    }, END_MS)
    whenIdle = () => {
      if (connections.some(({ busy }) => busy)) return
      clearTimeout(timer)
      done()
    }
    whenIdle()
  })
  const calls = latencies.length
  for (const { socket } of connections) socket.destroy()
  // A stream takes long against the run: count whole calls over the whole time.
  const total = order.tool === 'events' || order.rate !== undefined ? { calls, seconds: (performance.now() - start) / 1000 } : { calls: counted, seconds }
  latencies.sort((a, b) => a - b)
  const at = (share: number): number => latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))] ?? Number.NaN
  return { ...total, p50Ms: at(0.5), p99Ms: at(0.99), ...(failure === undefined ? {} : { error: failure }) }
}

/** Sends calls when they are due; one that finds no free connection waits, and its wait counts. */
async function steady(rate: number, seconds: number, connections: readonly Connection[], waiting: number[]): Promise<void> {
  const start = performance.now()
  let sent = 0
  let next = 0
  while (sent < rate * seconds) {
    const now = performance.now()
    const due = Math.min(rate * seconds, Math.floor(((now - start) / 1000) * rate))
    for (; sent < due; sent++) {
      let free: Connection | undefined
      for (let i = 0; i < connections.length && free === undefined; i++) {
        const candidate = connections[next++ % connections.length]
        if (candidate !== undefined && !candidate.busy) free = candidate
      }
      if (free === undefined) waiting.push(now)
      else free.call(performance.now())
    }
    await new Promise(tick => setTimeout(tick, 1))
  }
}

process.on('message', (order: LoadOrder) => {
  run(order).then(
    result => process.send?.(result),
    (error: unknown) => process.send?.({ calls: 0, seconds: 0, p50Ms: 0, p99Ms: 0, error: String(error) } satisfies LoadResult),
  )
})
process.on('disconnect', () => process.exit(0))
