/** The catalog's prepared statements for taking frames in. Counts only ever grow, except where an exchange finds its session. */

import type { DatabaseSync, StatementSync } from 'node:sqlite'

export type Row = Readonly<Record<string, unknown>>

/** A number of a row; 0 when there is no row. The tables are ours and typed, so anything else is a fault of ours. */
export function numberOf(row: Row | undefined, column: string): number {
  if (row === undefined) return 0
  const value = row[column]
  if (typeof value !== 'number') throw new TypeError(`column '${column}' of the catalog is no number`)
  return value
}

export function textOf(row: Row, column: string): string | undefined {
  const value = row[column]
  return typeof value === 'string' ? value : undefined
}

const STATEMENTS = {
  progress: 'select next_offset, skip from object where name = ?',
  putObject: `insert into object (name, size, modified, next_offset, skip, tail) values (?, ?, ?, ?, ?, ?)
    on conflict (name) do update set size = excluded.size, modified = excluded.modified, next_offset = excluded.next_offset, skip = excluded.skip, tail = excluded.tail
    returning id`,
  putFinding: 'insert into finding values (?, ?, ?, ?, ?)',
  dropFindings: 'delete from finding where object = ? and at >= ?',
  countFindings: 'select count(*) n from finding where object = ?',
  putWriter: `insert into writer (name, frames, last_time, stopped, over) values (?, 0, '', 0, 0) on conflict (name) do update set name = name returning id`,
  addWriter: 'update writer set frames = frames + ?, last_time = max(last_time, ?), stopped = max(stopped, ?) where id = ?',
  writerOver: `insert into writer (name, frames, last_time, stopped, over) values (?, 0, '', 0, 1) on conflict (name) do update set over = 1`,
  covered: 'select first, last from covered where writer = ? order by first',
  dropCovered: 'delete from covered where writer = ? and first = ?',
  putCovered: 'insert or replace into covered values (?, ?, ?)',
  putPlace: `insert into place (object, at, upto, plain, writer, first, last, sorted) values (?, ?, ?, ?, ?, ?, ?, ?)
    on conflict (object, at, writer) do update set sorted = min(sorted, excluded.sorted, last < excluded.first),
    first = min(first, excluded.first), last = max(last, excluded.last) returning id`,
  putPlaceSession: 'insert or ignore into place_session values (?, ?)',
  putGap: 'insert or ignore into gap values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
  sessionId: 'select id from session where name = ?',
  newSession: `insert into session (name, started, last, exchanges, calls, errors, denials, frames, bytes) values (?, ?, ?, 0, 0, 0, 0, 0, 0) returning id`,
  addSession: `update session set exchanges = exchanges + ?, calls = calls + ?, errors = errors + ?, denials = denials + ?, frames = frames + ?,
    bytes = bytes + ?, started = min(started, ?), last = max(last, ?) where id = ?`,
  putStart: 'update session set basis = ?, server = ?, workload = ?, pod = ?, start_at = ? where id = ? and start_at > ?',
  putClient: 'update session set client = ?, client_at = ? where id = ? and client_at > ?',
  putIdentity: 'update session set identity = ?, identity_at = ? where id = ? and identity_at > ?',
  putSessionWriter: `insert into session_writer values (?, ?, ?, ?, ?, ?) on conflict (session, writer) do update set first = min(first, excluded.first), last = max(last, excluded.last),
    last_time = max(last_time, excluded.last_time), session_end = max(session_end, excluded.session_end)`,
  putTool: `insert or ignore into session_tool select ?, ? where (select count(*) from session_tool where session = ?) < 100`,
  exchangeRows: 'select * from exchange where writer = ? and number = ?',
  putExchange: 'insert or replace into exchange values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
  dropExchange: 'delete from exchange where writer = ? and number = ? and session = ?',
  ungroupedSpan: `select min(started) started, max(last) last, count(*) n from (select started, last from exchange where session = 1)`,
  setSpan: 'update session set started = ?, last = ? where id = ?',
  dropUngroupedWriters: 'delete from session_writer where session = 1',
  ungroupedWriters: 'insert into session_writer select 1, writer, min(first), max(newest), max(last), -1 from exchange where session = 1 group by writer',
  dropUngroupedTools: 'delete from session_tool where session = 1',
  ungroupedTools: 'insert or ignore into session_tool select distinct 1, value from exchange, json_each(tools) where session = 1 and tools is not null order by value limit 100',
} as const

export type CatalogStatements = Readonly<Record<keyof typeof STATEMENTS, StatementSync>>

export function catalogStatements(database: DatabaseSync): CatalogStatements {
  const prepared = Object.entries(STATEMENTS).map(([name, sql]) => [name, database.prepare(sql)])
  return Object.fromEntries(prepared) as CatalogStatements
}
