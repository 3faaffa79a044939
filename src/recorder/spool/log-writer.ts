/**
 * Appends lines to log files: group commit with one synced write in flight, the next batch gathers meanwhile.
 * A file whose write failed is finished: the batch is written again to a new file, and readers drop what they have had.
 * A second failure ends recording until the retry in the background succeeds; the lines taken so far are kept and written first.
 * A number whose file could not be made, or was given up empty, stays unused: readers pass over it.
 */

import { StenoError } from '../../errors.ts'
import { errorCode } from '../../platform/error-code.ts'
import type { SpoolFs } from './spool-fs.ts'
import { crcSeed, encodeHeader, encodeRecord, HEADER_BYTES, MAX_FRAME_BYTES, RECORD_HEAD_BYTES } from './log-format.ts'
import { logError } from './spool-error.ts'
import type { SpoolState } from './spool.ts'

export interface LogWriterOptions {
  readonly writer: string
  readonly fs: SpoolFs
  readonly pathOf: (file: number) => string
  readonly reservePath: string
  readonly firstFileBytes: number
  readonly fileBytes: number
  readonly reserveBytes: number
  /** Room that all spool files may take together; asked before each new one. */
  readonly mayGrow: (bytes: number) => boolean
  readonly random: () => number
  readonly monotonic: () => number
  readonly onState: (state: SpoolState, error?: StenoError) => void
  /** Everything up to `offset` of `file` is durable. */
  readonly onDurable: (file: number, offset: number, bytes: number) => void
  /** A file was made. The shipper removes them, so only whoever looks knows what they take. */
  readonly onGrow: (bytes: number) => void
  readonly onSync: (seconds: number) => void
  /** Recording is about to stop: what is appended now goes into the reserve. */
  readonly onLastWords: (error: StenoError) => void
}

export interface LogWriter {
  readonly state: SpoolState
  append(line: string): boolean
  commit(done: (error?: StenoError) => void): void
  /** Opens the first file. */
  start(): Promise<void>
  /** Writes what is left and closes. */
  close(): Promise<void>
}

interface OpenFile {
  readonly number: number
  readonly fd: number
  readonly bytes: number
  offset: number
}

/** What may wait for one write. A batch that failed and what came meanwhile can be twice that. */
const MAX_PENDING_BYTES = 32 * 1024 * 1024
const START_BUFFER_BYTES = 64 * 1024
const KEPT_BUFFER_BYTES = 1024 * 1024
const RETRY_MS = 100
const MAX_RETRY_MS = 2_000

