/**
 * The recorder as one thing: spool, journal, sessions, ingress, admin port.
 * States: starting → serving → draining → stopped. Precedence at the end: stop accepting, finish exchanges, end sessions, last frame, ship, stop.
 */

import { hostname } from 'node:os'
import type { StenoError } from '../errors.ts'
import { createAdminServer } from '../platform/admin-server.ts'
import type { Clock } from '../platform/clock.ts'
import type { Log } from '../platform/log.ts'
import { createRecorderMetrics } from '../platform/metrics.ts'
import { FORMAT_VERSION } from '../record/frame.ts'
import type { SinkConfig } from '../sink/create-sink.ts'
import { createIngress } from './ingress/ingress.ts'
import { createJournal } from './journal.ts'
import type { Journal } from './journal.ts'
import { createKeyedHash } from './keyed-hash.ts'
import { createSessionTable } from './sessions.ts'
import { openSpool } from './open-spool.ts'
import type { SpoolFs } from './spool/spool-fs.ts'
import type { SpoolState } from './spool/spool.ts'

const SWEEP_MS = 60_000
const MAX_LIVE_SESSIONS = 50_000
/** How long exchanges in flight may take to end, and then how long shipping may take, before the process leaves them. */
const FINISH_MS = 10_000
const SHIP_MS = 15_000

export interface Address {
  readonly host: string
  readonly port: number
}

export interface RecorderOptions {
  readonly version: string
  readonly upstream: URL
  readonly listen: Address
  readonly admin: Address
  readonly serverName: string
  readonly spoolDirectory: string
  readonly spoolMaxBytes: number
  readonly sink: SinkConfig
  readonly lingerMs: number
  readonly onFailure: 'block' | 'allow'
  readonly key: Uint8Array
  readonly clock: Clock
  readonly log: Log
  /** Where the spool is written; the real file system when absent. */
  readonly spoolFs?: SpoolFs
}

export interface Recorder {
  readonly url: string
  readonly adminUrl: string
  /** Drains and stops. @returns bytes that stay in the spool for the next start */
  stop(reason: string): Promise<number>
}

/** Starts a recorder; rejects with a StenoError when it cannot record or listen. */
export async function startRecorder(options: RecorderOptions): Promise<Recorder> {
  const { log, clock } = options
  const metrics = createRecorderMetrics()
  let state: 'starting' | 'serving' | 'draining' | 'stopped' = 'starting'
  let spoolState: SpoolState = 'open'
  let spoolError: StenoError | undefined
  let journal: Journal | undefined

  const { spool, recovered, findings } = await openSpool({
    directory: options.spoolDirectory,
    maxBytes: options.spoolMaxBytes,
    sink: options.sink,
    lingerMs: options.lingerMs,
    clock,
    log,
    ...(options.spoolFs === undefined ? {} : { fs: options.spoolFs }),
    onStateChange: (next, error) => {
      spoolState = next
      spoolError = error
      if (next === 'open') journal?.declareMissed()
      if (next === 'failed') log.error('recording has stopped', { reason: error?.code ?? 'unknown', detail: error?.message ?? '', onFailure: options.onFailure })
      else log.info(`the spool is ${next}`)
    },
    onLastWords: error => void journal?.append({ kind: 'gap', reason: error.code === 'spool.full' ? 'spool-full' : 'spool-failed', detail: 'recording stops here until the spool can be written again' }),
    onSync: seconds => metrics.fsync(seconds),
    onShipped: event => {
      metrics.shipRecords(event.result, event.records)
      if (event.result !== 'accepted') return
      metrics.shipBytes(event.bytes)
      metrics.shipAck(event.ackSeconds)
    },
  })
  const active = createJournal({
    spool,
    clock,
    onFrame: kind => metrics.frames(kind),
    onGap: reason => metrics.gap(reason),
    missedReason: options.onFailure === 'block' ? 'blocked' : 'unrecorded',
  })
  journal = active
  metrics.observe({
    spoolBytes: () => spool.unshippedBytes,
    unshippedSeconds: () => (spool.oldestUnshippedMs === undefined ? 0 : Math.max(0, clock.now() - spool.oldestUnshippedMs) / 1000),
  })
  active.append({ kind: 'writer.start', format: FORMAT_VERSION, steno: options.version, host: hostname(), pid: process.pid, recovered })
  for (const writer of recovered) {
    if (writer.state === 'cut') active.append({ kind: 'gap', reason: 'cut', of: writer.writer, detail: 'the recorder ended without a last frame; exchanges it had in flight have no end' })
  }
  for (const { writer, ...finding } of findings) active.append({ kind: 'gap', of: writer, ...finding })

  const sessions = createSessionTable({
    journal: active,
    clock,
    server: { name: options.serverName, url: `${options.upstream.origin}${options.upstream.pathname}`, port: Number(options.upstream.port || (options.upstream.protocol === 'https:' ? 443 : 80)) },
    maxLive: MAX_LIVE_SESSIONS,
  })
  let exchanges = 0
  const ingress = createIngress({
    host: options.listen.host,
    port: options.listen.port,
    upstream: options.upstream,
    log,
    exchange: {
      journal: active,
      sessions,
      keyedHash: createKeyedHash(options.key),
      server: options.serverName,
      onFailure: options.onFailure,
      nextExchange: () => exchanges++,
      observed: {
        ended: outcome => metrics.exchange(outcome),
        blocked: reason => metrics.blocked(reason),
        added: (phase, seconds) => metrics.addedLatency(phase, seconds),
        operation: about => metrics.operation(about),
      },
    },
  })
  const admin = createAdminServer({
    host: options.admin.host,
    port: options.admin.port,
    metrics,
    ready: () => {
      if (state !== 'serving') return { ready: false, reason: state }
      if (spoolState === 'open') return { ready: true }
      const reason = spoolError?.message ?? `the spool is ${spoolState}`
      return options.onFailure === 'allow' ? { ready: true, reason: `degraded: not recording: ${reason}` } : { ready: false, reason }
    },
  })

  const closeSpool = (): Promise<{ readonly unshippedBytes: number }> => spool.close(SHIP_MS)
  let ports: { ingress: number; admin: number }
  try {
    const { port } = await admin.start()
    ports = { ingress: 0, admin: port }
    ports.ingress = await ingress.start()
  } catch (error) {
    await admin.stop()
    active.append({ kind: 'writer.stop', reason: 'could not listen' })
    await closeSpool()
    throw error
  }
  const sweeper = setInterval(() => sessions.sweep(), SWEEP_MS)
  sweeper.unref()
  state = 'serving'

  return {
    url: urlOf(options.listen.host, ports.ingress, options.upstream.pathname),
    adminUrl: urlOf(options.admin.host, ports.admin, ''),
    stop: async reason => {
      if (state !== 'serving') return 0
      state = 'draining'
      clearInterval(sweeper)
      await ingress.drain(FINISH_MS)
      sessions.endAll()
      active.append({ kind: 'writer.stop', reason })
      const { unshippedBytes } = await closeSpool()
      await admin.stop()
      state = 'stopped'
      return unshippedBytes
    },
  }
}

function urlOf(host: string, port: number, path: string): string {
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}${path}`
}
