/**
 * Counts of exchanges and sessions of one batch, and how they go into the tables.
 * An exchange's frames that name no session belong to the session that another frame of the same (writer, exchange) names,
 * whichever of them is read first: until then they are counted as ungrouped, and moved when the name is known.
 */

import { UNGROUPED } from '../record/recording.ts'
import { UNGROUPED_ROW } from './catalog-schema.ts'
import { numberOf, textOf } from './catalog-statements.ts'
import type { CatalogStatements, Row } from './catalog-statements.ts'
import { addTally, errorsOf } from './tally.ts'
import type { SessionFacts, Tally } from './tally.ts'

interface StoredTally extends Tally {
  early?: { first: number; last: number }
}

interface Delta {
  exchanges: number
  calls: number
  errors: number
  denials: number
  frames: number
  bytes: number
  started: string
  last: string
  readonly tools: Set<string>
  readonly writers: Map<number, { first: number; last: number; lastTime: string; end: number }>
}

const LATEST = '9999'

export class SessionCounts {
  readonly #sql: CatalogStatements
  readonly #rows = new Map<string, number>()
  /** writer → exchange (or -1 for frames outside one) → session → tally */
  #pending = new Map<number, Map<number, Map<number, Tally>>>()
  #deltas = new Map<number, Delta>()

  constructor(sql: CatalogStatements) {
    this.#sql = sql
    this.sessionRow(UNGROUPED, LATEST)
  }

  /** Row of a session; made when it is new. The ungrouped one is made first, so it has row 1. */
  sessionRow(name: string, time: string): number {
    const known = this.#rows.get(name)
    if (known !== undefined) return known
    const row = this.#sql.sessionId.get(name) ?? this.#sql.newSession.get(name, time, time === LATEST ? '' : time)
    const id = numberOf(row, 'id')
    if (this.#rows.size > 200_000) this.#rows.clear()
    this.#rows.set(name, id)
    return id
  }

  tally(writer: number, exchange: number | undefined, session: number, make: () => Tally): Tally {
    const exchanges = this.#pending.get(writer) ?? new Map<number, Map<number, Tally>>()
    this.#pending.set(writer, exchanges)
    const sessions = exchanges.get(exchange ?? -1) ?? new Map<number, Tally>()
    exchanges.set(exchange ?? -1, sessions)
    const tally = sessions.get(session) ?? make()
    sessions.set(session, tally)
    return tally
  }

  flush(facts: ReadonlyMap<number, SessionFacts>): void {
    for (const [writer, exchanges] of this.#pending) {
      for (const [exchange, sessions] of exchanges) {
        if (exchange < 0) for (const [session, tally] of sessions) this.#change(session, writer, undefined, tally)
        else this.#putExchange(writer, exchange, sessions)
      }
    }
    this.#pending = new Map()
    const ungrouped = this.#deltas.has(UNGROUPED_ROW)
    for (const [session, delta] of this.#deltas) this.#putDelta(session, delta)
    this.#deltas = new Map()
    for (const [session, each] of facts) this.#putFacts(session, each)
    if (ungrouped) this.#recountUngrouped()
  }

  #putFacts(session: number, { start, client, identity }: SessionFacts): void {
    if (start !== undefined) {
      const { basis, server } = start.value
      this.#sql.putStart.run(basis, server.name, server.workload ?? null, server.pod ?? null, start.at, session, start.at)
    }
    if (client !== undefined) this.#sql.putClient.run(JSON.stringify(client.value), client.at, session, client.at)
    if (identity !== undefined) this.#sql.putIdentity.run(JSON.stringify(identity.value), identity.at, session, identity.at)
  }

  #putExchange(writer: number, exchange: number, fresh: ReadonlyMap<number, Tally>): void {
    const stored = new Map<number, StoredTally>(this.#sql.exchangeRows.all(writer, exchange).map(row => [numberOf(row, 'session'), tallyOf(row)]))
    const after = new Map<number, StoredTally>()
    for (const [session, tally] of stored) after.set(session, { ...tally, tools: new Set(tally.tools) })
    for (const [session, tally] of fresh) {
      const before = after.get(session)
      if (before === undefined) after.set(session, tally)
      else addTally(before, tally)
    }
    const early = after.get(UNGROUPED_ROW)
    const named = [...after.keys()].find(session => session !== UNGROUPED_ROW)
    if (early !== undefined && named !== undefined) {
      const owner = after.get(named) as StoredTally
      addTally(owner, early)
      owner.early = { first: Math.min(owner.early?.first ?? early.first, early.first), last: Math.max(owner.early?.last ?? early.newest, early.newest) }
      after.delete(UNGROUPED_ROW)
    }
    for (const session of stored.keys()) {
      if (after.has(session)) continue
      this.#sql.dropExchange.run(writer, exchange, session)
      this.#change(session, writer, stored.get(session), undefined)
    }
    for (const [session, tally] of after) {
      const t = tally
      const tools = session === UNGROUPED_ROW && t.tools.size > 0 ? JSON.stringify([...t.tools]) : null
      this.#sql.putExchange.run(writer, exchange, session, t.frames, t.calls, t.errors, t.failed, t.denials, t.bytes, t.started, t.last, t.first, t.newest, t.ended, tools, t.early?.first ?? null, t.early?.last ?? null)
      this.#change(session, writer, stored.get(session), tally, 1)
    }
  }

  /** Adds the difference between two states of a tally to its session. `exchanges`: what one tally counts for. */
  #change(session: number, writer: number, before: Tally | undefined, after: Tally | undefined, exchanges = before === undefined ? 0 : 1): void {
    const delta = this.#delta(session)
    for (const [tally, sign] of [[before, -1], [after, 1]] as const) {
      if (tally === undefined) continue
      delta.exchanges += sign * exchanges
      delta.calls += sign * tally.calls
      delta.errors += sign * errorsOf(tally)
      delta.denials += sign * tally.denials
      delta.frames += sign * tally.frames
      delta.bytes += sign * tally.bytes
    }
    if (after === undefined) return
    if (after.started < delta.started) delta.started = after.started
    if (after.last > delta.last) delta.last = after.last
    for (const tool of after.tools) delta.tools.add(tool)
    const span = delta.writers.get(writer)
    if (span === undefined) delta.writers.set(writer, { first: after.first, last: after.newest, lastTime: after.last, end: after.sessionEnd })
    else {
      span.first = Math.min(span.first, after.first)
      span.last = Math.max(span.last, after.newest)
      if (after.last > span.lastTime) span.lastTime = after.last
      span.end = Math.max(span.end, after.sessionEnd)
    }
  }

