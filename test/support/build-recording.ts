/** Builds frames, segments and members for tests, without the recorder: nothing random, no clock. */

import { createHash } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { crc32, deflateRawSync } from 'node:zlib'

import { chainNext, chainStart } from '../../src/record/chain.ts'
import { encodeMember } from '../../src/record/member.ts'
import type { MemberIndex } from '../../src/record/member.ts'

const START_MS = Date.parse('2026-01-02T03:04:05Z')

export const sha256 = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest()

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

/** Fields by kind, with `session` and `exchange` where they belong. */
export interface FrameFields {
  readonly kind: string
  readonly session?: string
  readonly exchange?: number
  readonly [field: string]: unknown
}

/** One frame line, as the recorder orders its fields. `atMs` counts from a fixed start. */
export function frameLine(writer: string, seq: number, fields: FrameFields, atMs = seq * 10): string {
  const { kind, session, exchange, ...rest } = fields
  const time = new Date(START_MS + atMs).toISOString().replace('Z', '000Z')
  const salt = hex(sha256(Buffer.from(`${writer} ${seq}`))).slice(0, 16)
  return JSON.stringify({ writer, seq, time, elapsedUs: atMs * 1000, kind, salt, ...(session === undefined ? {} : { session }), ...(exchange === undefined ? {} : { exchange }), ...rest })
}

/** Leaf of a line, and heads before and after each of a writer's lines: `heads[i]` is the head before line `i`. */
export function headsOf(writer: string, lines: readonly string[]): Uint8Array[] {
  const heads = [chainStart(sha256, writer)]
  for (const [at, line] of lines.entries()) heads.push(chainNext(sha256, heads[at] as Uint8Array, sha256(Buffer.from(line))))
  return heads
}

export interface SegmentOptions {
  /** Lines `from` to before `to` of the writer's lines. */
  readonly from?: number
  readonly to?: number
  readonly format?: number
  /** What the index says, where it is to say something else. */
  readonly index?: Partial<MemberIndex>
  /** Lines in place of the true ones: segment and seal stay those of the true ones. */
  readonly instead?: readonly string[]
  /** Lines that segment and seal are computed from, where they are not the writer's. */
  readonly chained?: readonly string[]
}

/** Payload of a segment: segment line, frames, seal line. */
export function segmentPayload(writer: string, lines: readonly string[], options: SegmentOptions = {}): string {
  const { from = 0, to = lines.length, format = 1 } = options
  const heads = headsOf(writer, options.chained ?? lines)
  const segment = { kind: 'segment', format, writer, firstSeq: from, previous: hex(heads[from] as Uint8Array) }
  const seal = { kind: 'seal', writer, lastSeq: to - 1, frames: to - from, head: hex(heads[to] as Uint8Array) }
  return [JSON.stringify(segment), ...(options.instead ?? lines.slice(from, to)), JSON.stringify(seal), ''].join('\n')
}

/** One gzip member with its index. `lines[i]` has seq `i`. */
export function segmentMember(writer: string, lines: readonly string[], options: SegmentOptions = {}): Buffer {
  const { from = 0, to = lines.length } = options
  const payload = Buffer.from(segmentPayload(writer, lines, options))
  const sessions = new Set<string>()
  for (const line of lines.slice(from, to)) {
    const session = (JSON.parse(line) as { session?: string }).session
    if (session !== undefined) sessions.add(session)
  }
  const index = { writer, firstSeq: from, lastSeq: to - 1, frames: to - from, sessions: [...sessions], ...options.index }
  return Buffer.from(encodeMember({ index, deflated: [deflateRawSync(payload, { level: 3 })], crc32: crc32(payload), payloadBytes: payload.length }))
}

/** Path of a segment within a directory archive. */
export function segmentPath(writer: string, firstSeq: number, lastSeq: number): string {
  return `2026/01/02/03/${writer}-${firstSeq}-${lastSeq}.jsonl.gz`
}

/** Writes the writer's lines as segments of `size` frames, each in its own file. */
export async function writeArchive(folder: string, writer: string, lines: readonly string[], size = 5): Promise<void> {
  for (let from = 0; from < lines.length; from += size) {
    const to = Math.min(from + size, lines.length)
    await writeFileIn(folder, segmentPath(writer, from, to - 1), segmentMember(writer, lines, { from, to }))
  }
}

export async function writeFileIn(folder: string, name: string, bytes: Uint8Array | string): Promise<void> {
  await mkdir(dirname(join(folder, name)), { recursive: true })
  await writeFile(join(folder, name), bytes)
}

export interface StoryOptions {
  readonly session?: string
  readonly calls?: number
  readonly end?: boolean
  readonly stop?: boolean
}

/** A small whole story of one writer: an `initialize` whose request came before the session had its id, tool calls, an end. */
export function storyLines(writer: string, options: StoryOptions = {}): string[] {
  const { session = 'session-one', calls = 2, end = true, stop = true } = options
  const lines: string[] = []
  const add = (fields: FrameFields): void => {
    lines.push(frameLine(writer, lines.length, fields))
  }
  const headers = { 'content-type': 'application/json' }
  const server = { name: 'everything', url: 'http://127.0.0.1:3001', workload: 'deployment/everything', pod: 'everything-0', port: 3001 }
  add({ kind: 'writer.start', format: 1, steno: '0.0.0', host: 'test', pid: 1, recovered: [] })
  for (let exchange = 0; exchange <= calls; exchange++) {
    const known = exchange === 0 ? {} : { session }
    const call = exchange === 0 ? { method: 'initialize' } : { method: 'tools/call', name: 'echo' }
    const request = JSON.stringify({ jsonrpc: '2.0', id: exchange, method: call.method, params: { name: 'echo', arguments: { text: 'grüße', password: 'hunter2' } } })
    const answer = JSON.stringify({ jsonrpc: '2.0', id: exchange, result: { content: [{ type: 'text', text: 'grüße' }] } })
    add({ kind: 'exchange.start', ...known, exchange, method: 'POST', target: '/mcp', headers, peer: '10.0.0.7:40000', era: 'legacy' })
    add({ kind: 'mcp', ...known, exchange, from: 'client', type: 'request', rpcId: exchange, ...call, body: request, bytes: Buffer.byteLength(request) })
    if (exchange === 0) add({ kind: 'session.start', session, exchange, basis: 'mcp', server, client: { name: 'tester', version: '1.0', asserted: true } })
    add({ kind: 'mcp', session, exchange, from: 'server', type: 'response', rpcId: exchange, body: answer, bytes: Buffer.byteLength(answer) })
    add({ kind: 'exchange.end', session, exchange, status: 200, headers, durationUs: 2000, requestBytes: request.length, responseBytes: answer.length, outcome: 'ok' })
  }
  if (end) add({ kind: 'session.end', session, reason: 'delete', totals: { exchanges: calls + 1, calls: calls + 1, errors: 0, bytes: 0 } })
  if (stop) add({ kind: 'writer.stop', reason: 'SIGTERM' })
  return lines
}
