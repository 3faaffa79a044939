/**
 * Numbers, stamps and writes frames. The only caller of `Spool.append`: a seq is used up only by a line that the spool took.
 * What could not be taken is counted, and declared by a `gap` as soon as the spool takes lines again.
 */

import { randomBytes } from 'node:crypto'
import type { StenoError } from '../errors.ts'
import type { Clock } from '../platform/clock.ts'
import { createTimestamps } from '../platform/clock.ts'
import { encodeFrame } from '../record/encode-frame.ts'
import type { FrameContent, FrameKind } from '../record/frame.ts'
import type { Spool } from './spool/spool.ts'

export interface Journal {
  /** Seq of the frame, or undefined when it could not be taken. */
  append(content: FrameContent, at?: { readonly session?: string | undefined; readonly exchange?: number | undefined }): number | undefined
  /** Calls back when all that was appended so far is durable, or when that failed. */
  commit(done: (error?: StenoError) => void): void
  /** As `Spool.whenRoom`. */
  whenRoom(then: () => void): void
  /** Something passed, or was refused, without a frame. `bytes` of bodies. @param onFailure what became of it; what holds now when absent */
  missed(bytes: number, onFailure?: OnFailure): void
  /** Writes the gap about what was missed, if anything was. To be called when the spool is open again. */
  declareMissed(): void
  /** Microseconds since the writer started. */
  elapsedUs(): number
}

export interface JournalDeps {
  readonly spool: Spool
  readonly clock: Clock
  readonly onFrame: (kind: FrameKind) => void
  readonly onGap: (reason: string) => void
  /** What becomes of what cannot be recorded now. A policy may change it. */
  readonly onFailure: () => OnFailure
}

/** What becomes of what cannot be recorded: it is refused, or passes unrecorded. */
export type OnFailure = 'block' | 'allow'

const MISSED: Readonly<Record<OnFailure, { readonly reason: string; readonly detail: string }>> = {
  block: { reason: 'blocked', detail: 'refused because they could not be recorded; nothing of them was forwarded after that' },
  allow: { reason: 'unrecorded', detail: 'forwarded without being recorded' },
}

export function createJournal(deps: JournalDeps): Journal {
  const { spool, clock } = deps
  const timestamp = createTimestamps(clock)
  const startedMs = clock.monotonic()
  const salts = createSalts()
  let seq = 0
  const missed = new Map<OnFailure, { count: number; bytes: number; fromTime: string; toTime: string }>()

  const elapsedUs = (nowMs = clock.monotonic()): number => Math.floor((nowMs - startedMs) * 1000)

  /** What was missed comes before what is taken next, so that the recording says it as soon as it can. */
  const append: Journal['append'] = (content, at) => {
    if (missed.size > 0) declareMissed()
    return write(content, at)
  }
  const write: Journal['append'] = (content, at) => {
    const nowMs = clock.monotonic()
    const head = { writer: spool.writer, seq, time: timestamp(nowMs), elapsedUs: elapsedUs(nowMs), salt: salts(), session: at?.session, exchange: at?.exchange }
    if (!spool.append(encodeFrame(head, content))) return undefined
    deps.onFrame(content.kind)
    if (content.kind === 'gap') deps.onGap(content.reason)
    return seq++
  }

  const declareMissed = (): void => {
    for (const [onFailure, run] of missed) if (write({ kind: 'gap', ...MISSED[onFailure], ...run }) !== undefined) missed.delete(onFailure)
  }

  return {
    append,
    elapsedUs: () => elapsedUs(),
    commit: done => spool.commit(done),
    whenRoom: then => spool.whenRoom(then),
    missed: (bytes, onFailure = deps.onFailure()) => {
      const now = timestamp()
      const run = missed.get(onFailure) ?? { count: 0, bytes: 0, fromTime: now, toTime: now }
      run.count++
      run.bytes += bytes
      run.toTime = now
      missed.set(onFailure, run)
    },
    declareMissed,
  }
}

/** 8 random bytes in hex at a time, from a pool: one system call for 512 frames. */
function createSalts(): () => string {
  let pool = ''
  let at = 0
  return () => {
    if (at === pool.length) {
      pool = randomBytes(4096).toString('hex')
      at = 0
    }
    at += 16
    return pool.slice(at - 16, at)
  }
}
