/**
 * The filter language of command line, console and addresses: `tool:search -kind:ntf error method:tools/call "some text"`.
 * Terms are AND-ed, `-` negates, a comma lists alternatives, `*` stands for anything in a tool or method. Pure and total: a bad query is a reason, never an exception.
 */

import type { RpcId, Side } from './frame.ts'
import { rpcIdText } from './rpc-id.ts'

const QUERY_KEYS = ['tool', 'method', 'kind', 'from', 'error', 'seq', 'exchange', 'id', 'text'] as const
export type QueryKey = (typeof QUERY_KEYS)[number]

export interface QueryTerm {
  readonly key: QueryKey
  /** Empty only for the bare word `error`. */
  readonly values: readonly string[]
  readonly negated: boolean
}

export interface Query {
  readonly terms: readonly QueryTerm[]
}

export type ParsedQuery = { readonly query: Query } | { readonly reason: string }

/** What a query looks at. A timeline's row is one. */
export interface QuerySubject {
  readonly frame: { readonly writer: string; readonly seq: number; readonly kind: string; readonly exchange?: number }
  readonly type?: 'request' | 'response' | 'notification'
  readonly from?: Side
  readonly method?: string
  readonly tool?: string
  readonly rpcId?: RpcId
  readonly isError: boolean
  readonly errorCode?: number
  /** Those needles of the query that stand in the text of the frame, in lower case. */
  readonly found: ReadonlySet<string>
}

const TYPE_OF_KIND: Readonly<Record<string, string>> = { req: 'request', res: 'response', ntf: 'notification' }
/** What `kind:` takes: types of messages, `err` for errors of any kind, and kinds of frames without what follows their dot. */
export const QUERY_KINDS = ['req', 'res', 'ntf', 'err', 'mcp', 'http', 'exchange', 'session', 'writer', 'body', 'gap', 'access', 'policy']
const RANGE = /^(\d*)(\.\.)?(\d*)$/
const WORD = /-?(?:[A-Za-z]+:)?"(?:[^"\\]|\\.)*"(?=\s|$)|\S+/g
const PARTS = /^(-?)(?:([A-Za-z]+):)?(.*)$/s

export function parseQuery(text: string): ParsedQuery {
  const terms: QueryTerm[] = []
  for (const word of text.match(WORD) ?? []) {
    const [, minus = '', key, rest = ''] = PARTS.exec(word) ?? []
    if (rest.startsWith('"') && !(rest.length > 1 && rest.endsWith('"'))) return { reason: `a quote is not closed, or something stands right after it: ${word}` }
    if (rest === '') return { reason: key === undefined ? `'-' negates nothing; write the term right after it` : `'${key}:' has no value` }
    const term = rest.startsWith('"') ? quotedTerm(key, rest.slice(1, -1).replace(/\\(.)/gs, '$1')) : toTerm(key, rest)
    if ('reason' in term) return term
    terms.push({ ...term, negated: minus === '-' })
  }
  return { query: { terms } }
}

type Unsigned = Omit<QueryTerm, 'negated'>

function quotedTerm(key: string | undefined, value: string): Unsigned | { reason: string } {
  if (value === '') return { reason: 'an empty text matches nothing; leave it out' }
  return key === undefined ? { key: 'text', values: [value.toLowerCase()] } : keyedTerm(key, [value])
}

function toTerm(key: string | undefined, plain: string): Unsigned | { reason: string } {
  if (key !== undefined) return keyedTerm(key, key === 'text' ? [plain] : plain.split(',').filter(each => each !== ''))
  return plain === 'error' ? { key: 'error', values: [] } : { key: 'text', values: [plain.toLowerCase()] }
}

function keyedTerm(key: string, values: readonly string[]): Unsigned | { reason: string } {
  if (!isKey(key)) return { reason: `unknown key '${key}'; use ${QUERY_KEYS.join(', ')}, or put text with a colon in quotes` }
  if (values.length === 0) return { reason: `'${key}:' has no value` }
  for (const value of values) {
    const problem = valueProblem(key, value)
    if (problem !== undefined) return { reason: problem }
  }
  return { key, values: key === 'kind' || key === 'text' || key === 'from' ? values.map(each => each.toLowerCase()) : values }
}

