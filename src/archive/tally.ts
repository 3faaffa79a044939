/** What frames add to the counts of an exchange and of a session. Pure arithmetic over parsed frames. */

import type { ClientInfo, Frame, FrameOf, Identity } from '../record/frame.ts'

/** Most tool names kept per session. */
export const MAX_TOOLS = 100

export interface Tally {
  frames: number
  calls: number
  /** Answers that are errors. */
  errors: number
  /** 1 when the exchange ended with outcome error: counted only when none of its answers was. */
  failed: number
  denials: number
  bytes: number
  started: string
  last: string
  first: number
  newest: number
  ended: number
  /** seq of the newest `session.end`, -1 without one. */
  sessionEnd: number
  readonly tools: Set<string>
}

/** What frames say of a session. Of each the earliest counts, whichever is read first: nobody can rename a session afterwards. */
export interface SessionFacts {
  start?: From<{ readonly basis: string; readonly server: FrameOf<'session.start'>['server'] }>
  client?: From<ClientInfo>
  identity?: From<Identity>
}

export interface From<T> {
  readonly value: T
  /** Time and name of the frame; sorts by time. */
  readonly at: string
}

export function newTally(frame: Frame): Tally {
  return { frames: 0, calls: 0, errors: 0, failed: 0, denials: 0, bytes: 0, started: frame.time, last: frame.time, first: frame.seq, newest: frame.seq, ended: 0, sessionEnd: -1, tools: new Set() }
}

export function addFrame(tally: Tally, frame: Frame): void {
  tally.frames++
  if (frame.time < tally.started) tally.started = frame.time
  if (frame.time > tally.last) tally.last = frame.time
  if (frame.seq < tally.first) tally.first = frame.seq
  if (frame.seq > tally.newest) tally.newest = frame.seq
  switch (frame.kind) {
    case 'mcp':
      if (frame.type === 'request' && frame.from === 'client') tally.calls++
      if (isErrorAnswer(frame)) tally.errors++
      if (frame.method === 'tools/call' && frame.name !== undefined) addTool(tally, frame.name)
      tally.bytes += frame.bytes ?? 0
      break
    case 'body':
      if (frame.late !== undefined) addLate(tally, frame.late)
      tally.bytes += frame.bytes ?? 0
      break
    case 'http':
      tally.bytes += frame.bytes ?? 0
      break
    case 'exchange.end':
      tally.ended = 1
      if (frame.outcome === 'error' && frame.exchange !== undefined) tally.failed = 1
      if (frame.outcome === 'denied') tally.denials++
      break
    case 'session.end':
      // An end that names no session ends none: whose exchange it stands in may be known only later.
      if (frame.session !== undefined) tally.sessionEnd = Math.max(tally.sessionEnd, frame.seq)
      break
    // Kinds without counts of their own.
    case 'writer.start':
    case 'writer.stop':
    case 'session.start':
    case 'exchange.start':
    case 'gap':
    case 'access':
    case 'policy':
      break
  }
}

function addLate(tally: Tally, late: NonNullable<FrameOf<'body'>['late']>): void {
  if (late.isError === true || late.errorCode !== undefined) tally.errors++
  if (late.method === 'tools/call' && late.name !== undefined) addTool(tally, late.name)
}

/** Each answer counts once: an error object, or a result that says `isError`. */
function isErrorAnswer(frame: FrameOf<'mcp'>): boolean {
  return frame.type === 'response' && (frame.isError === true || frame.errorCode !== undefined)
}

function addTool(tally: Tally, name: string): void {
  if (tally.tools.size < MAX_TOOLS) tally.tools.add(name)
}

export function addTally(into: Tally, from: Tally): void {
  into.frames += from.frames
  into.calls += from.calls
  into.errors += from.errors
  into.failed = Math.max(into.failed, from.failed)
  into.denials += from.denials
  into.bytes += from.bytes
  if (from.started < into.started) into.started = from.started
  if (from.last > into.last) into.last = from.last
  into.first = Math.min(into.first, from.first)
  into.newest = Math.max(into.newest, from.newest)
  into.ended = Math.max(into.ended, from.ended)
  into.sessionEnd = Math.max(into.sessionEnd, from.sessionEnd)
  for (const tool of from.tools) addTool(into, tool)
}

/** Errors of one exchange: its error answers, or the exchange itself when it failed without one. */
export function errorsOf(tally: { readonly errors: number; readonly failed: number }): number {
  return tally.errors > 0 ? tally.errors : tally.failed
}

export function addFacts(facts: SessionFacts, frame: Frame): void {
  if (frame.kind !== 'session.start' && frame.kind !== 'exchange.start') return
  const at = `${frame.time} ${frame.writer} ${String(frame.seq).padStart(16, '0')}`
  if (frame.kind === 'session.start' && isEarlier(at, facts.start)) facts.start = { value: { basis: frame.basis, server: frame.server }, at }
  if (frame.client !== undefined && isEarlier(at, facts.client)) facts.client = { value: frame.client, at }
  if (frame.identity !== undefined && isEarlier(at, facts.identity)) facts.identity = { value: frame.identity, at }
}

function isEarlier(at: string, known: From<unknown> | undefined): boolean {
  return known === undefined || at < known.at
}
