/**
 * Appends lines to log files: group commit with one synced write in flight, the next batch gathers meanwhile.
 * A file whose write failed is finished: the batch is written again to a new file, and readers drop what they have had.
 * A second failure ends recording until the retry in the background succeeds; the lines taken so far are kept and written first.
 */

import { StenoError } from '../../errors.ts'
import type { SpoolFs } from './spool-fs.ts'
import { crcSeed, encodeHeader, encodeRecord, HEADER_BYTES, RECORD_HEAD_BYTES } from './log-format.ts'
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
  readonly onFile: (file: number, bytes: number) => void
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

const MAX_PENDING_BYTES = 32 * 1024 * 1024
const KEPT_BUFFER_BYTES = 1024 * 1024
const RETRY_MS = 100
const MAX_RETRY_MS = 2_000

export function createLogWriter(options: LogWriterOptions): LogWriter {
  const seed = crcSeed(options.writer)
  let state: SpoolState = 'open'
  let failure: StenoError | undefined
  let file: OpenFile | undefined
  let next: Promise<OpenFile> | undefined
  let reserved = false
  let fileNumber = 0
  let gathering: Buffer = Buffer.allocUnsafe(64 * 1024)
  let gathered = 0
  let waiters: ((error?: StenoError) => void)[] = []
  let spare: Buffer | undefined
  let busy = false
  let scheduled = false
  let lastWords = false
  let idle: (() => void) | undefined
  let retry: NodeJS.Timeout | undefined

  const create = async (bytes: number): Promise<OpenFile> => {
    if (!options.mayGrow(bytes)) throw new StenoError('spool.full', 'the spool has reached its size limit; restore the sink so that it can be shipped, or enlarge it with --spool-max')
    const number = fileNumber++
    const fd = await options.fs.createLog(options.pathOf(number), bytes)
    options.onFile(number, bytes)
    return await begin(fd, number, bytes)
  }
  const begin = async (fd: number, number: number, bytes: number): Promise<OpenFile> => {
    await writeAll(fd, encodeHeader(options.writer, number), HEADER_BYTES, 0)
    return { number, fd, bytes, offset: HEADER_BYTES }
  }
  const writeAll = (fd: number, buffer: Buffer, length: number, position: number): Promise<void> =>
    new Promise((resolve, reject) => {
      const from = (at: number): void => {
        options.fs.write(fd, buffer, at, length - at, position + at, (error, written) => {
          if (error !== null) reject(error)
          else if (written === 0) reject(new Error('nothing was written'))
          else if (at + written < length) from(at + written)
          else resolve()
        })
      }
      from(0)
    })
  const prepareReserve = async (): Promise<void> => {
    if (reserved || !options.mayGrow(options.reserveBytes)) return
    try {
      await options.fs.close(await options.fs.createLog(options.reservePath, options.reserveBytes))
      reserved = true
    } catch (error) {
      // Left from an earlier run: as good as new, every record is written over zeros or validated by its CRC.
      reserved = error instanceof Error && 'code' in error && error.code === 'EEXIST'
    }
  }
  const takeNext = async (atLeast: number): Promise<OpenFile> => {
    const prepared = next
    next = undefined
    if (prepared !== undefined) {
      const ready = await prepared.catch(() => undefined)
      if (ready !== undefined && ready.bytes - ready.offset >= atLeast) return ready
      if (ready !== undefined) await options.fs.close(ready.fd)
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
      file = undefined
      if (current !== undefined) await options.fs.close(current.fd)
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
  /** The file that failed is never written again: what the kernel makes of its pages is unknown. */
  const abandon = async (): Promise<void> => {
    const failed = file
    file = undefined
    if (failed !== undefined) await options.fs.close(failed.fd).catch(() => {})
  }

  const schedule = (): void => {
    if (busy || scheduled || state !== 'open' || (gathered === 0 && waiters.length === 0)) return
    scheduled = true
    setImmediate(() => {
      scheduled = false
      if (!busy) void flush()
    })
  }
  const flush = async (): Promise<void> => {
    busy = true
    while ((gathered > 0 || waiters.length > 0) && state === 'open') {
      const batch = gathering
      const length = gathered
      const told = waiters
      gathering = spare ?? Buffer.allocUnsafe(64 * 1024)
      spare = undefined
      gathered = 0
      waiters = []
      try {
        if (length > 0) await writeBatch(batch, length).catch(async () => {
          await abandon()
          await writeBatch(batch, length)
        })
        for (const done of told) done()
        if (batch.length <= KEPT_BUFFER_BYTES) spare = batch
      } catch (cause) {
        await stopRecording(cause, batch, length, told)
      }
    }
    busy = false
    idle?.()
  }
  const stopRecording = async (cause: unknown, batch: Buffer, length: number, told: ((error?: StenoError) => void)[]): Promise<void> => {
    await abandon()
    const error = toError(cause)
    // What came meanwhile follows what failed, in order.
    const meanwhile = gathering.subarray(0, gathered)
    gathering = Buffer.concat([batch.subarray(0, length), meanwhile])
    gathered = gathering.length
    waiters = told.concat(waiters)
    lastWords = true
    options.onLastWords(error)
    lastWords = false
    if (reserved && gathered + HEADER_BYTES <= options.reserveBytes) {
      try {
        await writeReserve()
      } catch {
        // The reserve is on the same disk: when it cannot be written either, the lines are kept in memory.
      }
    }
    failure = error
    state = 'failed'
    const failed = waiters
    waiters = []
    const kept = gathered > 0
    options.onState('failed', error)
    for (const done of failed) done(kept ? error : undefined)
    scheduleRetry(RETRY_MS)
  }
  const writeReserve = async (): Promise<void> => {
    reserved = false
    const number = fileNumber++
    await options.fs.rename(options.reservePath, options.pathOf(number))
    options.onFile(number, 0)
    const fd = await options.fs.openLog(options.pathOf(number))
    const length = gathered
    await begin(fd, number, options.reserveBytes)
    await writeAll(fd, gathering, length, HEADER_BYTES)
    gathered = 0
    options.onDurable(number, HEADER_BYTES + length, length)
    await options.fs.close(fd)
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
      gathered = 0
      await prepareReserve()
      state = 'open'
      failure = undefined
      options.onState('open')
    } catch {
      await abandon()
      if (state === 'failed') scheduleRetry(Math.min(MAX_RETRY_MS, delayMs * 2))
    }
    busy = false
    idle?.()
    schedule()
  }

  return {
    get state() {
      return state
    },
    append: line => {
      if (state !== 'open' && !lastWords) return false
      // Three bytes are the most that one UTF-16 unit becomes.
      const most = RECORD_HEAD_BYTES + line.length * 3
      if (gathered > 0 && gathered + most > MAX_PENDING_BYTES) return false
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
      clearTimeout(retry)
      if (busy || scheduled) {
        await new Promise<void>(resolve => {
          idle = resolve
          schedule()
        })
      }
      if (state === 'failed' && gathered > 0) await recover(RETRY_MS)
      clearTimeout(retry)
      state = 'closed'
      await abandon()
      const prepared = await next?.catch(() => undefined)
      if (prepared !== undefined) await options.fs.close(prepared.fd)
      await options.fs.unlink(options.reservePath).catch(() => {})
    },
  }
}

function toError(cause: unknown): StenoError {
  if (cause instanceof StenoError) return cause
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : ''
  if (code === 'ENOSPC' || code === 'EDQUOT') return new StenoError('spool.full', 'no room is left on the volume of the spool; free space, restore the sink or enlarge the volume', { cause })
  return new StenoError('spool.io', `the spool cannot be written (${code === '' ? 'unknown error' : code}); look at the volume under --spool`, { cause })
}
