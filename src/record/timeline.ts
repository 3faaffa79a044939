/**
 * Frames of one session to the rows that people read: requests and answers paired, latencies measured, parts of bodies merged.
 * Takes frames one by one in the order of the recording and keeps no body.
 */

import { errorNote, withoutBody } from './body-text.ts'
import type { Frame, FrameOf } from './frame.ts'
import { Pairing } from './pairing.ts'
import { rowKind } from './row.ts'
import type { Row } from './row.ts'
import { timeUs } from './timestamp.ts'

export interface Timeline {
  add(frame: Frame): void
  /** All rows so far, in order. */
  rows(): readonly Row[]
}

type Draft = { -readonly [K in keyof Row]: Row[K] } & {
  readonly found: Set<string>
  /** When the body was whole. */
  endUs: number
  request?: Draft
  /** End of the text so far, while the body goes on: a needle may stand across two parts. */
  tail?: string
}

/** @param needles texts to look for, in lower case: `needlesOf` of a query */
export function createTimeline(needles: readonly string[] = []): Timeline {
  const drafts: Draft[] = []
  const open = new Map<string, Draft>()
  /** Exchanges whose opening and end say nothing more: a message of the client tells it. */
  const told = new Set<string>()
  const clock = createSessionClock()
  const pairing = new Pairing<Draft>()
  const overlap = Math.max(1, ...needles.map(needle => needle.length)) - 1

  function look(row: Draft, text: string): void {
    if (needles.length === 0) return
    const lower = text.toLowerCase()
    for (const needle of needles) if (lower.includes(needle)) row.found.add(needle)
  }

  function lookOn(row: Draft, text: string): void {
    const joined = (row.tail ?? '') + text
    look(row, joined)
    row.tail = overlap === 0 ? '' : joined.slice(-overlap)
  }

  function pair(row: Draft): void {
    if (row.type === 'request' && row.pair === undefined) pairing.addRequest(row)
    if (row.type !== 'response' || row.request !== undefined) return
    const request = pairing.takeRequest(row)
    if (request === undefined) return
    row.request = request
    row.pair = { writer: request.frame.writer, seq: request.frame.seq }
    request.pair = { writer: row.frame.writer, seq: row.frame.seq }
  }

  /** @returns false when the frame that it continues was never seen. */
  function addPart(part: FrameOf<'body'>, offsetUs: number): boolean {
    const key = `${part.writer} ${part.of}`
    const row = open.get(key)
    if (row === undefined) return false
    row.parts += 1
    row.endUs = offsetUs
    lookOn(row, part.body ?? '')
    if (part.last !== true) return true
    open.delete(key)
    if (part.bytes !== undefined) row.bytes = part.bytes
    const wasPairable = row.rpcId !== undefined
    Object.assign(row, part.late)
    for (const text of [part.late?.method, part.late?.name]) if (text !== undefined) look(row, text)
    if (part.late !== undefined && !wasPairable) pair(row)
    return true
  }

  return {
    add: frame => {
      const offsetUs = clock(frame)
      if (frame.kind === 'body' && addPart(frame, offsetUs)) return
      const row = draft(frame, offsetUs)
      drafts.push(row)
      if (row.from === 'client') told.add(exchangeKey(frame))
      look(row, ownText(frame))
      if ('body' in frame) lookOn(row, frame.body ?? '')
      if ((frame.kind === 'mcp' || frame.kind === 'http') && frame.more === true) open.set(`${frame.writer} ${frame.seq}`, row)
      if (frame.kind === 'mcp') pair(row)
    },
    rows: () => drafts.map(each => settle(each, told)),
  }
}

function draft(frame: Frame, offsetUs: number): Draft {
  const row: Draft = { frame: withoutBody(frame), offsetUs, endUs: offsetUs, kind: 'OTHER', isError: false, parts: 1, quiet: false, found: new Set() }
  if (frame.kind === 'mcp') {
    const { type, from, method, name, rpcId, errorCode, isError } = frame
    const known = { type, from, method, name, rpcId, errorCode, isError: isError ?? false }
    for (const [key, value] of Object.entries(known)) if (value !== undefined) Object.assign(row, { [key]: value })
  }
  if (frame.kind === 'http') row.from = frame.from
  if ('bytes' in frame && frame.kind !== 'gap' && frame.bytes !== undefined) row.bytes = frame.bytes
  const note = noteOf(frame)
  if (note !== undefined) row.note = note
  return row
}