function isKey(key: string): key is QueryKey {
  return (QUERY_KEYS as readonly string[]).includes(key)
}

function valueProblem(key: QueryKey, value: string): string | undefined {
  if (key === 'kind' && !QUERY_KINDS.includes(value.toLowerCase().replace(/\.(start|stop|end)$/, ''))) return `unknown kind '${value}'; use ${QUERY_KINDS.join(', ')}`
  if (key === 'from' && !/^(client|server)$/i.test(value)) return `'from:${value}' is neither client nor server`
  if (key === 'error' && !/^-?\d+$/.test(value)) return `'error:${value}' is no error code; write error alone for every error`
  if (key === 'exchange' && !isRange(value)) return `'exchange:${value}' is neither a number nor a range like 3..9`
  if (key === 'seq' && !isRange(value) && !/^[^.].*[^.]\.\d+$/.test(value)) return `'seq:${value}' is neither a number, a range like 3..9, nor WRITER.SEQ`
  return undefined
}

function isRange(text: string): boolean {
  return RANGE.test(text) && /\d/.test(text)
}

/** Texts that the caller must look for in each frame to fill `found`. */
export function needlesOf(query: Query): readonly string[] {
  return [...new Set(query.terms.filter(term => term.key === 'text').flatMap(term => term.values))]
}

/** A query without terms matches everything. */
export function matchesQuery(query: Query, subject: QuerySubject): boolean {
  return query.terms.every(term => matchesTerm(term, subject) !== term.negated)
}

function matchesTerm(term: QueryTerm, subject: QuerySubject): boolean {
  if (term.values.length === 0) return subject.isError
  return term.values.some(value => matchesValue(term.key, value, subject))
}

function matchesValue(key: QueryKey, value: string, subject: QuerySubject): boolean {
  switch (key) {
    case 'tool':
      return subject.tool !== undefined && matchesGlob(value, subject.tool)
    case 'method':
      return subject.method !== undefined && matchesGlob(value, subject.method)
    case 'kind':
      return matchesKind(value, subject)
    case 'from':
      return subject.from === value
    case 'error':
      return subject.isError && subject.errorCode === Number(value)
    case 'seq':
      return value === `${subject.frame.writer}.${subject.frame.seq}` || inRange(value, subject.frame.seq)
    case 'exchange':
      return subject.frame.exchange !== undefined && inRange(value, subject.frame.exchange)
    case 'id':
      return subject.rpcId !== undefined && rpcIdText(subject.rpcId) === value
    case 'text':
      return subject.found.has(value)
  }
}

function matchesKind(value: string, subject: QuerySubject): boolean {
  if (value === 'err') return subject.isError
  const type = TYPE_OF_KIND[value]
  if (type !== undefined) return subject.frame.kind === 'mcp' && subject.type === type
  return subject.frame.kind === value || subject.frame.kind.startsWith(`${value}.`)
}

function inRange(range: string, value: number): boolean {
  const found = RANGE.exec(range)
  if (found === null) return false
  const [, from, dots, to] = found
  if (dots === undefined) return value === Number(from)
  return (from === '' || value >= Number(from)) && (to === '' || value <= Number(to))
}

/** `*` stands for any run of characters. Case counts not, as everywhere in a query. */
function matchesGlob(pattern: string, value: string): boolean {
  const parts = pattern.toLowerCase().split('*')
  const text = value.toLowerCase()
  const first = parts[0] ?? ''
  if (parts.length === 1) return text === first
  const last = parts.at(-1) ?? ''
  if (!text.startsWith(first) || !text.endsWith(last) || text.length < first.length + last.length) return false
  let at = first.length
  for (const part of parts.slice(1, -1)) {
    const next = text.indexOf(part, at)
    if (next < 0) return false
    at = next + part.length
  }
  return at <= text.length - last.length
}
