/** The shipper as the main thread sees it: wakes the worker, hears what was accepted, starts it again when it dies. */

import { extname } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { errorCode } from '../../platform/error-code.ts'
import type { Log } from '../../platform/log.ts'
import { DURABLE, packPlace, SHARED_BYTES, WAKE_AT } from './protocol.ts'
import type { FromWorker, ShipperData, ToWorker } from './protocol.ts'
import type { LogPlace } from './writer-stream.ts'

export interface Shipper {
  /** The live log is durable up to here. */
  durable(place: LogPlace): void
  /** Ships all that is durable. @returns whether everything was accepted */
  close(deadlineMs: number): Promise<boolean>
}

export interface ShippedEvent {
  readonly records: number
  readonly bytes: number
  readonly ackSeconds: number
  /** Other than accepted: what stands after `sink.` in the error's code, or `quarantined`. */
  readonly result: string
}

export interface ShipperOptions extends Omit<ShipperData, 'shared' | 'sinceMs'> {
  readonly log: Log
  readonly random: () => number
  /** ms since epoch. */
  readonly now: () => number
  /** There is something to ship already. Else the thread is started when there is. */
  readonly atOnce: boolean
  readonly onShipped: (event: ShippedEvent) => void
  /** The sink has all of a writer before this place. */
  readonly onTaken: (writer: string, place: LogPlace) => void
  /** The same, and it takes no room any more; `seq`: the last frame that was accepted, when one was. */
  readonly onAccepted: (writer: string, place: LogPlace, seq: number | undefined) => void
  /** An earlier writer is wholly accepted, its files are gone. */
  readonly onGone: (writer: string) => void
  /** Frames of a writer cannot be read back; seqs, both included. Heard again when the worker was started again. */
  readonly onHole: (writer: string, fromSeq: number, toSeq: number) => void
  /** The sink will never take these frames: they lie in a file of the spool. */
  readonly onQuarantined: (segment: QuarantinedSegment) => void
  /** Why the sink has not accepted the last attempt; undefined when it has. */
  readonly onSink: (problem: SinkProblem | undefined) => void
}

/** Seqs, both included. */
export interface QuarantinedSegment {
  readonly writer: string
  readonly fromSeq: number
  readonly toSeq: number
  readonly bytes: number
  readonly path: string
}

export interface SinkProblem {
  readonly code: string
  readonly message: string
}

/** The first lines may wait so long for a thread: it must not take the processor from a recorder that starts. */
const START_MS = 500
const RESTART_MS = 500
const MAX_RESTART_MS = 30_000
/** Beyond the deadline, for an attempt that hangs, and again for a thread that cannot be ended while the system holds it. */
const GRACE_MS = 1_000

/** What does not pass by itself. */
const NEEDS_A_PERSON: ReadonlySet<string> = new Set(['sink.full', 'sink.denied', 'sink.missing', 'sink.key', 'sink.source', 'sink.refused'])

function resultOf(code: string): string {
  return code.startsWith('sink.') ? code.slice('sink.'.length) : 'failed'
}

