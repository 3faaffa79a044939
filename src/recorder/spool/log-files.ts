/**
 * The files of one writer's log: the one that is written to, and the next, made ahead while there is half a file left.
 * A file whose write failed is never written again: what the kernel makes of its pages is unknown.
 * A number whose file could not be made, or was given up empty, stays unused: readers pass over it.
 */

import { StenoError } from '../../errors.ts'
import { errorCode } from '../../platform/error-code.ts'
import { encodeHeader, HEADER_BYTES } from './log-format.ts'
import type { SpoolFs } from './spool-fs.ts'

export interface LogFilesOptions {
  readonly writer: string
  readonly fs: SpoolFs
  readonly pathOf: (file: number) => string
  readonly fileBytes: number
  /** The directory is gone: makes it again. */
  readonly remake: () => Promise<void>
  /** Room that all spool files may take together; asked before each new one. */
  readonly mayGrow: (bytes: number) => boolean
  /** A file was made. The shipper removes them, so only whoever looks knows what they take. */
  readonly onGrow: (bytes: number) => void
  readonly monotonic: () => number
  readonly onSync: (seconds: number) => void
  /** Everything up to `offset` of `file` is durable. */
  readonly onDurable: (file: number, offset: number, bytes: number) => void
}

export interface LogFiles {
  /** Makes a file of that size and goes on in it. Rejects with `spool.full`, or with what the system says. */
  open(bytes: number): Promise<void>
  /** Goes on in the next file, with room for so many bytes. Rejects likewise. */
  change(atLeast: number): Promise<void>
  /** Makes a batch durable, in the next file when this one has no room. Rejects likewise: then the file must be abandoned. */
  write(batch: Buffer, length: number): Promise<void>
  /** Makes a batch durable in a file that lies ready elsewhere and takes nothing after it. */
  writeInto(ready: { readonly path: string; readonly bytes: number }, batch: Buffer, length: number): Promise<void>
  /** Closes the file that is written to, for good. */
  abandon(): Promise<void>
  /** Closes everything, also what was made ahead. */
  close(): Promise<void>
}

interface OpenFile {
  readonly number: number
  readonly fd: number
  readonly bytes: number
  offset: number
}

export function createLogFiles(options: LogFilesOptions): LogFiles {
  const { fs, pathOf } = options
  let unused = 0
  let current: OpenFile | undefined
  let ahead: Promise<OpenFile> | undefined

  const create = async (bytes: number): Promise<OpenFile> => {
    if (!options.mayGrow(bytes)) throw new StenoError('spool.full', 'the spool has reached its size limit; restore the sink so that it can be shipped, or enlarge it with --spool-max')
    const number = unused++
    const path = pathOf(number)
    const fd = await fs.createLog(path, bytes).catch(async (error: unknown) => {
      if (errorCode(error) !== 'ENOENT') throw error
      await options.remake()
      return await fs.createLog(path, bytes)
    })
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
    if (finished.offset === HEADER_BYTES) await fs.unlink(pathOf(finished.number)).catch(() => {})
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
  const abandon = async (): Promise<void> => {
    const finished = current
    current = undefined
    if (finished !== undefined) await giveUp(finished)
  }
  const takeNext = async (atLeast: number): Promise<OpenFile> => {
    const prepared = ahead
    ahead = undefined
    const ready = await prepared?.catch(() => undefined)
    if (ready !== undefined) {
      if (ready.bytes - ready.offset >= atLeast) return ready
      await giveUp(ready)
    }
    return await create(Math.max(options.fileBytes, atLeast + HEADER_BYTES))
  }
  const prepareNext = (file: OpenFile): void => {
    if (ahead !== undefined || file.offset < file.bytes / 2) return
    ahead = create(options.fileBytes)
    // Whoever takes it sees the failure; until then it must not be an unhandled rejection.
    ahead.catch(() => {})
  }

  return {
    open: async bytes => {
      current = await create(bytes)
    },
    change: async atLeast => {
      current = await takeNext(atLeast)
    },
    write: async (batch, length) => {
      let file = current
      if (file === undefined || file.offset + length > file.bytes) {
        await abandon()
        file = await takeNext(length)
        current = file
      }
      const since = options.monotonic()
      await writeAll(file.fd, batch, length, file.offset)
      options.onSync((options.monotonic() - since) / 1000)
      if (!fs.isLinked(file.fd)) throw new StenoError('spool.io', 'the spool file was removed while it was written to; leave the spool directory to the recorder')
      file.offset += length
      options.onDurable(file.number, file.offset, length)
      prepareNext(file)
    },
    writeInto: async (ready, batch, length) => {
      const number = unused++
      await fs.rename(ready.path, pathOf(number))
      const file = await begin({ number, fd: await fs.openLog(pathOf(number)), bytes: ready.bytes, offset: HEADER_BYTES })
      try {
        await writeAll(file.fd, batch, length, HEADER_BYTES)
        file.offset += length
        options.onDurable(number, file.offset, length)
      } finally {
        await giveUp(file)
      }
    },
    abandon,
    close: async () => {
      await abandon()
      const prepared = await ahead?.catch(() => undefined)
      if (prepared !== undefined) await giveUp(prepared)
    },
  }
}
