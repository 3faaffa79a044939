/** Frames as fast-check makes them up: every kind, every optional field there or not, any text. */

import fc from 'fast-check'

import type { FrameContent, FrameHead } from '../../src/record/frame.ts'

const text = fc.string({ unit: 'binary', maxLength: 20 })
const count = fc.nat(2 ** 31)
const flag = fc.boolean()
const side = fc.constantFrom('client', 'server')
const rpcType = fc.constantFrom('request', 'response', 'notification')
const rpcId = fc.oneof(text, fc.maxSafeInteger(), fc.constant(null), fc.record({ number: fc.constantFrom('1e400', '12345678901234567890', '-0') }))
const event = fc.record({ id: text, type: text }, { requiredKeys: [] })
const links = fc.array(fc.record({ type: fc.constantFrom('requestState', 'task', 'subscription', 'resume'), id: text }), { maxLength: 3 })
const masked = fc.array(fc.record({ path: text, bytes: count, hmac: text }), { maxLength: 2 })
const headers = fc.dictionary(text, fc.oneof(text, fc.array(text, { maxLength: 3 })), { maxKeys: 4, noNullPrototype: true })
const client = fc.record({ name: text, version: text, asserted: fc.constant(true) }, { requiredKeys: ['name', 'asserted'] })
const identity = fc.record({ issuer: text, subject: text, clientId: text, scopes: fc.array(text), groups: fc.array(text), token: text, verified: flag }, { requiredKeys: ['verified'] })
const part = { body: text, base64: fc.base64String({ maxLength: 20 }) }

/** Fields of one kind; those that `optional` names may be missing. */
function kindOf(kind: string, required: Record<string, fc.Arbitrary<unknown>>, optional: Record<string, fc.Arbitrary<unknown>> = {}): fc.Arbitrary<FrameContent> {
  const all: Record<string, fc.Arbitrary<unknown>> = { kind: fc.constant(kind), ...required, ...optional }
  const fields = fc.record(all, { requiredKeys: ['kind', ...Object.keys(required)] })
  // Typed by the tables above, which say what docs/recording-format.md says.
  return fields as unknown as fc.Arbitrary<FrameContent>
}

/** What any kind of frame may carry. */
export const anyContent: fc.Arbitrary<FrameContent> = fc.oneof(
  kindOf('writer.start', { format: fc.constant(1), steno: text, host: text, pid: count, recovered: fc.array(fc.record({ writer: text, frames: count, state: fc.constantFrom('stopped', 'cut') }), { maxLength: 2 }) }, { pod: text, namespace: text, node: text, image: text, policy: fc.record({ name: text, hash: text }), labels: fc.dictionary(text, text, { maxKeys: 3, noNullPrototype: true }) }),
  kindOf('writer.stop', { reason: text }),
  kindOf('session.start', { basis: fc.constantFrom('mcp', 'conversation', 'trace', 'idle'), server: fc.record({ name: text, url: text, workload: text, pod: text, port: count }, { requiredKeys: ['name', 'url'] }) }, { client, identity, foreign: fc.constant(true) }),
  kindOf('session.end', { reason: fc.constantFrom('delete', 'idle', 'shutdown'), totals: fc.record({ exchanges: count, calls: count, errors: count, bytes: count }) }),
  kindOf('exchange.start', { method: text, target: text, headers, peer: text, era: fc.constantFrom('legacy', 'modern', 'none') }, { version: text, mismatch: fc.constant(true), links, client, identity }),
  kindOf('exchange.end', { status: fc.nat(999), headers, durationUs: count, requestBytes: count, responseBytes: count, outcome: fc.constantFrom('ok', 'error', 'denied', 'cancelled', 'cut') }, { events: count, comments: count, reason: text }),
  kindOf('mcp', { from: side, type: rpcType }, { rpcId, method: text, name: text, isError: flag, errorCode: fc.integer(), resultType: text, batch: count, event, links, masked, duplicateKeys: fc.array(text), bytes: count, more: fc.constant(true), ...part }),
  kindOf('http', { from: side }, { contentType: text, reason: text, event, masked, bytes: count, more: fc.constant(true), ...part }),
  kindOf('body', { of: count, part: count }, { last: fc.constant(true), bytes: count, sha256: text, late: fc.record({ type: rpcType, rpcId, method: text, name: text, isError: flag, errorCode: fc.integer() }, { requiredKeys: [] }), ...part }),
  kindOf('access', { action: fc.constantFrom('exec', 'attach', 'port-forward', 'ephemeral-container'), namespace: text, pod: text, user: text, allowed: flag }, { container: text, image: text, groups: fc.array(text), program: text, arguments: count, reason: text }),
  kindOf('policy', { name: text, hash: text, changed: fc.array(text, { maxLength: 3 }) }, { pending: fc.array(text, { maxLength: 3 }) }),
  kindOf('gap', { reason: text }, { detail: text, count, bytes: count, of: text, fromSeq: count, toSeq: count, fromTime: text, toTime: text }),
)

/** Writer and session ids. */
const anyId = fc.string({ unit: fc.integer({ min: 0x21, max: 0x7e }).map(code => String.fromCharCode(code)).filter(char => char !== '"' && char !== '\\'), minLength: 1, maxLength: 40 })

export const anyHead: fc.Arbitrary<FrameHead> = fc
  .record(
    {
      writer: anyId,
      seq: fc.maxSafeNat(),
      time: fc.tuple(fc.date({ min: new Date('0000-01-01T00:00:00Z'), max: new Date('9999-12-31T23:59:59Z'), noInvalidDate: true }), fc.nat(999)).map(([date, us]) => `${date.toISOString().slice(0, -1)}${String(us).padStart(3, '0')}Z`),
      elapsedUs: fc.maxSafeNat(),
      salt: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map(bits => bits.toString(16).padStart(16, '0')),
      session: anyId,
      exchange: fc.maxSafeNat(),
    },
    { requiredKeys: ['writer', 'seq', 'time', 'elapsedUs', 'salt'] },
  )
  .map(head => head as FrameHead)
