/**
 * The recorder as one thing: spool, journal, sessions, ingress, admin port.
 * States: starting → serving → draining → stopped. Precedence at the end: stop accepting, finish exchanges, end sessions, last frame, ship, stop.
 */

import { hostname } from 'node:os'
import { hostPort } from '../platform/address.ts'
import type { Address } from '../platform/address.ts'
import { createAdminServer } from '../platform/admin-server.ts'
import type { Clock } from '../platform/clock.ts'
import { shortDigest } from '../platform/digest.ts'
import { errorCode } from '../platform/error-code.ts'
import type { Log } from '../platform/log.ts'
import { createRecorderMetrics } from '../platform/metrics.ts'
import type { RecorderMetrics } from '../platform/metrics.ts'
import { inForce } from '../policy/in-force.ts'
import type { SinkConfig } from '../sink/create-sink.ts'
import { createIngress } from './ingress/ingress.ts'
import type { Ingress, IngressOptions } from './ingress/ingress.ts'
import { followPolicies } from './follow-policies.ts'
import type { PolicyFollower } from './follow-policies.ts'
import { createJournal } from './journal.ts'
import type { Journal, OnFailure } from './journal.ts'
import { createKeyedHash } from './keyed-hash.ts'
import type { MountedPolicies } from './mounted-policies.ts'
import { openSpool } from './open-spool.ts'
import type { Durability } from './open-spool.ts'
import { openingFrames } from './opening-frames.ts'
import type { WriterPlace } from './opening-frames.ts'
import { readiness } from './readiness.ts'
import type { RecorderState } from './readiness.ts'
import { createSessionTable } from './sessions.ts'
import type { SessionDeps, SessionTable } from './sessions.ts'
import type { ShippedEvent, SinkProblem } from './shipper/shipper.ts'
import type { SpoolFs } from './spool/spool-fs.ts'
import { createSpoolHealth } from './spool-health.ts'

const SWEEP_MS = 60_000
const MAX_LIVE_SESSIONS = 50_000
/** How long exchanges in flight may take to end, then a log that has failed to be written again, then shipping, before the process leaves them. */
const FINISH_MS = 10_000
const RECOVER_MS = 5_000
const SHIP_MS = 10_000

/** One server, and where its clients connect. */
export interface Door {
  readonly upstream: URL
  readonly listen: Address
  /** Distinct among the doors of a recorder: sessions are told apart by it. */
  readonly serverName: string
}

export interface RecorderOptions extends Door {
  readonly version: string
  /** Further servers, recorded by the same writer. */
  readonly further?: readonly Door[]
  /** Address of this machine from which it connects to servers; the kernel's choice when absent. */
  readonly connectFrom?: string | undefined
  readonly place?: WriterPlace
  /** Kind and name of what made the pod, such as `Deployment/weather`. */
  readonly workload?: string | undefined
  readonly admin: Address
  readonly spoolDirectory: string
  readonly spoolMaxBytes: number
  readonly sink: SinkConfig
  readonly lingerMs: number
  readonly durability: Durability
  /** Longest wait for the sink with OffPod, then what `onFailure` says; 30 s when absent. */
  readonly offPodWaitMs?: number | undefined
  /** Without policies; they say it otherwise. */
  readonly onFailure: OnFailure
  /** Of the pod that it records. */
  readonly policies?: MountedPolicies | undefined
  readonly key: Uint8Array
  readonly clock: Clock
  readonly log: Log
  /** Where the spool is written; the real file system when absent. */
  readonly spoolFs?: SpoolFs | undefined
  /** Ends a start that is not complete. A recorder that has started is ended by `stop`. */
  readonly signal?: AbortSignal | undefined
}

export interface Recorder {
  readonly url: string
  readonly adminUrl: string
  /** Drains and stops. */
  stop(reason: string): Promise<Stopped>
}

export interface Stopped {
  /** Stay in the spool for the next start. */
  readonly unshippedBytes: number
  /** Why the sink has not accepted the last attempt; undefined when it has. */
  readonly sinkProblem: SinkProblem | undefined
  /** Whether the ends of sessions, what was missed and the end of the recording itself are recorded: not, when the spool could not be written to the last. */
  readonly ended: boolean
}

