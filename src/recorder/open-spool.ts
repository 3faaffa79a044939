/**
 * The spool as the recorder uses it: this boot's log, and the shipper that empties the directory. The only place where the two meet.
 * Precedence: the directory and its lock, the shipper, the log; at the end the log, the shipper, the lock.
 */

import { setTimeout as wait } from 'node:timers/promises'
import type { StenoError } from '../errors.ts'
import type { Clock } from '../platform/clock.ts'
import type { Log } from '../platform/log.ts'
import type { RecoveredWriter } from '../record/frame.ts'
import type { SinkConfig } from '../sink/create-sink.ts'
import { createOffPodGate } from './off-pod.ts'
import { startShipper } from './shipper/shipper.ts'
import type { QuarantinedSegment, ShippedEvent, Shipper, SinkProblem } from './shipper/shipper.ts'
import type { SpoolFinding } from './spool/adopt.ts'
import { createBacklog } from './spool/backlog.ts'
import type { LogWriter } from './spool/log-writer.ts'
import { createSpoolLog, newWriterId } from './spool/open-log.ts'
import { directoryError } from './spool/spool-error.ts'
import type { SpoolFs } from './spool/spool-fs.ts'
import type { Spool, SpoolState } from './spool/spool.ts'
import { takeDirectory } from './spool/take-directory.ts'

export interface OpenSpoolOptions {
  readonly directory: string
  /** What all files of the spool may take together. */
  readonly maxBytes: number
  readonly fileBytes?: number
  readonly sink: SinkConfig
  /** Longest wait of a frame for others to share its segment; with OffPod nothing waits. */
  readonly lingerMs: number
  readonly durability: Durability
  /** Longest wait for the sink with OffPod, then `sink.late`; 30 s when absent. */
  readonly offPodWaitMs?: number | undefined
  readonly clock: Clock
  readonly log: Log
  readonly fs?: SpoolFs | undefined
  /** Ends a start that waits for room. */
  readonly signal?: AbortSignal | undefined
  readonly onSync: (seconds: number) => void
  readonly onShipped: (event: ShippedEvent) => void
  /** Why the sink has not accepted the last attempt; undefined when it has. */
  readonly onSink?: (problem: SinkProblem | undefined) => void
}

/** When something is released: when it is on local disk, or when the sink has accepted it. */
export type Durability = 'local' | 'off-pod'

/** What happens to the log once frames are appended; nothing of it before. */
export interface SpoolListener {
  onStateChange(state: SpoolState, error?: StenoError): void
  /** Recording is about to stop: what is appended now goes into the reserve. */
  onLastWords(error: StenoError): void
  /** Frames of this boot's writer that were durable cannot be read back any more. Each once. */
  onHole(hole: SpoolHole): void
  /** The sink will never take these frames, of this or an earlier writer: they lie in a file of the spool. */
  onQuarantined(segment: QuarantinedSegment): void
}

/** Seqs of frames that are lost, both included. */
export interface SpoolHole {
  readonly fromSeq: number
  readonly toSeq: number
}

export interface OpenedSpool {
  readonly spool: Spool
  /** Earlier writers of which something was left. */
  readonly recovered: readonly RecoveredWriter[]
  /** What of theirs cannot be read back. */
  readonly findings: readonly SpoolFinding[]
  /** To be called before the first append. */
  listen(listener: SpoolListener): void
}

/** How long a start waits for the shipper to make room in a spool that is full of what earlier writers left. */
const ROOM_WAIT_MS = 10_000
/** Clients of the TypeScript SDK give up after 60 s. */
const OFF_POD_WAIT_MS = 30_000

