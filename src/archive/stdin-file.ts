/** A stream as a file: recordings must be read more than once, and may be larger than memory. */

import { createWriteStream } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'

import { StenoError } from '../errors.ts'

export interface SpooledStream {
  readonly path: string
  remove(): Promise<void>
}

/** Copies the stream to a file that only this user can read; the caller removes it. */
export async function spoolStream(stream: Readable, tempDir: string): Promise<SpooledStream> {
  let folder: string | undefined
  const remove = async (): Promise<void> => {
    if (folder !== undefined) await rm(folder, { recursive: true, force: true })
  }
  try {
    folder = await mkdtemp(join(tempDir, 'steno-'))
    const path = join(folder, 'stream.jsonl')
    await pipeline(stream, createWriteStream(path, { mode: 0o600, flags: 'wx' }))
    return { path, remove }
  } catch (cause) {
    await remove()
    throw new StenoError('archive.io', `cannot keep the piped recording in '${tempDir}'; make room there, set TMPDIR to another folder, or name a file instead of '-'`, { cause })
  }
}
