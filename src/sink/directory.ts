/**
 * Segments as files: `<path>/<yyyy>/<MM>/<dd>/<HH>/<writer>-<first seq>-<last seq>.jsonl.gz`, by the UTC hour of arrival.
 * A reader never sees half a segment: written under a dot name, synced, renamed, directory synced.
 * There is one such name per writer: a draft that a crash left is written over by whoever ships that segment again.
 */

import { open, readdir, rename, stat, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { StenoError } from '../errors.ts'
import { makeDirectory, syncDirectory } from '../platform/durable-directory.ts'
import { errorCode } from '../platform/error-code.ts'
import type { Receipt, Segment, Sink } from './sink.ts'

/** JSON-RPC at a fifth of its size, for half the processor of 6. */
const LEVEL = 3

/** @param options.maxBytes most that the folder may hold, catalog and all; then nothing is accepted until somebody deletes from it */
export function createDirectorySink(options: { readonly path: string; readonly maxBytes?: number | undefined; readonly now: () => number }): Sink {
  /** The hour's folder that is known to be there and durable. */
  let madeFolder: string | undefined

  /** What the folder holds at least, since it was last looked at. */
  let heldBytes: number | undefined

  const makeRoom = async (bytes: number, maxBytes: number): Promise<void> => {
    // Readers write there too, and somebody may have deleted: before it is called full, it is counted anew.
    if (heldBytes === undefined || heldBytes + bytes > maxBytes) heldBytes = await bytesIn(options.path)
    if (heldBytes + bytes > maxBytes) throw new StenoError('sink.full', `the archive ${options.path} holds ${heldBytes} bytes and may hold ${maxBytes}; delete old recordings from it, or raise --archive-max`)
    heldBytes += bytes
  }

  const put = async (segment: Segment): Promise<void> => {
    if (options.maxBytes !== undefined) await makeRoom(segment.bytes.length, options.maxBytes)
    const folder = join(options.path, ...new Date(options.now()).toISOString().slice(0, 13).split(/[-T]/))
    if (madeFolder !== folder) {
      await makeDirectory(folder, 0o750)
      madeFolder = folder
    }
    const { writer, firstSeq, lastSeq } = segment.index
    const name = `${writer}-${padded(firstSeq)}-${padded(lastSeq)}.jsonl.gz`
    const draft = join(options.path, `.${writer}.part`)
    const file = await open(draft, 'w', 0o640)
    try {
      try {
        await file.writeFile(segment.bytes)
        await file.sync()
      } finally {
        await file.close()
      }
      await rename(draft, join(folder, name))
    } catch (error) {
      await unlink(draft).catch(() => {})
      throw error
    }
    await syncDirectory(folder)
  }
  const receipt = async (segment: Segment): Promise<Receipt> => {
    try {
      await put(segment)
      return 'accepted'
    } catch (cause) {
      // The folder may have been removed under us: look again next time.
      madeFolder = undefined
      if (cause instanceof StenoError) return cause
      return new StenoError('sink.io', `cannot write a segment to the archive ${options.path} (${errorCode(cause) ?? 'unknown error'}); look at that directory and its volume`, { cause })
    }
  }
  return {
    limits: { segments: 1, bytes: Infinity, calls: 1 },
    level: LEVEL,
    put: async segments => {
      const receipts: Receipt[] = []
      for (const segment of segments) receipts.push(await receipt(segment))
      return receipts
    },
    close: async () => {},
  }
}

/** Of all files below. One that goes while it is looked at does not count. */
async function bytesIn(folder: string): Promise<number> {
  let bytes = 0
  const gone = (error: unknown): undefined => {
    if (errorCode(error) === 'ENOENT') return undefined
    throw error
  }
  for (const entry of (await readdir(folder, { recursive: true, withFileTypes: true }).catch(gone)) ?? []) {
    if (entry.isFile()) bytes += (await stat(join(entry.parentPath, entry.name)).catch(gone))?.size ?? 0
  }
  return bytes
}

function padded(seq: number): string {
  return String(seq).padStart(12, '0')
}