export function startShipper(options: ShipperOptions): Shipper {
  const { log, random, now, atOnce, onShipped, onTaken, onAccepted, onGone, onHole, onQuarantined, onSink, ...config } = options
  const buffer = new SharedArrayBuffer(SHARED_BYTES)
  const shared = new BigInt64Array(buffer)
  let worker: Worker | undefined
  let closed: ((complete: boolean) => void) | undefined
  let restartMs = RESTART_MS
  /** Attempts in a row that the sink did not accept. */
  let failures = 0
  /** Their code. */
  let failing = ''
  /** A worker is about to be started. */
  let starting: NodeJS.Timeout | undefined
  /** ms since epoch, since frames may wait for one. */
  let sinceMs: number | undefined

  const onMessage = (message: FromWorker): void => {
    switch (message.type) {
      case 'shipped':
        restartMs = RESTART_MS
        failures = 0
        failing = ''
        onSink(undefined)
        onShipped({ records: 1, bytes: message.bytes, ackSeconds: message.ackSeconds, result: 'accepted' })
        return
      case 'failed': {
        const { code, message: reason, records, retryMs } = message
        onShipped({ records, bytes: 0, ackSeconds: 0, result: resultOf(code) })
        onSink({ code, message: reason })
        // The 1st, 2nd, 4th, 8th, … in a row of one kind: an outage must not fill the log.
        failures = code === failing ? failures + 1 : 1
        failing = code
        if (!Number.isInteger(Math.log2(failures))) return
        const fields = { code, reason, failures, retryMs: Math.round(retryMs) }
        if (NEEDS_A_PERSON.has(code)) log.error('the sink accepts nothing until somebody mends it; trying again', fields)
        else log.warn('the sink did not accept a segment; trying again', fields)
        return
      }
      case 'taken':
        onTaken(message.writer, message.place)
        return
      case 'accepted':
        onAccepted(message.writer, message.place, message.seq)
        return
      case 'gone':
        onGone(message.writer)
        return
      case 'hole': {
        const { writer, fromSeq, toSeq } = message
        log.warn('frames in the spool could not be read back', { writer, fromSeq, toSeq })
        onHole(writer, fromSeq, toSeq)
        return
      }
      case 'quarantined': {
        const { writer, fromSeq, toSeq, bytes, path, reason } = message
        onShipped({ records: 1, bytes: 0, ackSeconds: 0, result: 'quarantined' })
        log.error('the sink will never take a segment; it is put aside', { writer, fromSeq, toSeq, bytes, path, reason })
        onQuarantined({ writer, fromSeq, toSeq, bytes, path })
        return
      }
      case 'warning':
        log.warn(message.message, message.fields)
        return
      case 'info':
        log.info(message.message, message.fields)
        return
      case 'closed':
        closed?.(message.complete)
    }
  }
  const run = (): void => {
    clearTimeout(starting)
    starting = undefined
    Atomics.store(shared, WAKE_AT, 0n)
    const data: ShipperData = { ...config, shared: buffer, sinceMs: sinceMs ?? now() }
    sinceMs = undefined
    const started = new Worker(new URL(`./worker${extname(import.meta.url)}`, import.meta.url), { workerData: data, name: 'shipper' })
    worker = started
    let why = { code: 'unknown', reason: 'it was ended' }
    started.on('message', onMessage)
    started.on('error', error => {
      why = { code: errorCode(error) ?? 'unknown', reason: error instanceof Error ? error.message : String(error) }
    })
    started.on('exit', () => {
      worker = undefined
      if (closed !== undefined) {
        closed(false)
        return
      }
      // The log on disk is whole: a new worker goes on from the last position.
      log.error('the shipper ended unexpectedly; starting it again', why)
      runIn(restartMs * random())
      restartMs = Math.min(MAX_RESTART_MS, restartMs * 2)
    })
  }
  const runIn = (ms: number): void => {
    starting ??= setTimeout(run, ms)
  }
  if (atOnce) run()
  const tell = (message: ToWorker): void => worker?.postMessage(message)

  return {
    durable: place => {
      const durable = packPlace(place)
      Atomics.store(shared, DURABLE, durable)
      if (worker === undefined) {
        sinceMs ??= now()
        runIn(START_MS)
        return
      }
      const wakeAt = Atomics.load(shared, WAKE_AT)
      if (wakeAt !== 0n && durable >= wakeAt && Atomics.compareExchange(shared, WAKE_AT, wakeAt, 0n) === wakeAt) tell({ type: 'wake' })
    },
    close: async deadlineMs => {
      if (worker === undefined) run()
      const complete = await new Promise<boolean>(resolve => {
        const timer = setTimeout(() => resolve(false), deadlineMs + GRACE_MS)
        closed = done => {
          clearTimeout(timer)
          resolve(done)
        }
        tell({ type: 'close', deadlineMs })
      })
      // A file system that hangs holds the thread: then only the end of the process ends it.
      const giveUp = new AbortController()
      await Promise.race([worker?.terminate(), wait(GRACE_MS, undefined, { signal: giveUp.signal }).catch(() => {})])
      giveUp.abort()
      return complete
    },
  }
}
