/**
 * Appends lines to log files: group commit with one synced write in flight, the next batch gathers meanwhile.
 * A file whose write failed is finished: the batch is written again to a new file, and readers drop what they have had.
 * A second failure ends recording until the retry in the background succeeds; the lines taken so far are kept and written first.
 */

import { StenoError } from '../../errors.ts'
import { createBatch } from './batch.ts'
import { createLogFiles } from './log-files.ts'
import type { LogFilesOptions } from './log-files.ts'
import { MAX_FRAME_BYTES } from './log-format.ts'
import { createReserve } from './reserve.ts'
import { logError } from './spool-error.ts'
import type { SpoolState } from './spool.ts'

export interface LogWriterOptions extends LogFilesOptions {
  readonly firstFileBytes: number
  readonly reservePath: string
  readonly reserveBytes: number
  readonly random: () => number
  readonly onState: (state: SpoolState, error?: StenoError) => void
  /** Recording is about to stop: what is appended now goes into the reserve. */
  readonly onLastWords: (error: StenoError) => void
}

export interface LogWriter {
  readonly state: SpoolState
  append(line: string): boolean
  commit(done: Done): void
  whenRoom(then: () => void): void
  /** Opens the first file. */
  start(): Promise<void>
  /** Writes what is left and closes. @returns whether all that was taken is written */
  close(): Promise<boolean>
}

type Done = (error?: StenoError) => void

/** `last-words`: failed, and still taking what `onLastWords` says. */
type Phase = 'open' | 'last-words' | 'failed' | 'closed'
/** `scheduled`: a write begins in the next turn of the loop. */
type Activity = 'idle' | 'scheduled' | 'writing'

/** Whoever comes while more than this is gathered is asked to wait. Far below what a batch takes, so that what is then written still fits. */
const ROOM_BYTES = 8 * 1024 * 1024
const RETRY_MS = 100
const MAX_RETRY_MS = 2_000

export function createLogWriter(options: LogWriterOptions): LogWriter {
  const files = createLogFiles(options)
  const reserve = createReserve({ ...options, path: options.reservePath, bytes: options.reserveBytes, files })
  const batch = createBatch(options.writer)
  let phase: Phase = 'open'
  let failure: StenoError | undefined
  let activity: Activity = 'idle'
  let closing = false
  let waiters: Done[] = []
  /** Who waits for room, first come first served. */
  const queue: (() => void)[] = []
  let onIdle: (() => void)[] = []
  let retry: NodeJS.Timeout | undefined

  /** @returns why the batch could not be made durable, in this file nor in a new one */
  const writeTwice = async (buffer: Buffer, length: number): Promise<StenoError | undefined> => {
    for (let attempt = 1; ; attempt++) {
      try {
        await files.write(buffer, length)
        return undefined
      } catch (cause) {
        await files.abandon()
        const error = logError(cause)
        // No room for a new file: asking at once again gives the same answer.
        if (attempt === 2 || error.code === 'spool.full') return error
      }
    }
  }
  const schedule = (): void => {
    if (activity !== 'idle' || phase !== 'open' || (batch.bytes === 0 && waiters.length === 0)) return
    activity = 'scheduled'
    setImmediate(() => void flush())
  }
  const flush = async (): Promise<void> => {
    activity = 'writing'
    while ((batch.bytes > 0 || waiters.length > 0) && phase === 'open') {
      const length = batch.bytes
      const buffer = batch.take()
      const told = waiters
      waiters = []
      const error = length > 0 ? await writeTwice(buffer, length) : undefined
      if (error !== undefined) {
        batch.putBack(buffer.subarray(0, length))
        await stopRecording(error, told)
        continue
      }
      batch.giveBack(buffer)
      for (const done of told) done()
      admit()
    }
    rest()
  }
  const hasRoom = (): boolean => phase !== 'open' || batch.bytes < ROOM_BYTES
  const admit = (): void => {
    while (hasRoom()) {
      const next = queue.shift()
      if (next === undefined) return
      next()
    }
  }
  /** Nothing is being written. */
  const rest = (): void => {
    activity = 'idle'
    for (const resolve of onIdle.splice(0)) resolve()
    schedule()
  }
  const stopRecording = async (error: StenoError, told: readonly Done[]): Promise<void> => {
    // From here on nothing more is taken: what is written below is all there is, and whoever waits for it can be told.
    phase = 'last-words'
    failure = error
    const waiting = [...told, ...waiters]
    waiters = []
    options.onLastWords(error)
    phase = 'failed'
    // When the reserve cannot be written either, the lines are kept in memory.
    const saved = await reserve.save(batch.peek(), batch.bytes)
    if (saved) batch.clear()
    options.onState('failed', error)
    for (const done of waiting) done(saved ? undefined : error)
    admit()
    if (!closing) scheduleRetry(RETRY_MS)
  }
  const scheduleRetry = (delayMs: number): void => {
    retry = setTimeout(() => void recover(delayMs), delayMs * (0.5 + options.random() / 2))
    retry.unref()
  }
  const recover = async (delayMs: number): Promise<void> => {
    activity = 'writing'
    try {
      await files.change(batch.bytes)
      if (batch.bytes > 0) await files.write(batch.peek(), batch.bytes)
      batch.clear()
      await reserve.prepare()
      phase = 'open'
      failure = undefined
    } catch (cause) {
      await files.abandon()
      failure = logError(cause)
      if (!closing) scheduleRetry(Math.min(MAX_RETRY_MS, delayMs * 2))
    }
    if (phase === 'open') options.onState('open')
    rest()
  }
  const settled = async (): Promise<void> => {
    while (activity !== 'idle') await new Promise<void>(resolve => onIdle.push(resolve))
  }

  return {
    get state() {
      return phase === 'last-words' ? 'failed' : phase
    },
    append: line => {
      if (phase !== 'open' && phase !== 'last-words') return false
      if (line.length * 3 > MAX_FRAME_BYTES && Buffer.byteLength(line) > MAX_FRAME_BYTES) return false
      if (line === '') throw new TypeError('an empty record would end the log')
      if (phase === 'last-words') batch.addAnyway(line)
      else if (!batch.add(line)) return false
      schedule()
      return true
    },
    commit: done => {
      if (phase === 'failed' || phase === 'last-words') {
        done(failure)
        return
      }
      if (phase === 'closed') {
        done(new StenoError('spool.closed', 'the recorder is stopping'))
        return
      }
      if (batch.bytes === 0 && activity !== 'writing') {
        done()
        return
      }
      waiters.push(done)
      schedule()
    },
    whenRoom: then => {
      if (queue.length === 0 && hasRoom()) then()
      else queue.push(then)
    },
    start: async () => {
      await files.open(options.firstFileBytes)
      void reserve.prepare()
    },
    close: async () => {
      closing = true
      clearTimeout(retry)
      await settled()
      // A last chance for what is kept in memory, and for the gap about what was missed.
      if (phase === 'failed') await recover(0)
      await settled()
      phase = 'closed'
      admit()
      await files.close()
      await reserve.remove()
      return batch.bytes === 0
    },
  }
}
