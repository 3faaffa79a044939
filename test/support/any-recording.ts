/** Recordings as fast-check makes them up: a few writers whose frames share sessions and exchanges in every way, cut into segments in every way. */

import fc from 'fast-check'

import { frameLine } from './build-recording.ts'
import type { FrameFields } from './build-recording.ts'

/** Session and exchange of a frame. Where frames of an exchange name several sessions, every frame names one: the format leaves open whose the others are. */
const place = fc.constantFrom<readonly [string | undefined, number | undefined]>(['one', 0], [undefined, 0], ['two', 1], [undefined, 1], ['one', 2], ['two', 2], [undefined, 3], ['one', undefined], ['two', undefined], [undefined, undefined])
const server = { name: 'everything', url: 'http://127.0.0.1:3001' }
const writer = fc.constantFrom('writer-a', 'writer-b', 'writer-c')
const seq = fc.nat(12)

const fields: fc.Arbitrary<FrameFields> = fc.oneof(
  fc.constant({ kind: 'exchange.start', method: 'POST', target: '/mcp', headers: {}, peer: '10.0.0.7:1', era: 'legacy', client: { name: 'early', asserted: true } }),
  fc.constantFrom('ok', 'error', 'denied').map(outcome => ({ kind: 'exchange.end', status: 200, headers: {}, durationUs: 1, requestBytes: 1, responseBytes: 1, outcome })),
  fc.constantFrom('echo', 'add').map(name => ({ kind: 'mcp', from: 'client', type: 'request', rpcId: 1, method: 'tools/call', name, body: '{}', bytes: 2 })),
  fc.boolean().map(isError => ({ kind: 'mcp', from: 'server', type: 'response', rpcId: 1, isError, body: '{"result":{}}', bytes: 13 })),
  fc.constantFrom('mcp', 'idle').map(basis => ({ kind: 'session.start', basis, server, client: { name: basis, asserted: true } })),
  fc.constant({ kind: 'session.end', reason: 'idle', totals: { exchanges: 1, calls: 1, errors: 0, bytes: 1 } }),
  fc.record({ kind: fc.constant('gap'), reason: fc.constant('spool.full'), of: writer, fromSeq: seq, toSeq: seq }, { requiredKeys: ['kind', 'reason'] }),
  fc.record({ kind: fc.constant('writer.start'), format: fc.constant(1), steno: fc.constant('0'), host: fc.constant('h'), pid: fc.constant(1), recovered: fc.array(fc.record({ writer, frames: seq, state: fc.constant('cut') }), { maxLength: 1 }) }),
  fc.constant({ kind: 'writer.stop', reason: 'SIGTERM' }),
  fc.constant({ kind: 'later.kind', anything: [1, { a: null }] }),
)

export interface AnyWriter {
  readonly writer: string
  readonly lines: readonly string[]
}

/** Up to three writers, each with a few frames. */
export const anyWriters: fc.Arbitrary<readonly AnyWriter[]> = fc.uniqueArray(
  fc.tuple(writer, fc.array(fc.tuple(place, fields, fc.nat(3000)), { minLength: 1, maxLength: 12 })).map(([name, frames]) => ({
    writer: name,
    lines: frames.map(([[own, number], rest, atMs], at) => frameLine(name, at, { ...rest, ...(own === undefined ? {} : { session: own }), ...(number === undefined ? {} : { exchange: number }) }, atMs)),
  })),
  { minLength: 1, maxLength: 3, selector: each => each.writer },
)

/** A run of one writer's lines, and how it is stored. */
export interface AnyPiece {
  readonly writer: string
  readonly from: number
  readonly to: number
  readonly lines: readonly string[]
  readonly form: 'segment' | 'foreign' | 'plain'
  readonly object: string
}

/** Pieces that cover every line, some of them twice, in any order. A name is of one form. */
export function anyPieces(writers: readonly AnyWriter[]): fc.Arbitrary<readonly AnyPiece[]> {
  const all = writers.map(({ writer: name, lines }) => {
    const borders = fc.array(fc.nat(lines.length), { maxLength: 4 }).map(cuts => [...new Set([0, ...cuts, lines.length])].sort((a, b) => a - b))
    const twice = fc.array(fc.tuple(fc.nat(lines.length - 1), fc.integer({ min: 1, max: lines.length })), { maxLength: 2 })
    return fc.tuple(borders, twice).chain(([cuts, more]) => {
      const runs = [...cuts.slice(1).map((to, at) => [cuts[at] ?? 0, to] as const), ...more.map(([from, length]) => [from, Math.min(lines.length, from + length)] as const)]
      return fc.tuple(...runs.map(([from, to]) => fc.tuple(fc.constantFrom('segment', 'foreign', 'plain'), fc.constantFrom('a', 'b', 'z/c')).map(([form, base]): AnyPiece => ({ writer: name, from, to, lines, form, object: `${base}-${form}.jsonl${form === 'plain' ? '' : '.gz'}` }))))
    })
  })
  return fc.tuple(...all).chain(pieces => {
    const flat = pieces.flat()
    return fc.shuffledSubarray(flat, { minLength: flat.length })
  })
}
