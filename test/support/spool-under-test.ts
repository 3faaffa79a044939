/** A spool with its real worker and a directory sink in a folder of its own, and a writer of numbered lines before it. */

import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as turn } from 'node:timers/promises'

import { systemClock } from '../../src/platform/clock.ts'
import { createLog } from '../../src/platform/log.ts'
import { openSpool } from '../../src/recorder/open-spool.ts'
import type { OpenSpoolOptions, SpoolHole, SpoolListener } from '../../src/recorder/open-spool.ts'
import type { StenoError } from '../../src/errors.ts'
import type { RecoveredWriter } from '../../src/record/frame.ts'
import type { SpoolFinding } from '../../src/recorder/spool/adopt.ts'
import type { QuarantinedSegment, ShippedEvent } from '../../src/recorder/shipper/shipper.ts'
import type { Spool } from '../../src/recorder/spool/spool.ts'
import { frameLine } from './build-recording.ts'

export interface SpoolFolder {
  readonly path: string
  readonly spool: string
  readonly archive: string
  /** Names in the spool, sorted; without the lock. */
  files(): Promise<string[]>
  remove(): Promise<void>
}

export async function spoolFolder(): Promise<SpoolFolder> {
  const path = await mkdtemp(join(tmpdir(), 'spool-'))
  const spool = join(path, 'spool')
  return {
    path,
    spool,
    archive: join(path, 'archive'),
    files: async () => (await readdir(spool)).filter(name => name !== 'lock').sort(),
    remove: () => rm(path, { recursive: true, force: true }),
  }
}

export interface SpoolUnderTest {
  readonly spool: Spool
  readonly recovered: readonly RecoveredWriter[]
  readonly findings: readonly SpoolFinding[]
  /** Lines that the spool took, in order. */
  readonly lines: readonly string[]
  readonly states: readonly string[]
  readonly shipped: readonly ShippedEvent[]
  readonly holes: readonly SpoolHole[]
  readonly quarantined: readonly QuarantinedSegment[]
  log(): string
  /** Appends a frame; false when it was not taken. */
  add(fields?: { readonly kind?: 'http' | 'gap' | 'writer.stop'; readonly body?: string; readonly session?: string }): boolean
  /** Resolves when all appended is durable, with the error when it is not. */
  commit(): Promise<StenoError | undefined>
  /** As the recorder ends: last frame, then close. */
  stop(deadlineMs?: number): Promise<number>
}

export interface TestSpoolOptions extends Partial<OpenSpoolOptions> {
  /** False when they are too many: then only their number is kept. */
  readonly keepLines?: boolean
  /** A start waits for room. */
  readonly onWait?: () => void
  readonly onStateChange?: SpoolListener['onStateChange']
  readonly onLastWords?: (add: SpoolUnderTest['add'], error: StenoError) => void
}

/** A long time: what only ends by itself when something is wrong. */
export const LONG_MS = 60_000

export async function openTestSpool(folder: SpoolFolder, options: TestSpoolOptions = {}): Promise<SpoolUnderTest> {
  let logged = ''
  const lines: string[] = []
  const states: string[] = []
  const shipped: ShippedEvent[] = []
  const holes: SpoolHole[] = []
  const quarantined: QuarantinedSegment[] = []
  const { spool, recovered, findings, listen } = await openSpool({
    directory: folder.spool,
    maxBytes: 512 * 1024 * 1024,
    sink: { type: 'directory', path: folder.archive },
    lingerMs: 20,
    durability: 'local',
    clock: systemClock,
    log: createLog({
      level: 'info',
      write: line => {
        logged += line
        if (line.includes('waiting for what earlier writers left')) options.onWait?.()
      },
      now: Date.now,
    }),
    onSync: () => {},
    ...options,
    onShipped: event => {
      shipped.push(event)
      options.onShipped?.(event)
    },
  })
  listen({
    onStateChange: (state, error) => {
      states.push(error === undefined ? state : `${state} ${error.code}`)
      options.onStateChange?.(state, error)
    },
    onLastWords: error => options.onLastWords?.(add, error),
    onHole: hole => holes.push(hole),
    onQuarantined: segment => quarantined.push(segment),
  })
  const add: SpoolUnderTest['add'] = ({ kind = 'http', body = '', session } = {}) => {
    const fields = kind === 'http' ? { from: 'client', body, bytes: Buffer.byteLength(body) } : { reason: kind === 'gap' ? body : 'test' }
    const line = frameLine(spool.writer, lines.length, { kind, ...(session === undefined ? {} : { session }), ...fields })
    if (!spool.append(line)) return false
    lines.push(options.keepLines === false ? '' : line)
    return true
  }
  return {
    spool,
    recovered,
    findings,
    lines,
    states,
    shipped,
    holes,
    quarantined,
    log: () => logged,
    add,
    commit: () => new Promise(resolve => spool.commit(resolve)),
    stop: async (deadlineMs = LONG_MS) => {
      add({ kind: 'writer.stop' })
      return (await spool.close(deadlineMs)).unshippedBytes
    },
  }
}

/** Resolves when the condition holds: for what another thread brings about and nobody tells of. The test's own time limit ends it. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await turn(2)
}
