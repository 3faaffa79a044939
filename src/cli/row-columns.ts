/** Rows of a session's timeline as lines of a table. A gap is one full-width line: what is missing, how much, why. */

import type { SessionSummary } from '../record/recording.ts'
import { rpcIdText } from '../record/rpc-id.ts'
import type { Row } from '../record/row.ts'
import { frameNamer } from './frame-ref.ts'
import type { Tone } from './paint.ts'
import { durationText, offsetText, sizeText } from './quantity.ts'
import type { Column } from './table.ts'

export function rowColumns(session: SessionSummary): readonly Column<Row>[] {
  const name = frameNamer(session)
  return [
    { title: 'FRAME', cell: row => name(row.frame) },
    { title: 'OFFSET', cell: row => `+${offsetText(row.offsetUs)}` },
    { title: 'TIME', cell: row => row.frame.time, wide: true },
    { title: 'FROM', cell: row => directionText(row) },
    { title: 'EXCHANGE', cell: row => row.frame.exchange, wide: true },
    { title: 'ID', cell: row => (row.rpcId === undefined ? undefined : rpcIdText(row.rpcId)), wide: true },
    { title: 'PAIR', cell: row => (row.pair === undefined ? undefined : name(row.pair)), wide: true },
    { title: 'KIND', cell: row => row.kind, tone: kindTone },
    { title: 'MESSAGE', cell: messageText, max: 44, tone: row => (row.isError ? 'bad' : undefined) },
    { title: 'SIZE', cell: row => (row.bytes === undefined ? '-' : sizeText(row.bytes)) },
    { title: 'LATENCY', cell: row => latencyText(row, session) },
  ]
}

/** Arrow and words: the arrow points where the message went. */
export function directionText(row: Row): string {
  return row.from === undefined ? '-' : row.from === 'client' ? 'client →' : '← server'
}

function kindTone(row: Row): Tone | undefined {
  if (row.isError) return 'bad'
  return row.kind === 'NTF' || row.kind === 'OPEN' || row.kind === 'CLOSE' ? 'dim' : undefined
}

export function messageText(row: Row): string {
  const { frame } = row
  switch (frame.kind) {
    case 'exchange.start':
      return `${frame.method} ${frame.target}`
    case 'exchange.end':
      return `${frame.outcome}${frame.status === 0 ? '' : ` ${frame.status}`}${row.note === undefined ? '' : `: ${row.note}`}`
    case 'session.start':
      return `${frame.server.name} (${frame.basis})`
    case 'http':
      return `${frame.contentType ?? 'body'}${row.note === undefined ? '' : `: ${row.note}`}`
    case 'mcp':
      return mcpText(row)
    default:
      return row.note ?? frame.kind
  }
}

function mcpText(row: Row): string {
  const call = [row.method ?? (row.type === 'response' ? 'answer' : 'message'), row.name].filter(each => each !== undefined).join(' ')
  const times = row.folded === undefined ? '' : ` ×${row.folded.length}`
  return `${call}${times}${row.isError ? `: ${errorText(row)}` : ''}`
}

export function errorText(row: Row): string {
  const code = row.errorCode === undefined ? 'isError' : String(row.errorCode)
  return row.note === undefined ? code : `${code} ${row.note}`
}

function latencyText(row: Row, session: SessionSummary): string {
  if (row.latencyUs !== undefined) return durationText(row.latencyUs)
  if (row.frame.kind === 'exchange.end') return durationText(row.frame.durationUs)
  return row.pending === true ? missingAnswer(session) : '-'
}

/** While a session lives, an answer may yet come. */
export function missingAnswer(session: SessionSummary): string {
  return session.state === 'live' ? 'pending' : 'no answer'
}

export function gapBanner(row: Row): string | undefined {
  const { frame } = row
  if (frame.kind !== 'gap') return undefined
  const much = [frame.count === undefined ? undefined : `${frame.count} ${frame.count === 1 ? 'frame' : 'frames'}`, frame.bytes === undefined ? undefined : sizeText(frame.bytes)]
  const where = frame.fromSeq === undefined ? undefined : `seq ${frame.fromSeq}${frame.toSeq === undefined || frame.toSeq === frame.fromSeq ? '' : ` to ${frame.toSeq}`}${frame.of === undefined ? '' : ` of ${frame.of}`}`
  const span = frame.fromTime === undefined ? undefined : `${frame.fromTime}${frame.toTime === undefined ? '' : ` to ${frame.toTime}`}`
  const what = [...much, where, span].filter(each => each !== undefined).join(', ')
  return `--- gap ${frame.seq}: ${what === '' ? 'something is' : what} missing: ${row.note ?? frame.reason} ---`
}

/** A row as data. */
export function rowData(row: Row): unknown {
  const { frame, found: _found, folded, pair, quiet: _quiet, ...rest } = row
  const { writer, seq, time, kind: frameKind, exchange, salt: _salt, elapsedUs: _elapsed, session: _session, ...fields } = frame
  return {
    frame: `${writer}.${seq}`,
    writer,
    seq,
    time,
    frameKind,
    ...(exchange === undefined ? {} : { exchange }),
    ...(frame.kind === 'mcp' ? {} : fields),
    ...rest,
    ...(pair === undefined ? {} : { pair: `${pair.writer}.${pair.seq}` }),
    ...(folded === undefined ? {} : { folded: folded.length }),
  }
}