/** Rejects with a StenoError of the spool, or with the signal's reason when that was quicker; then it holds nothing. */
export async function openSpool(options: OpenSpoolOptions): Promise<OpenedSpool> {
  const { directory, clock, log, signal } = options
  const taken = await takeDirectory(directory).catch((error: unknown) => {
    throw directoryError(error, directory)
  })
  let shipper: Shipper | undefined
  try {
    signal?.throwIfAborted()
    const writer = newWriterId(clock.now())
    const backlog = createBacklog()
    for (const { writer: earlier, ...run } of taken.left) backlog.add(earlier, run)
    let listener: SpoolListener | undefined
    let room = Promise.withResolvers<void>()
    const makeRoom = (): void => {
      room.resolve()
      room = Promise.withResolvers()
    }
    /** Of this writer, what is in the archive or known to be lost: up to here nothing is news. */
    let knownUpTo = -1
    const gate = options.durability !== 'off-pod' ? undefined : createOffPodGate({
      limitMs: options.offPodWaitMs ?? OFF_POD_WAIT_MS,
      onLate: ({ code, message }) => log.error('calls wait no longer for the sink, until it accepts something', { code, reason: message }),
      monotonic: clock.monotonic,
    })

    const spoolLog = createSpoolLog({
      directory,
      writer,
      remake: async () => {
        log.error('the spool directory was removed; making it again. What it held and was not in the archive yet is lost', { directory })
        await taken.remake()
      },
      maxBytes: options.maxBytes,
      fileBytes: options.fileBytes,
      clock,
      fs: options.fs,
      onState: (state, error) => {
        if (state === 'open') gate?.open()
        else if (error !== undefined) gate?.fail(error)
        listener?.onStateChange(state, error)
      },
      onLastWords: error => listener?.onLastWords(error),
      onSync: options.onSync,
      onDurable: (file, offset, bytes) => {
        backlog.add(writer, { file, begin: offset - bytes, end: offset, ms: clock.now() })
        gate?.durable({ file, offset })
        shipper?.durable({ file, offset })
      },
    })
    // Before the log: in a full spool it is what makes room for one.
    const shipping = startShipper({
      directory,
      writer,
      sink: options.sink,
      lingerMs: gate === undefined ? options.lingerMs : 0,
      log,
      random: Math.random,
      now: clock.now,
      // Who waits for the sink must not wait for the thread.
      atOnce: taken.recovered.length > 0 || gate !== undefined,
      onShipped: options.onShipped,
      onSink: problem => options.onSink?.(problem),
      onQuarantined: segment => listener?.onQuarantined(segment),
      onTaken: (of, place) => {
        if (of === writer) gate?.taken(place)
      },
      onAccepted: (of, place, seq = -1) => {
        backlog.accepted(of, place)
        if (of === writer) knownUpTo = Math.max(knownUpTo, seq)
        makeRoom()
      },
      onGone: of => {
        backlog.gone(of)
        makeRoom()
      },
      onHole: (of, fromSeq, toSeq) => {
        // What earlier writers lost is among the findings. A worker that was started again sees a hole again, and when it has no position, one that was shipped.
        if (of !== writer || toSeq <= knownUpTo) return
        const hole = { fromSeq: Math.max(fromSeq, knownUpTo + 1), toSeq }
        knownUpTo = toSeq
        listener?.onHole(hole)
      },
    })
    shipper = shipping
    await startLog(spoolLog, {
      directory,
      mayWaitMs: taken.recovered.length === 0 ? 0 : ROOM_WAIT_MS,
      clock,
      signal,
      room: () => room.promise,
      onFull: error => log.warn('the spool is full; waiting for what earlier writers left to be shipped', { code: error.code, reason: error.message }),
    })
    const close: Spool['close'] = async deadlineMs => {
      try {
        const written = await spoolLog.close()
        const complete = await shipping.close(deadlineMs)
        return { written, unshippedBytes: complete ? 0 : Math.max(1, backlog.bytes) }
      } finally {
        taken.release()
      }
    }
    let closing: ReturnType<typeof close> | undefined
    const spool: Spool = {
      writer,
      get state() {
        return spoolLog.state
      },
      append: line => spoolLog.append(line),
      commit: gate === undefined ? done => spoolLog.commit(done) : done => spoolLog.commit(error => (error === undefined ? gate.wait(done) : done(error))),
      whenRoom: then => spoolLog.whenRoom(then),
      get unshippedBytes() {
        return backlog.bytes
      },
      get oldestUnshippedMs() {
        return backlog.oldestMs
      },
      close: deadlineMs => (closing ??= close(deadlineMs)),
    }
    return {
      spool,
      recovered: taken.recovered,
      findings: taken.findings,
      listen: next => {
        listener = next
      },
    }
  } catch (error) {
    await shipper?.close(0)
    taken.release()
    throw signal?.aborted === true && error === signal.reason ? error : directoryError(error, directory)
  }
}

interface StartLogOptions {
  readonly directory: string
  /** From now on, all attempts together. */
  readonly mayWaitMs: number
  readonly clock: Clock
  readonly signal: AbortSignal | undefined
  /** Resolves when the shipper next frees something. */
  readonly room: () => Promise<void>
  readonly onFull: (error: StenoError) => void
}

/** Makes the first file, as soon as there is room for it. */
async function startLog(spoolLog: LogWriter, { directory, mayWaitMs, clock, signal, room, onFull }: StartLogOptions): Promise<void> {
  const giveUpMs = clock.monotonic() + mayWaitMs
  for (;;) {
    // Asked for before the attempt: what is freed while it fails counts.
    const freed = room()
    const error = await spoolLog.start().then(() => undefined, (cause: unknown) => directoryError(cause, directory))
    if (error === undefined) return
    const leftMs = giveUpMs - clock.monotonic()
    if (error.code !== 'spool.full' || leftMs <= 0) throw error
    onFull(error)
    const woken = new AbortController()
    const timer = wait(leftMs, undefined, { signal: signal === undefined ? woken.signal : AbortSignal.any([signal, woken.signal]) }).catch(() => {})
    await Promise.race([freed, timer])
    woken.abort()
    signal?.throwIfAborted()
  }
}
