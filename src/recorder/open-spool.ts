/**
 * The spool as the recorder uses it: this boot's log, and the shipper that empties the directory. The only place where the two meet.
 * Precedence: the directory and its lock, the shipper, the log; at the end the log, the shipper, the lock.
 */

import type { StenoError } from '../errors.ts'
import type { Clock } from '../platform/clock.ts'
import type { Log } from '../platform/log.ts'
import type { RecoveredWriter } from '../record/frame.ts'
import type { SinkConfig } from '../sink/create-sink.ts'
import { startShipper } from './shipper/shipper.ts'
import type { ShippedEvent, Shipper } from './shipper/shipper.ts'
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
  readonly lingerMs: number
  readonly clock: Clock
  readonly log: Log
  readonly fs?: SpoolFs
  readonly onStateChange: (state: SpoolState, error?: StenoError) => void
  /** Recording is about to stop: what is appended now goes into the reserve. */
  readonly onLastWords: (error: StenoError) => void
  readonly onSync: (seconds: number) => void
  readonly onShipped: (event: ShippedEvent) => void
}

export interface OpenedSpool {
  readonly spool: Spool
  /** Earlier writers of which something was left. */
  readonly recovered: readonly RecoveredWriter[]
  /** What of theirs cannot be read back. */
  readonly findings: readonly SpoolFinding[]
}

/** How long a start waits for the shipper to make room in a spool that is full of what earlier writers left. */
const ROOM_WAIT_MS = 10_000

/** @throws StenoError with a code of the spool */
export async function openSpool(options: OpenSpoolOptions): Promise<OpenedSpool> {
  const { directory, clock, log } = options
  const taken = await takeDirectory(directory).catch((error: unknown) => {
    throw directoryError(error, directory)
  })
  let shipper: Shipper | undefined
  try {
    const writer = newWriterId(clock.now())
    const backlog = createBacklog()
    for (const { writer: earlier, ...run } of taken.left) backlog.add(earlier, run)
    let onRoom: (() => void) | undefined

    const spoolLog = createSpoolLog({
      directory,
      writer,
      maxBytes: options.maxBytes,
      fileBytes: options.fileBytes,
      clock,
      fs: options.fs,
      onState: options.onStateChange,
      onLastWords: options.onLastWords,
      onSync: options.onSync,
      onDurable: (file, offset, bytes) => {
        backlog.add(writer, { file, begin: offset - bytes, end: offset, ms: clock.now() })
        shipper?.durable({ file, offset })
      },
    })
    // Before the log: in a full spool it is what makes room for one.
    const shipping = startShipper({
      directory,
      writer,
      sink: options.sink,
      lingerMs: options.lingerMs,
      log,
      random: Math.random,
      onShipped: options.onShipped,
      onAccepted: (of, place) => {
        backlog.accepted(of, place)
        onRoom?.()
      },
      onGone: of => {
        backlog.gone(of)
        onRoom?.()
      },
    })
    shipper = shipping
    await startLog(spoolLog, {
      mayWaitMs: taken.recovered.length === 0 ? 0 : ROOM_WAIT_MS,
      clock,
      onFull: error => log.warn('the spool is full; waiting for what earlier writers left to be shipped', { code: error.code, reason: error.message }),
      asError: cause => directoryError(cause, directory),
      room: timeoutMs =>
        new Promise(resolve => {
          const done = (): void => {
            clearTimeout(timer)
            onRoom = undefined
            resolve()
          }
          const timer = setTimeout(done, timeoutMs)
          onRoom = done
        }),
    })
    const close = async (deadlineMs: number): Promise<{ readonly unshippedBytes: number }> => {
      try {
        await spoolLog.close()
        const complete = await shipping.close(deadlineMs)
        return { unshippedBytes: complete ? 0 : Math.max(1, backlog.bytes) }
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
      commit: done => spoolLog.commit(done),
      get unshippedBytes() {
        return backlog.bytes
      },
      get oldestUnshippedMs() {
        return backlog.oldestMs
      },
      close: deadlineMs => (closing ??= close(deadlineMs)),
    }
    return { spool, recovered: taken.recovered, findings: taken.findings }
  } catch (error) {
    await shipper?.close(0)
    taken.release()
    throw directoryError(error, directory)
  }
}

interface StartLogOptions {
  /** From now on, all attempts together. */
  readonly mayWaitMs: number
  readonly clock: Clock
  readonly onFull: (error: StenoError) => void
  readonly asError: (cause: unknown) => StenoError
  /** Resolves when the shipper has freed something, or after so long. */
  readonly room: (timeoutMs: number) => Promise<void>
}

/** Makes the first file, as soon as there is room for it. */
async function startLog(spoolLog: LogWriter, { mayWaitMs, clock, onFull, asError, room }: StartLogOptions): Promise<void> {
  const giveUpMs = clock.monotonic() + mayWaitMs
  for (;;) {
    const error = await spoolLog.start().then(() => undefined, asError)
    if (error === undefined) return
    const leftMs = giveUpMs - clock.monotonic()
    if (error.code !== 'spool.full' || leftMs <= 0) throw error
    onFull(error)
    await room(leftMs)
  }
}
