/** What a recorder says first: who it is, and what is missing from what earlier ones left. */

import { FORMAT_VERSION } from '../record/frame.ts'
import type { FrameContent, FrameOf, RecoveredWriter } from '../record/frame.ts'
import type { SpoolFinding } from './spool/adopt.ts'

/** Where in a cluster a recorder runs. */
export type WriterPlace = Pick<FrameOf<'writer.start'>, 'pod' | 'namespace' | 'node' | 'image' | 'policy' | 'labels'>

export interface Start {
  /** Of this program. */
  readonly version: string
  readonly host: string
  readonly pid: number
  readonly place?: WriterPlace | undefined
  readonly recovered: readonly RecoveredWriter[]
  readonly findings: readonly SpoolFinding[]
}

/** `writer.start`, then a `gap` for every earlier writer that did not end in order, then one for all that cannot be read back. */
export function openingFrames({ version, host, pid, place, recovered, findings }: Start): FrameContent[] {
  return [
    { kind: 'writer.start', format: FORMAT_VERSION, steno: version, host, pid, ...place, recovered },
    ...recovered
      .filter(({ state }) => state === 'cut')
      .map(({ writer }): FrameContent => ({ kind: 'gap', reason: 'cut', of: writer, detail: 'the recorder ended without a last frame; exchanges it had in flight have no end' })),
    ...findings.map(({ writer, ...finding }): FrameContent => ({ kind: 'gap', of: writer, ...finding })),
  ]
}
