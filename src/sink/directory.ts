/**
 * Segments as files: `<path>/<yyyy>/<MM>/<dd>/<HH>/<writer>-<first seq>-<last seq>.jsonl.gz`, by the UTC hour of arrival.
 * A reader never sees half a segment: written under a dot name, synced, renamed, directory synced.
 * There is one such name per writer: a draft that a crash left is written over by whoever ships that segment again.
 */

import { open, rename, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { StenoError } from '../errors.ts'
import { makeDirectory, syncDirectory } from '../platform/durable-directory.ts'
import { errorCode } from '../platform/error-code.ts'
import type { Receipt, Segment, Sink } from './sink.ts'

/** JSON-RPC at a fifth of its size, for half the processor of 6. */
const LEVEL = 3

export function createDirectorySink(options: { readonly path: string; readonly now: () => number }): Sink {
  /** The hour's folder that is known to be there and durable. */
  let madeFolder: string | undefined

  const put = async (segment: Segment): Promise<void> => {
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

function padded(seq: number): string {
  return String(seq).padStart(12, '0')
}
