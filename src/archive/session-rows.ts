/** Sessions as the catalog knows them: rows to summaries, filters to SQL, and the state that gaps and ended writers give a session. */

import type { DatabaseSync, StatementSync } from 'node:sqlite'

import { StenoError } from '../errors.ts'
import type { ClientInfo, Identity, SessionBasis } from '../record/frame.ts'
import { UNGROUPED } from '../record/recording.ts'
import type { SessionFilter, SessionState, SessionSummary } from '../record/recording.ts'
import { UNGROUPED_ROW } from './catalog-schema.ts'
import { numberOf, textOf } from './catalog-statements.ts'
import type { Row } from './catalog-statements.ts'

/**
 * A writer ends every session that was quiet for 30 minutes. One that has neither stopped nor written for longer
 * was cut, or its latest segments are not here.
 */
const LIVE_MS = 35 * 60_000

export interface GapRow {
  readonly by: string
  readonly seq: number
}

export class SessionRows {
  readonly #database: DatabaseSync
  readonly #statements = new Map<string, StatementSync>()

  constructor(database: DatabaseSync) {
    this.#database = database
  }

  page(page: { readonly filter?: SessionFilter; readonly limit: number; readonly after?: string }, nowMs: number): readonly SessionSummary[] {
    const where = ['frames > 0']
    const values: (string | number)[] = []
    const { workload, tool, errors, sinceMs } = page.filter ?? {}
    if (workload !== undefined) {
      where.push('(workload = ? or server = ?)')
      values.push(workload, workload)
    }
    if (tool !== undefined) {
      where.push('id in (select session from session_tool where tool = ?)')
      values.push(tool)
    }
    if (errors === true) where.push('errors > 0')
    if (sinceMs !== undefined) {
      where.push('last >= ?')
      values.push(new Date(sinceMs).toISOString())
    }
    if (page.after !== undefined) {
      where.push('(started, name) < (select started, name from session where name = ?)')
      values.push(page.after)
    }
    const rows = this.#prepare(`select * from session where ${where.join(' and ')} order by started desc, name desc limit ?`).all(...values, page.limit)
    return rows.map(row => this.#summary(row, nowMs))
  }

  find(idOrPrefix: string, nowMs: number): SessionSummary | undefined {
    const exact = this.#prepare('select * from session where name = ? and frames > 0').get(idOrPrefix)
    if (exact !== undefined) return this.#summary(exact, nowMs)
    if (idOrPrefix === '') return undefined
    const rows = this.#prepare('select * from session where name >= ? and name < ? and frames > 0 limit 2').all(idOrPrefix, `${idOrPrefix}\u{10ffff}`)
    if (rows.length > 1) throw new StenoError('usage.invalid', `more than one session begins with '${idOrPrefix}'; give more of its name`)
    return rows[0] === undefined ? undefined : this.#summary(rows[0], nowMs)
  }

  rowOf(session: string): number | undefined {
    const row = this.#prepare('select id from session where name = ?').get(session)
    return row === undefined ? undefined : numberOf(row, 'id')
  }

  /**
   * Gaps that touch a session: its own, and those of its writers that fall into its frames or its time.
   * A gap that says neither where nor when, and one after the last frame of a session without an end, may hide some of it.
   */
  gaps(session: number): readonly GapRow[] {
    const rows = this.#prepare(`
      select g.by_writer, g.seq from gap g join session s on s.id = ?1 where g.session = s.name
      union
      select g.by_writer, g.seq from session s join session_writer sw on sw.session = s.id join writer w on w.id = sw.writer join gap g on g.writer = w.name
      where s.id = ?1 and g.session is null and case
        when g.from_seq is not null then g.from_seq <= (case when ?2 then sw.last else 9e15 end) and coalesce(g.to_seq, 9e15) >= sw.first
        when g.from_time is null and g.writer <> g.by_writer then not ?2
        else coalesce(g.from_time, g.time) <= (case when ?2 then s.last else '9999' end) and coalesce(g.to_time, g.time) >= s.started end`).all(session, this.#isEnded(session) ? 1 : 0)
    return rows.map(row => ({ by: textOf(row, 'by_writer') ?? '', seq: numberOf(row, 'seq') }))
  }

  /** Ended: where it was seen last, `session.end` was the last of it. A recorder that starts again, or another replica, may have gone on with it. */
  #isEnded(session: number): boolean {
    return this.#prepare(`
      select 1 from session_writer e where e.session = ?1 and e.session_end = e.last
      and not exists (select 1 from session_writer o where o.session = ?1 and o.writer <> e.writer and o.last_time > e.last_time)`).get(session) !== undefined
  }

  #summary(row: Row, nowMs: number): SessionSummary {
    const id = numberOf(row, 'id')
    const writers = this.#prepare('select w.name, w.stopped, w.over, w.last_time from session_writer sw join writer w on w.id = sw.writer where sw.session = ? order by w.name').all(id)
    const tools = this.#prepare('select tool from session_tool where session = ? order by tool').all(id)
    const gaps = this.gaps(id).length
    const running = writers.some(each => numberOf(each, 'stopped') === 0 && numberOf(each, 'over') === 0 && Date.parse(textOf(each, 'last_time') ?? '') > nowMs - LIVE_MS)
    return {
      id: textOf(row, 'name') ?? UNGROUPED,
      ...optional(row),
      state: id === UNGROUPED_ROW ? this.#ungroupedState(gaps, running) : stateOf({ ended: this.#isEnded(id), gaps, running }),
      started: textOf(row, 'started') ?? '',
      lastSeen: textOf(row, 'last') ?? '',
      exchanges: numberOf(row, 'exchanges'),
      calls: numberOf(row, 'calls'),
      errors: numberOf(row, 'errors'),
      denials: numberOf(row, 'denials'),
      gaps,
      frames: numberOf(row, 'frames'),
      bytes: numberOf(row, 'bytes'),
      tools: tools.map(each => textOf(each, 'tool') ?? ''),
      writers: writers.map(each => textOf(each, 'name') ?? ''),
    }
  }

  /** Ungrouped exchanges have no end of their own: they are over when each of them is. */
  #ungroupedState(gaps: number, running: boolean): SessionState {
    const open = this.#prepare('select count(*) n from exchange where session = 1 and ended = 0').get()
    if (gaps > 0) return 'incomplete'
    return numberOf(open, 'n') === 0 ? 'ended' : running ? 'live' : 'incomplete'
  }

  #prepare(sql: string): StatementSync {
    const known = this.#statements.get(sql)
    if (known !== undefined) return known
    const statement = this.#database.prepare(sql)
    this.#statements.set(sql, statement)
    return statement
  }
}

/** A gap outweighs an end: a session with something missing is never shown as whole. */
function stateOf(facts: { readonly ended: boolean; readonly gaps: number; readonly running: boolean }): SessionState {
  if (facts.gaps > 0) return 'incomplete'
  if (facts.ended) return 'ended'
  return facts.running ? 'live' : 'incomplete'
}

function optional(row: Row): Partial<SessionSummary> {
  const parse = <T>(column: string): T | undefined => {
    const text = textOf(row, column)
    return text === undefined ? undefined : (JSON.parse(text) as T)
  }
  const all = {
    basis: textOf(row, 'basis') as SessionBasis | undefined,
    server: textOf(row, 'server'),
    workload: textOf(row, 'workload'),
    pod: textOf(row, 'pod'),
    client: parse<ClientInfo>('client'),
    identity: parse<Identity>('identity'),
  }
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined))
}