/** Starts a recorder. Rejects with a StenoError when it cannot record or listen, with the signal's reason when that was quicker. */
export async function startRecorder(options: RecorderOptions): Promise<Recorder> {
  const { log, clock, policies } = options
  let followed: PolicyFollower | undefined
  const onFailure = (): OnFailure => {
    if (policies === undefined) return options.onFailure
    // Nothing is recorded before the policies are followed.
    return followed?.now.spec.onFailure === 'Allow' ? 'allow' : 'block'
  }
  const metrics = createRecorderMetrics()
  let sinkProblem: SinkProblem | undefined
  const opened = await openSpool({
    directory: options.spoolDirectory,
    maxBytes: options.spoolMaxBytes,
    sink: options.sink,
    lingerMs: options.lingerMs,
    durability: options.durability,
    offPodWaitMs: options.offPodWaitMs,
    clock,
    log,
    fs: options.spoolFs,
    signal: options.signal,
    onSync: seconds => metrics.fsync(seconds),
    onShipped: event => countShipped(metrics, event),
    onSink: problem => {
      sinkProblem = problem
    },
  })
  const { spool } = opened
  const journal = createJournal({
    spool,
    clock,
    onFrame: kind => metrics.frames(kind),
    onGap: reason => metrics.gap(reason),
    onFailure,
  })
  const health = createSpoolHealth({ journal, log, onFailure })
  opened.listen(health.listener)
  metrics.observe({
    spoolBytes: () => spool.unshippedBytes,
    recording: () => health.state === 'open',
    unshippedSeconds: () => (spool.oldestUnshippedMs === undefined ? 0 : Math.max(0, clock.now() - spool.oldestUnshippedMs) / 1000),
  })
  for (const content of openingFrames({ ...opened, version: options.version, host: hostname(), pid: process.pid, place: placeOf(options) })) journal.append(content)

  let exchanges = 0
  const nextExchange = (): number => exchanges++
  if (policies !== undefined) {
    const follower = followPolicies({ policies, digest: shortDigest, journal, nextExchange, log })
    followed = follower
    metrics.observePolicies({ files: () => policies.states, inForce: () => follower.now })
  }
  const doors = [options, ...(options.further ?? [])].map(({ upstream, listen, serverName }) => {
    const door = { upstream, listen, serverName }
    const sessions = createSessionTable({ journal, clock, server: sessionServer(door, options), maxLive: MAX_LIVE_SESSIONS })
    return { sessions, ingress: createIngress(ingressOptions({ ...options, ...door }, { journal, sessions, metrics, nextExchange, onFailure })) }
  })
  let state: RecorderState = 'starting'
  const admin = createAdminServer({ listen: options.admin, metrics, ready: () => readiness(state, { spool: health, sink: sinkProblem, policy: policies?.problem, onFailure: onFailure() }) })
  const end = async (reason: string): Promise<Stopped> => {
    // While it is shipped, a full spool gets room: then the last words are written after all.
    await health.recording(RECOVER_MS)
    policies?.stop()
    followed?.tell()
    for (const { sessions } of doors) sessions.endAll()
    journal.declareMissed()
    const last = journal.append({ kind: 'writer.stop', reason })
    const { unshippedBytes, written } = await spool.close(SHIP_MS)
    await admin.stop()
    return { unshippedBytes, sinkProblem, ended: last !== undefined && written }
  }

  const { signal } = options
  let ports: { readonly admin: number; readonly ingress: number }
  try {
    const { port } = await admin.start()
    signal?.throwIfAborted()
    const [first = 0] = await inTurn(doors.map(({ ingress }) => ingress))
    ports = { admin: port, ingress: first }
  } catch (error) {
    await end(signal?.aborted === true ? 'signal' : (errorCode(error) ?? 'unknown error'))
    throw error
  }
  const sweeper = setInterval(() => doors.forEach(({ sessions }) => sessions.sweep()), SWEEP_MS)
  sweeper.unref()
  state = 'serving'
  const drain = async (reason: string): Promise<Stopped> => {
    state = 'draining'
    clearInterval(sweeper)
    await Promise.all(doors.map(async ({ ingress }) => await ingress.drain(FINISH_MS)))
    return await end(reason)
  }
  let stopped: Promise<Stopped> | undefined

  return {
    url: urlOf(options.listen.host, ports.ingress, options.upstream.pathname),
    adminUrl: urlOf(options.admin.host, ports.admin, ''),
    stop: async reason => {
      stopped ??= drain(reason)
      return await stopped
    },
  }
}

function countShipped(metrics: RecorderMetrics, event: ShippedEvent): void {
  metrics.shipRecords(event.result, event.records)
  if (event.result !== 'accepted') return
  metrics.shipBytes(event.bytes)
  metrics.shipAck(event.ackSeconds)
}

/** Names the policies that the pod was made with. */
function placeOf({ place, policies }: RecorderOptions): WriterPlace {
  if (policies === undefined) return { ...place }
  const { name, hash } = inForce(policies.made, shortDigest)
  return { ...place, policy: { name, hash } }
}

/** Starts one after the other. When one cannot, those that could are closed. @returns the ports */
async function inTurn(all: readonly Ingress[]): Promise<number[]> {
  const ports: number[] = []
  try {
    for (const ingress of all) ports.push(await ingress.start())
    return ports
  } catch (error) {
    await Promise.all(all.slice(0, ports.length).map(async ingress => await ingress.drain(0)))
    throw error
  }
}

/** What sessions say about the server they are with. */
function sessionServer({ serverName, upstream }: Door, { workload, place }: Pick<RecorderOptions, 'workload' | 'place'>): SessionDeps['server'] {
  const usualPort = upstream.protocol === 'https:' ? 443 : 80
  return { name: serverName, url: `${upstream.origin}${upstream.pathname}`, ...(workload === undefined ? {} : { workload }), ...(place?.pod === undefined ? {} : { pod: place.pod }), port: Number(upstream.port || usualPort) }
}

interface IngressParts {
  readonly journal: Journal
  readonly sessions: SessionTable
  readonly metrics: RecorderMetrics
  readonly nextExchange: () => number
  readonly onFailure: () => OnFailure
}

function ingressOptions({ listen, upstream, connectFrom, log, key, serverName }: RecorderOptions, { journal, sessions, metrics, nextExchange, onFailure }: IngressParts): IngressOptions {
  return {
    listen,
    upstream,
    connectFrom,
    log,
    exchange: {
      journal,
      sessions,
      keyedHash: createKeyedHash(key),
      server: serverName,
      onFailure,
      nextExchange,
      observed: {
        ended: outcome => metrics.exchange(outcome),
        blocked: reason => metrics.blocked(reason),
        added: (phase, seconds) => metrics.addedLatency(phase, seconds),
        operation: about => metrics.operation(about),
      },
    },
  }
}

/** By which it can be reached from here. */
function urlOf(host: string | undefined, port: number, path: string): string {
  return `http://${hostPort(host ?? '127.0.0.1', port)}${path}`
}
