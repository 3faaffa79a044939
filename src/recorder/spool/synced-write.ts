/**
 * Writes to files that are synced by every write. On a quick disk on this thread: to hand a write of 100 µs to another thread and to hear of
 * its end takes longer than the write, and more processor. On a slow disk, and what is large, by the thread pool, so that the loop goes on.
 */

import type { SpoolFs } from './spool-fs.ts'

export interface SyncedWriteOptions {
  readonly fs: Pick<SpoolFs, 'write' | 'writeNow'>
  readonly monotonic: () => number
}

/** Writes all of it. Rejects with what the system says. */
export type SyncedWrite = (fd: number, buffer: Buffer, length: number, position: number) => Promise<void>

/** A write that took longer shows a slow disk. */
const SLOW_MS = 3
/** After it the pool writes for so long, doubling each time up to a minute; then this thread tries again. */
const COOL_OFF_MS = 500
const MAX_COOL_OFF_MS = 60_000
/** So many quick ones in a row, and the disk's past is forgotten. */
const QUICK_RUN = 100
const MAX_NOW_BYTES = 256 * 1024

export function createSyncedWrite({ fs, monotonic }: SyncedWriteOptions): SyncedWrite {
  let coolOffMs = COOL_OFF_MS
  let notBeforeMs = -Infinity
  let quick = 0

  const later: SyncedWrite = (fd, buffer, length, position) =>
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
  const now = (writeNow: NonNullable<SpoolFs['writeNow']>, fd: number, buffer: Buffer, length: number, position: number): void => {
    const since = monotonic()
    for (let at = 0; at < length; ) {
      const written = writeNow(fd, buffer, at, length - at, position + at)
      if (written === 0) throw new Error('nothing was written')
      at += written
    }
    const until = monotonic()
    if (until - since <= SLOW_MS) {
      if (++quick >= QUICK_RUN) coolOffMs = COOL_OFF_MS
      return
    }
    quick = 0
    notBeforeMs = until + coolOffMs
    coolOffMs = Math.min(MAX_COOL_OFF_MS, coolOffMs * 2)
  }
  return async (fd, buffer, length, position) => {
    if (fs.writeNow === undefined || length > MAX_NOW_BYTES || monotonic() < notBeforeMs) await later(fd, buffer, length, position)
    else now(fs.writeNow, fd, buffer, length, position)
  }
}
