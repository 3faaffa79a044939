/** Follows the spool: says in the recording and in the log what became of it, and knows why it cannot record. */

import { basename } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import type { StenoError } from '../errors.ts'
import type { Log } from '../platform/log.ts'
import type { Journal, OnFailure } from './journal.ts'
import type { SpoolHole, SpoolListener } from './open-spool.ts'
import type { QuarantinedSegment } from './shipper/shipper.ts'
import type { SpoolState } from './spool/spool.ts'

export interface SpoolHealth {
  readonly state: SpoolState
  /** Why recording has stopped; undefined while it has not. */
  readonly error: StenoError | undefined
  /** Resolves with true once frames are taken (again), with false when they are not after so many ms. */
  recording(deadlineMs: number): Promise<boolean>
  /** For the spool to call. */
  readonly listener: SpoolListener
}

export function createSpoolHealth({ journal, log, onFailure }: { readonly journal: Journal; readonly log: Log; readonly onFailure: () => OnFailure }): SpoolHealth {
  let state: SpoolState = 'open'
  let error: StenoError | undefined
  /** What could not be declared when it was found. One range from the first to the last, so that it cannot grow. */
  let undeclared: SpoolHole | undefined
  /** As `undeclared`, of segments that were put aside; at most as many as the quarantine holds. */
  let asideUndeclared: QuarantinedSegment[] = []
  let reopened = Promise.withResolvers<true>()

  const declareHole = (hole: SpoolHole): boolean =>
    journal.append({ kind: 'gap', reason: 'damage', ...hole, detail: 'frames that were durable in the spool could not be read back' }) !== undefined

  const declareAside = ({ writer, fromSeq, toSeq, bytes, path }: QuarantinedSegment): boolean =>
    journal.append({ kind: 'gap', reason: 'quarantined', of: writer, fromSeq, toSeq, bytes, detail: `the sink does not take this segment; it was put aside as ${basename(path)}` }) !== undefined

  return {
    get state() {
      return state
    },
    get error() {
      return error
    },
    recording: async deadlineMs => {
      if (state === 'open') return true
      const timer = new AbortController()
      const waited = wait(deadlineMs, false, { signal: timer.signal })
      waited.catch(() => {})
      const open = await Promise.race([reopened.promise, waited])
      timer.abort()
      return open
    },
    listener: {
      onStateChange: (next, cause) => {
        state = next
        error = cause
        if (next === 'failed') {
          log.error('recording has stopped', { code: cause?.code ?? 'unknown', reason: cause?.message ?? '', onFailure: onFailure() })
          return
        }
        log.info(`the spool is ${next}`)
        if (next !== 'open') return
        reopened.resolve(true)
        reopened = Promise.withResolvers()
        journal.declareMissed()
        if (undeclared !== undefined && declareHole(undeclared)) undeclared = undefined
        asideUndeclared = asideUndeclared.filter(segment => !declareAside(segment))
      },
      onLastWords: ({ code }) => void journal.append({ kind: 'gap', reason: code === 'spool.full' ? 'spool-full' : 'spool-failed', detail: 'recording stops here until the spool can be written again' }),
      onQuarantined: segment => {
        if (!declareAside(segment)) asideUndeclared.push(segment)
      },
      onHole: hole => {
        if (!declareHole(hole)) undeclared = { fromSeq: undeclared?.fromSeq ?? hole.fromSeq, toSeq: hole.toSeq }
      },
    },
  }
}