  #delta(session: number): Delta {
    const known = this.#deltas.get(session)
    if (known !== undefined) return known
    const delta = { exchanges: 0, calls: 0, errors: 0, denials: 0, frames: 0, bytes: 0, started: LATEST, last: '', tools: new Set<string>(), writers: new Map() }
    this.#deltas.set(session, delta)
    return delta
  }

  #putDelta(session: number, delta: Delta): void {
    this.#sql.addSession.run(delta.exchanges, delta.calls, delta.errors, delta.denials, delta.frames, delta.bytes, delta.started, delta.last, session)
    for (const [writer, span] of delta.writers) this.#sql.putSessionWriter.run(session, writer, span.first, span.last, span.lastTime, span.end)
    for (const tool of delta.tools) this.#sql.putTool.run(session, tool, session)
  }

  /** What moved away must not stretch the time of what stayed, nor leave its tools behind. */
  #recountUngrouped(): void {
    const span = this.#sql.ungroupedSpan.get()
    if (span === undefined) return
    this.#sql.setSpan.run(textOf(span, 'started') ?? LATEST, textOf(span, 'last') ?? '', UNGROUPED_ROW)
    this.#sql.dropUngroupedWriters.run()
    this.#sql.ungroupedWriters.run()
    this.#sql.dropUngroupedTools.run()
    this.#sql.ungroupedTools.run()
  }
}

function tallyOf(row: Row): StoredTally {
  const tools = textOf(row, 'tools')
  const tally: StoredTally = {
    frames: numberOf(row, 'frames'),
    calls: numberOf(row, 'calls'),
    errors: numberOf(row, 'errors'),
    failed: numberOf(row, 'failed'),
    denials: numberOf(row, 'denials'),
    bytes: numberOf(row, 'bytes'),
    started: textOf(row, 'started') ?? LATEST,
    last: textOf(row, 'last') ?? '',
    first: numberOf(row, 'first'),
    newest: numberOf(row, 'newest'),
    ended: numberOf(row, 'ended'),
    // It stands outside of every exchange.
    sessionEnd: -1,
    tools: new Set(tools === undefined ? [] : (JSON.parse(tools) as string[])),
  }
  return typeof row['early_first'] === 'number' ? { ...tally, early: { first: row['early_first'], last: numberOf(row, 'early_last') } } : tally
}