export function createLogWriter(options: LogWriterOptions): LogWriter {
  const { fs } = options
  const seed = crcSeed(options.writer)
  let state: SpoolState = 'open'
  let failure: StenoError | undefined
  let file: OpenFile | undefined
  let next: Promise<OpenFile> | undefined
  let reserving: Promise<void> | undefined
  let reserved = false
  let fileNumber = 0
  let gathering: Buffer = Buffer.allocUnsafe(START_BUFFER_BYTES)
  let gathered = 0
  let waiters: ((error?: StenoError) => void)[] = []
  let spare: Buffer | undefined
  let busy = false
  let scheduled = false
  let closing = false
  let lastWords = false
  let onIdle: (() => void)[] = []
  let retry: NodeJS.Timeout | undefined

  const create = async (bytes: number): Promise<OpenFile> => {
    if (!options.mayGrow(bytes)) throw new StenoError('spool.full', 'the spool has reached its size limit; restore the sink so that it can be shipped, or enlarge it with --spool-max')
    const number = fileNumber++
    const fd = await fs.createLog(options.pathOf(number), bytes)
    options.onGrow(bytes)
    return await begin({ number, fd, bytes, offset: HEADER_BYTES })
  }
  const begin = async (fresh: OpenFile): Promise<OpenFile> => {
    try {
      await writeAll(fresh.fd, encodeHeader(options.writer, fresh.number), HEADER_BYTES, 0)
      return fresh
    } catch (error) {
      await giveUp(fresh)
      throw error
    }
  }
  /** Closes a file for good, and removes it when nothing in it was ever confirmed: the shipper has not seen it then. */
  const giveUp = async (finished: OpenFile): Promise<void> => {
    await fs.close(finished.fd).catch(() => {})
    if (finished.offset === HEADER_BYTES) await fs.unlink(options.pathOf(finished.number)).catch(() => {})
  }
  const writeAll = (fd: number, buffer: Buffer, length: number, position: number): Promise<void> =>
    new Promise((resolve, reject) => {
      const from = (at: number): void => {
        fs.write(fd, buffer, at, length - at, position + at, (error, written) => {
          if (error !== null) reject(error)
          else if (written === 0) reject(new Error('nothing was written'))
          else if (at + written < length) from(at + written)
          else resolve()
        })
      }
      from(0)
    })
  const makeReserve = async (): Promise<void> => {
    if (reserved || !options.mayGrow(options.reserveBytes)) return
    try {
      const fd = await fs.createLog(options.reservePath, options.reserveBytes)
      options.onGrow(options.reserveBytes)
      reserved = true
      await fs.close(fd)
    } catch (error) {
      // Without a reserve the last words wait in memory. One that could not be renamed is still there.
      reserved = errorCode(error) === 'EEXIST'
    }
  }
  const prepareReserve = (): Promise<void> =>
    (reserving ??= makeReserve().finally(() => {
      reserving = undefined
    }))
  const takeNext = async (atLeast: number): Promise<OpenFile> => {
    const prepared = next
    next = undefined
    const ready = await prepared?.catch(() => undefined)
    if (ready !== undefined) {
      if (ready.bytes - ready.offset >= atLeast) return ready
      await giveUp(ready)
    }
    return await create(Math.max(options.fileBytes, atLeast + HEADER_BYTES))
  }
  const prepareNext = (current: OpenFile): void => {
    if (next !== undefined || current.offset < current.bytes / 2) return
    next = create(options.fileBytes)
    // Whoever takes it sees the failure; until then it must not be an unhandled rejection.
    next.catch(() => {})
  }

  const writeBatch = async (batch: Buffer, length: number): Promise<void> => {
    let current = file
    if (current === undefined || current.offset + length > current.bytes) {
      await abandon()
      current = await takeNext(length)
      file = current
    }
    const since = options.monotonic()
    await writeAll(current.fd, batch, length, current.offset)
    options.onSync((options.monotonic() - since) / 1000)
    current.offset += length
    options.onDurable(current.number, current.offset, length)
    prepareNext(current)
  }
  /** A file that failed is never written again: what the kernel makes of its pages is unknown. */
  const abandon = async (): Promise<void> => {
    const finished = file
    file = undefined
    if (finished !== undefined) await giveUp(finished)
  }
  /** @returns why the batch could not be made durable, in this file nor in a new one */
  const writeTwice = async (batch: Buffer, length: number): Promise<StenoError | undefined> => {
    for (let attempt = 1; ; attempt++) {
      try {
        await writeBatch(batch, length)
        return undefined
      } catch (cause) {
        await abandon()
        const error = logError(cause)
        // No room for a new file: asking at once again gives the same answer.
        if (attempt === 2 || error.code === 'spool.full') return error
      }
    }
  }

  const schedule = (): void => {
    if (busy || scheduled || state !== 'open' || (gathered === 0 && waiters.length === 0)) return
    scheduled = true
    setImmediate(() => {
      scheduled = false
      if (busy) return
      void flush()
    })
  }
  const flush = async (): Promise<void> => {
    busy = true
    while ((gathered > 0 || waiters.length > 0) && state === 'open') {
      const batch = gathering
      const length = gathered
      const told = waiters
      gathering = spare ?? Buffer.allocUnsafe(START_BUFFER_BYTES)
      spare = undefined
      gathered = 0
      waiters = []
      const error = length > 0 ? await writeTwice(batch, length) : undefined
      if (error !== undefined) {
        await stopRecording(error, batch.subarray(0, length), told)
        continue
      }
      if (batch.length <= KEPT_BUFFER_BYTES) spare = batch
      for (const done of told) done()
    }
    rest()
  }
  /** Nothing is being written. */
  const rest = (): void => {
    busy = false
    for (const resolve of onIdle.splice(0)) resolve()
    schedule()
  }
  const stopRecording = async (error: StenoError, batch: Buffer, told: ((error?: StenoError) => void)[]): Promise<void> => {
    // From here on nothing more is taken: what is written below is all there is, and whoever waits for it can be told.
    state = 'failed'
    failure = error
    // What came meanwhile follows what failed, in order.
    gathering = Buffer.concat([batch, gathering.subarray(0, gathered)])
    gathered = gathering.length
    const waiting = told.concat(waiters)
    waiters = []
    lastWords = true
    options.onLastWords(error)
    lastWords = false
    await reserving
    // The reserve is on the same disk: when it cannot be written either, the lines are kept in memory.
    const saved = reserved && gathered + HEADER_BYTES <= options.reserveBytes && (await writeReserve().then(() => true, () => false))
    if (saved) dropGathered()
    options.onState('failed', error)
    for (const done of waiting) done(saved ? undefined : error)
    if (!closing) scheduleRetry(RETRY_MS)
  }
  const writeReserve = async (): Promise<void> => {
    reserved = false
    const number = fileNumber++
    await fs.rename(options.reservePath, options.pathOf(number))
    const file = await begin({ number, fd: await fs.openLog(options.pathOf(number)), bytes: options.reserveBytes, offset: HEADER_BYTES })
    try {
      await writeAll(file.fd, gathering, gathered, HEADER_BYTES)
      file.offset += gathered
      options.onDurable(number, file.offset, gathered)
    } finally {
      await giveUp(file)
    }
  }
  const dropGathered = (): void => {
    gathering = Buffer.allocUnsafe(START_BUFFER_BYTES)
    gathered = 0
  }
  const scheduleRetry = (delayMs: number): void => {
    retry = setTimeout(() => void recover(delayMs), delayMs * (0.5 + options.random() / 2))
    retry.unref()
  }
  const recover = async (delayMs: number): Promise<void> => {
    busy = true
    try {
      file = await takeNext(gathered)
      if (gathered > 0) await writeBatch(gathering, gathered)
      dropGathered()
      await prepareReserve()
      state = 'open'
      failure = undefined
    } catch (cause) {
      await abandon()
      failure = logError(cause)
      if (!closing) scheduleRetry(Math.min(MAX_RETRY_MS, delayMs * 2))
    }
    if (state === 'open') options.onState('open')
    rest()
  }
  const settled = async (): Promise<void> => {
    while (busy || scheduled) await new Promise<void>(resolve => (busy ? onIdle.push(resolve) : setImmediate(resolve)))
  }

  return {
    get state() {
      return state
    },
    append: line => {
      if (state !== 'open' && !lastWords) return false
      // Three bytes are the most that one UTF-16 unit becomes.
      const most = RECORD_HEAD_BYTES + line.length * 3
      if (!lastWords && gathered > 0 && gathered + most > MAX_PENDING_BYTES) return false
      if (line.length * 3 > MAX_FRAME_BYTES && Buffer.byteLength(line) > MAX_FRAME_BYTES) return false
      if (line === '') throw new TypeError('an empty record would end the log')
      if (gathered + most > gathering.length) {
        const larger = Buffer.allocUnsafe(Math.max(gathering.length * 2, gathered + most))
        gathering.copy(larger, 0, 0, gathered)
        gathering = larger
      }
      gathered += encodeRecord(gathering, gathered, line, seed)
      schedule()
      return true
    },
    commit: done => {
      if (state === 'failed') {
        done(failure)
        return
      }
      if (state === 'closed') {
        done(new StenoError('spool.closed', 'the recorder is stopping'))
        return
      }
      if (gathered === 0 && !busy) {
        done()
        return
      }
      waiters.push(done)
      schedule()
    },
    start: async () => {
      file = await create(options.firstFileBytes)
      void prepareReserve()
    },
    close: async () => {
      closing = true
      clearTimeout(retry)
      await settled()
      // A last chance for what is kept in memory, and for the gap about what was missed.
      if (state === 'failed') await recover(0)
      await settled()
      state = 'closed'
      await abandon()
      const prepared = await next?.catch(() => undefined)
      if (prepared !== undefined) await giveUp(prepared)
      await reserving
      await fs.unlink(options.reservePath).catch(() => {})
    },
  }
}
