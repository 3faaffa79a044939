/** `show --paired`: a request and its answer on one line. */

import type { SessionSummary } from '../record/recording.ts'
import type { FrameRef, Row } from '../record/row.ts'
import { frameNamer } from './frame-ref.ts'
import { durationText, offsetText } from './quantity.ts'
import { directionText, errorText, messageText, missingAnswer } from './row-columns.ts'
import type { Column } from './table.ts'

/** Columns for rows of requests. @param all every row of the session, to find the answers in */
export function pairColumns(session: SessionSummary, all: readonly Row[]): readonly Column<Row>[] {
  const name = frameNamer(session)
  const rows = new Map(all.map(row => [refKey(row.frame), row]))
  const answer = (row: Row): Row | undefined => (row.pair === undefined ? undefined : rows.get(refKey(row.pair)))
  return [
    { title: 'FRAME', cell: row => name(row.frame) },
    { title: 'ANSWER', cell: row => (row.pair === undefined ? undefined : name(row.pair)) },
    { title: 'OFFSET', cell: row => `+${offsetText(row.offsetUs)}` },
    { title: 'FROM', cell: directionText },
    { title: 'REQUEST', cell: messageText, max: 36 },
    { title: 'RESULT', cell: row => resultText(answer(row), session), max: 30, tone: row => (answer(row)?.isError === true ? 'bad' : undefined) },
    { title: 'LATENCY', cell: row => latency(answer(row)) },
  ]
}

function resultText(answer: Row | undefined, session: SessionSummary): string {
  if (answer === undefined) return missingAnswer(session)
  return answer.isError ? errorText(answer) : 'ok'
}

function latency(answer: Row | undefined): string {
  return answer?.latencyUs === undefined ? '-' : durationText(answer.latencyUs)
}

function refKey(ref: FrameRef): string {
  return `${ref.writer} ${ref.seq}`
}