/** What only the whole session tells, put into the row. The draft stays as it is: more frames may come. */
function settle(row: Draft, told: ReadonlySet<string>): Row {
  const { endUs, request, tail: _tail, ...rest } = row
  const { frame } = row
  const method = row.method ?? request?.method
  const name = row.name ?? request?.name
  const isError = frame.kind === 'mcp' ? row.type === 'response' && (row.isError || row.errorCode !== undefined) : frame.kind === 'exchange.end' && frame.outcome === 'error'
  const quiet = (frame.kind === 'exchange.start' || (frame.kind === 'exchange.end' && frame.outcome === 'ok')) && told.has(exchangeKey(frame))
  return {
    ...rest,
    kind: rowKind(frame, row.type, isError),
    isError,
    quiet,
    ...(method === undefined ? {} : { method }),
    ...(name === undefined ? {} : { name }),
    ...(method === 'tools/call' && name !== undefined ? { tool: name } : {}),
    ...(request === undefined ? {} : { latencyUs: Math.max(0, endUs - request.offsetUs) }),
    ...(row.type === 'request' && row.rpcId !== undefined && row.pair === undefined ? { pending: true as const } : {}),
  }
}

function noteOf(frame: Frame): string | undefined {
  if (frame.kind === 'mcp') return frame.isError === true || frame.errorCode !== undefined ? errorNote(frame.body) : undefined
  if (frame.kind === 'exchange.end' || frame.kind === 'http' || frame.kind === 'session.end' || frame.kind === 'writer.stop') return frame.reason
  if (frame.kind === 'gap') return frame.detail === undefined ? frame.reason : `${frame.reason}: ${frame.detail}`
  if (frame.kind === 'access') return accessNote(frame)
  if (frame.kind === 'policy') return policyNote(frame)
  return undefined
}

function accessNote({ user, action, namespace, pod, container, program, image, allowed, reason }: FrameOf<'access'>): string {
  const where = `${namespace}/${pod}${container === undefined ? '' : `/${container}`}`
  const what = program ?? image
  return `${user}: ${action} ${where}${what === undefined ? '' : ` (${what})`}${allowed ? '' : `, refused${reason === undefined ? '' : `: ${reason}`}`}`
}

function policyNote({ name, hash, changed, pending = [] }: FrameOf<'policy'>): string {
  const what = changed.length === 0 ? '' : `: ${changed.join(', ')} changed`
  return `${name} (${hash})${what}${pending.length === 0 ? '' : `; ${pending.join(', ')} not before a restart`}`
}

/** Text of a frame that a reader sees beside its body. */
function ownText(frame: Frame): string {
  switch (frame.kind) {
    case 'mcp':
      return `${frame.method ?? ''}\n${frame.name ?? ''}`
    case 'exchange.start':
      return `${frame.method} ${frame.target}`
    case 'session.start':
      return `${frame.server.name}\n${frame.client?.name ?? ''}`
    default:
      return noteOf(frame) ?? ''
  }
}

function exchangeKey(frame: Frame): string {
  return `${frame.writer} ${frame.exchange ?? ''}`
}

/**
 * Recorded time since the first frame. Measured by the monotonic clock of each writer; the wall clock only tells how writers lie to
 * one another.
 */
function createSessionClock(): (frame: Frame) => number {
  let startUs: number | undefined
  const writers = new Map<string, number>()
  return frame => {
    const now = timeUs(frame.time)
    startUs ??= now
    let bootUs = writers.get(frame.writer)
    if (bootUs === undefined) {
      bootUs = now - startUs - frame.elapsedUs
      writers.set(frame.writer, bootUs)
    }
    return Math.max(0, bootUs + frame.elapsedUs)
  }
}
