/** Runs of progress as one row. Only rows that follow each other and say the same thing of the same exchange are folded. */

import type { FrameRef, Row } from './row.ts'

const FOLDED = new Set(['notifications/progress', 'notifications/message'])

/** Rows in order; each run of two or more becomes its last row, with `folded` naming all of them. */
export function foldRuns(rows: readonly Row[]): readonly Row[] {
  const kept: Row[] = []
  const runs = new Map<number, FrameRef[]>()
  for (const row of rows) {
    const before = kept.at(-1)
    if (before === undefined || !sameRun(before, row)) {
      kept.push(row)
      continue
    }
    const at = kept.length - 1
    const run = runs.get(at) ?? [refOf(before)]
    run.push(refOf(row))
    runs.set(at, run)
    const bytes = before.bytes === undefined || row.bytes === undefined ? undefined : before.bytes + row.bytes
    const { bytes: _bytes, ...rest } = row
    kept[at] = { ...rest, ...(bytes === undefined ? {} : { bytes }), folded: run }
  }
  return kept
}

function sameRun(a: Row, b: Row): boolean {
  return (
    a.kind === 'NTF' &&
    b.kind === 'NTF' &&
    a.method !== undefined &&
    FOLDED.has(a.method) &&
    a.method === b.method &&
    a.from === b.from &&
    a.frame.writer === b.frame.writer &&
    a.frame.exchange === b.frame.exchange
  )
}

function refOf(row: Row): FrameRef {
  return { writer: row.frame.writer, seq: row.frame.seq }
}
