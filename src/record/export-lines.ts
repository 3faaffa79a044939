/** The lines of an export: its header, a frame as recorded or cleaned, and runs of leaves for what is not shown. */

import { cleanFrame } from './clean.ts'
import { FORMAT_VERSION } from './frame.ts'
import type { ExportedWriter } from './parse-line.ts'
import { MAX_LEAVES } from './parse-line.ts'
import type { StoredFrame } from './recording.ts'

export function exportHeader(header: { readonly session: string; readonly cleaned: boolean; readonly writers: readonly ExportedWriter[] }): string {
  const { session, cleaned, writers } = header
  return JSON.stringify({ kind: 'export', format: FORMAT_VERSION, session, cleaned, writers })
}

/** The stored line, or, when something had to be taken out of it, a `cleaned` line that carries its leaf. */
export function cleanedLine(stored: StoredFrame, leaf: string): { readonly line: string; readonly changes: number } {
  // A line that was cleaned before carries the leaf of the original already.
  if (stored.line.startsWith('{"kind":"cleaned"')) return { line: stored.line, changes: 0 }
  const { frame, changes } = cleanFrame(stored.frame)
  if (changes === 0) return { line: stored.line, changes }
  return { line: JSON.stringify({ kind: 'cleaned', leaf, changes, frame }), changes }
}

/** Gathers leaves of neighbouring frames that are not shown. */
export class LeafRun {
  readonly #writer: string
  #fromSeq = 0
  #leaves: string[] = []

  constructor(writer: string) {
    this.#writer = writer
  }

  /** @returns a line, when the run was full or ended before this one */
  add(seq: number, leaf: string): string | undefined {
    const line = this.#leaves.length === MAX_LEAVES || this.#fromSeq + this.#leaves.length !== seq ? this.take() : undefined
    if (this.#leaves.length === 0) this.#fromSeq = seq
    this.#leaves.push(leaf)
    return line
  }

  take(): string | undefined {
    if (this.#leaves.length === 0) return undefined
    const line = JSON.stringify({ kind: 'leaves', writer: this.#writer, fromSeq: this.#fromSeq, sha256: this.#leaves })
    this.#leaves = []
    return line
  }
}
