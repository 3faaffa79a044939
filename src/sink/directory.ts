/**
 * Segments as files: `<path>/<yyyy>/<MM>/<dd>/<HH>/<writer>-<first seq>-<last seq>.jsonl.gz`, by the UTC hour of arrival.
 * A reader never sees half a segment: written under a dot name, synced, renamed, directory synced.
 * There is one such name per writer: a draft that a crash left is written over by whoever ships that segment again.
 */

import { mkdir, open, rename, unlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { StenoError } from '../errors.ts'
import type { Segment, Sink } from './sink.ts'

export function createDirectorySink(options: { readonly path: string; readonly now: () => number }): Sink {
  /** The hour's folder that is known to be there and durable. */
  let madeFolder: string | undefined

  const put = async (segment: Segment): Promise<void> => {
    const folder = join(options.path, ...new Date(options.now()).toISOString().slice(0, 13).split(/[-T]/))
    if (madeFolder !== folder) {
      await makeFolder(folder)
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
    await syncFolder(folder)
  }
  return {
    put: async segment => {
      try {
        await put(segment)
      } catch (cause) {
        // The folder may have been removed under us: look again next time.
        madeFolder = undefined
        const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown error'
        throw new StenoError('sink.io', `cannot write a segment to the archive ${options.path} (${code}); look at that directory and its volume`, { cause })
      }
    },
    close: async () => {},
  }
}

function padded(seq: number): string {
  return String(seq).padStart(12, '0')
}

/** Creates a folder with its parents and makes each new entry durable. */
async function makeFolder(folder: string): Promise<void> {
  const first = await mkdir(folder, { recursive: true, mode: 0o750 })
  if (first === undefined) return
  for (let made = folder; made.length >= first.length; made = dirname(made)) await syncFolder(dirname(made))
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}
