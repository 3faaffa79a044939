/** A writer of `access` frames alone: the injector's. The same spool, journal and shipper as a recorder's, without anything that it stands before. */

import { hostname } from 'node:os'

import type { Clock } from '../platform/clock.ts'
import type { Log } from '../platform/log.ts'
import type { FrameContent } from '../record/frame.ts'
import type { SinkConfig } from '../sink/create-sink.ts'
import { createJournal } from './journal.ts'
import { openSpool } from './open-spool.ts'
import { openingFrames } from './opening-frames.ts'
import type { WriterPlace } from './opening-frames.ts'
import { createSpoolHealth } from './spool-health.ts'

export interface AccessWriterOptions {
  readonly version: string
  readonly place: WriterPlace
  readonly spoolDirectory: string
  readonly spoolMaxBytes: number
  readonly sink: SinkConfig
  readonly lingerMs: number
  readonly clock: Clock
  readonly log: Log
  /** Ends a start that is not complete. */
  readonly signal?: AbortSignal
}

export type AccessFields = Omit<Extract<FrameContent, { readonly kind: 'access' }>, 'kind'>

export interface AccessWriter {
  /** Resolves with true when the frame is durable, with false when it cannot be or the signal aborts; then a `gap` says so as soon as it can. */
  record(access: AccessFields, signal: AbortSignal): Promise<boolean>
  /** Writes the last frame and ships. @returns bytes that stay in the spool for the next start */
  stop(reason: string): Promise<number>
}

const SHIP_MS = 10_000
const RECOVER_MS = 1000

/** Rejects with a StenoError of the spool, or with the signal's reason when that was quicker. */
export async function startAccessWriter(options: AccessWriterOptions): Promise<AccessWriter> {
  const { clock, log } = options
  const opened = await openSpool({
    directory: options.spoolDirectory,
    maxBytes: options.spoolMaxBytes,
    sink: options.sink,
    lingerMs: options.lingerMs,
    durability: 'local',
    clock,
    log,
    signal: options.signal,
    onSync: () => {},
    onShipped: () => {},
  })
  const { spool } = opened
  const journal = createJournal({ spool, clock, onFrame: () => {}, onGap: () => {}, onFailure: () => 'allow' })
  const health = createSpoolHealth({ journal, log, onFailure: () => 'allow' })
  opened.listen(health.listener)
  for (const content of openingFrames({ ...opened, version: options.version, host: hostname(), pid: process.pid, place: options.place })) journal.append(content)
  let exchanges = 0
  return {
    record: async (access, signal) => {
      if (journal.append({ kind: 'access', ...access }, { exchange: exchanges++ }) === undefined) {
        journal.missed(0)
        return false
      }
      return await new Promise<boolean>(resolve => {
        const giveUp = (): void => resolve(false)
        signal.addEventListener('abort', giveUp, { once: true })
        journal.commit(error => {
          signal.removeEventListener('abort', giveUp)
          resolve(error === undefined)
        })
      })
    },
    stop: async reason => {
      await health.recording(RECOVER_MS)
      journal.declareMissed()
      journal.append({ kind: 'writer.stop', reason })
      const { unshippedBytes } = await spool.close(SHIP_MS)
      return unshippedBytes
    },
  }
}
