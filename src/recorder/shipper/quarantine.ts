/** Segments that the sink will never take: kept on disk in the spool, for a person to look at. Bounded: a sink that refuses everything is no reason to empty the spool. */

import { readdirSync, statSync } from 'node:fs'
import { open, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { makeDirectory, syncDirectory } from '../../platform/durable-directory.ts'
import type { Segment } from '../../sink/sink.ts'

export interface Quarantine {
  /** @returns where it lies, durable; undefined when there is no room for it or it cannot be written */
  keep(segment: Segment): Promise<string | undefined>
}

const MAX_BYTES = 16 * 1024 * 1024

/** @param directory the spool's */
export function createQuarantine(directory: string): Quarantine {
  const folder = join(directory, 'quarantine')
  return {
    keep: async ({ index, bytes }) => {
      try {
        await makeDirectory(folder, 0o700)
        if (bytesIn(folder) + bytes.length > MAX_BYTES) return undefined
        const path = join(folder, `${index.writer}-${index.firstSeq}-${index.lastSeq}.jsonl.gz`)
        const draft = `${path}.part`
        const file = await open(draft, 'w', 0o600)
        try {
          await file.writeFile(bytes)
          await file.sync()
        } finally {
          await file.close()
        }
        await rename(draft, path)
        await syncDirectory(folder)
        return path
      } catch {
        // It goes on being offered to the sink: nothing is lost.
        return undefined
      }
    },
  }
}

function bytesIn(folder: string): number {
  return readdirSync(folder).reduce((sum, name) => sum + (statSync(join(folder, name), { throwIfNoEntry: false })?.size ?? 0), 0)
}
