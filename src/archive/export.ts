/**
 * One session as JSON lines that anyone can check: its frames as lines, every other frame of its writers as a leaf.
 * Reads each writer twice: once for the chain heads that the first line states, once for the lines.
 */

import { StenoError } from '../errors.ts'
import { cleanedLine, exportHeader, LeafRun } from '../record/export-lines.ts'
import type { ExportedWriter } from '../record/parse-line.ts'
import type { StoredFrame } from '../record/recording.ts'
import type { OpenRecording } from './catalog-recording.ts'
import { inOrder } from './in-order.ts'
import { readCheckRecords } from './read-check-records.ts'
import { settleVersions } from './settle-versions.ts'
import { planCheck } from './verify-places.ts'
import type { CheckPlan } from './verify-places.ts'
import { hexOf } from './verify-records.ts'
import { WriterCheck } from './writer-check.ts'

export interface SessionExport {
  /** Lines without their newlines. To be read once. */
  readonly lines: AsyncIterable<string>
  /** What was taken out so far; final once the lines are read. */
  counts(): { readonly frames: number; readonly cleanedLines: number; readonly changes: number }
}

/** @throws StenoError `recording.not-found` when the lines are read and there is no such session */
export function exportSession(recording: OpenRecording, session: string, options: { readonly raw: boolean }): SessionExport {
  const counts = { frames: 0, cleanedLines: 0, changes: 0 }
  return { lines: exportLines(recording, session, options.raw, counts), counts: () => ({ ...counts }) }
}

async function* exportLines(recording: OpenRecording, session: string, raw: boolean, counts: { frames: number; cleanedLines: number; changes: number }): AsyncGenerator<string> {
  const summary = await recording.session(session)
  if (summary === undefined) throw new StenoError('recording.not-found', `no session '${session}' in '${recording.archive.name}'; 'steno list' shows what there is`)
  const { archive } = recording
  const plan = await settleVersions(archive, await planCheck(archive, new Set(summary.writers)))
  const runs: ExportedWriter[] = []
  for (const writer of summary.writers) {
    const run = await runOf(recording, plan, summary.id, writer)
    if (run !== undefined) runs.push(run)
  }
  yield exportHeader({ session: summary.id, cleaned: !raw || plan.exported?.cleaned === true, writers: runs })
  for (const run of runs) {
    const shown = recording.framesOf(summary.id, run.writer)[Symbol.asyncIterator]()
    try {
      yield* writerLines(recording, plan, run, shown, raw, counts)
    } finally {
      await shown.return?.()
    }
  }
}

/** From the session's first frame to the last one that the writer has recorded so far. */
async function runOf(recording: OpenRecording, plan: CheckPlan, session: string, writer: string): Promise<ExportedWriter | undefined> {
  let firstSeq = -1
  for await (const { frame } of recording.framesOf(session, writer)) {
    firstSeq = frame.seq
    break
  }
  if (firstSeq < 0) return undefined
  const check = new WriterCheck(writer, { mark: firstSeq, exported: plan.exported?.writers.find(each => each.writer === writer) })
  for await (const batch of inOrder(plan.places.get(writer) ?? [], place => readCheckRecords(recording.archive, plan, place, () => undefined))) for (const record of batch) check.take(record)
  return { writer, firstSeq, previous: check.markedHead, lastSeq: check.lastSeq, head: check.chainHead }
}

async function* writerLines(
  recording: OpenRecording,
  plan: CheckPlan,
  run: ExportedWriter,
  shown: AsyncIterator<StoredFrame>,
  raw: boolean,
  counts: { frames: number; cleanedLines: number; changes: number },
): AsyncGenerator<string> {
  const leaves = new LeafRun(run.writer)
  let next = await shown.next()
  let last = run.firstSeq - 1
  for await (const batch of inOrder(plan.places.get(run.writer) ?? [], place => readCheckRecords(recording.archive, plan, place, () => undefined))) {
    for (const record of batch) {
      if (record.type !== 'frame' || record.seq <= last || record.seq > run.lastSeq) continue
      last = record.seq
      const leaf = hexOf(record.leaf)
      if (next.done === true || next.value.frame.seq !== record.seq) {
        const line = leaves.add(record.seq, leaf)
        if (line !== undefined) yield line
        continue
      }
      const before = leaves.take()
      if (before !== undefined) yield before
      const out = raw ? { line: next.value.line, changes: 0 } : cleanedLine(next.value, leaf)
      counts.frames++
      counts.changes += out.changes
      if (out.changes > 0) counts.cleanedLines++
      yield out.line
      next = await shown.next()
    }
  }
  const rest = leaves.take()
  if (rest !== undefined) yield rest
}
