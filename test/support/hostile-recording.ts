/** Archives as somebody would forge or spoil them, as fast-check makes them up: wrong lines under a right chain, wrong claims, wrong bytes, odd names. */

import { gzipSync } from 'node:zlib'

import fc from 'fast-check'

import { anyWriters } from './any-recording.ts'
import type { AnyWriter } from './any-recording.ts'
import { segmentMember, segmentPayload, storyLines } from './build-recording.ts'

export interface HostileFile {
  readonly name: string
  readonly bytes: Buffer
}

/** Values that a field should not have; some are right for some fields. */
const oddValue: fc.Arbitrary<string> = fc.constantFrom(
  'null', 'true', '-1', '0', '1.5', '1e999', '-0', '9007199254740993', '1e5', '""', '"x"', '"\\u0000\\u001b[31m\\u202e"', '"\\ud800"', '[]', '[null]', '["a",1]', '{}', '{"number":"1"}', '{"number":1}', '{"__proto__":{"name":"x"}}',
  '{"name":"n","url":"u","port":"80"}', '{"exchanges":1}', '[{"writer":"w","frames":1,"state":"cut"}]', '[{"path":"p"}]', `${'['.repeat(63)}1${']'.repeat(63)}`, `${'{"a":'.repeat(200)}1${'}'.repeat(200)}`, '"mcp"', '"client"', '"request"', '"../../etc/passwd"',
)
const fieldName = fc.constantFrom(
  'body', 'base64', 'bytes', 'more', 'of', 'part', 'last', 'late', 'sha256', 'rpcId', 'method', 'name', 'type', 'from', 'isError', 'errorCode', 'event', 'links', 'masked', 'duplicateKeys', 'headers', 'peer', 'status', 'outcome', 'reason', 'totals', 'basis', 'server', 'client',
  'identity', 'recovered', 'format', 'pid', 'fromSeq', 'toSeq', 'fromTime', 'count', 'session', 'exchange', 'time', 'seq', 'writer', 'kind', 'salt', '__proto__', 'constructor', 'unheard-of',
)

/** A change of one line. Most leave its head alone, so that it still counts as a frame. */
const lineChange: fc.Arbitrary<(line: string) => string> = fc.oneof(
  fc.tuple(fieldName, oddValue).map(([name, value]) => (line: string) => `${line.slice(0, -1)},"${name}":${value}}`),
  fc.tuple(fc.nat(), oddValue).map(([which, value]) => (line: string) => replaceValue(line, which, value)),
  fc.tuple(fc.nat(), fc.string({ unit: 'binary', maxLength: 4 })).map(([at, text]) => (line: string) => `${line.slice(0, at % line.length)}${text.replaceAll('\n', '')}${line.slice((at % line.length) + 1)}`),
  fc.constantFrom('T24:61:61', 'T99:99:99', 'T03:04:05').map(time => (line: string) => line.replace(/T\d\d:\d\d:\d\d/, time)),
  fc.constantFrom('9007199254740991', '9007199254740992', '99999999999999999', '3', '0').map(seq => (line: string) => line.replace(/"seq":\d+/, `"seq":${seq}`)),
  fc.constantFrom('9007199254740991', '0').map(us => (line: string) => line.replace(/"elapsedUs":\d+/, `"elapsedUs":${us}`)),
  fc.constantFrom('../../../x', 'constructor', '__proto__', "a'b", '<b>', 'x'.repeat(255)).map(id => (line: string) => line.replace(/"session":"[^"]*"/, `"session":"${id}"`)),
  fc.constantFrom('', ' ', '{}', 'null', '[', '{"kind":"segment"}', '{"kind":"seal","writer":"writer-a","lastSeq":9007199254740991,"frames":1,"head":null}', '{"kind":"leaves","writer":"writer-a","fromSeq":0,"sha256":["00"]}', '{"kind":"export","format":1,"session":"one","cleaned":false,"writers":[]}', ' {"kind":"seal","writer":"writer-a","lastSeq":1,"frames":2,"head":null}').map(text => () => text),
)

function replaceValue(line: string, which: number, value: string): string {
  const places = [...line.matchAll(/":("(?:[^"\\]|\\.)*"|-?\d+|true|false|null|\[\]|\{\})/g)]
  const place = places[which % Math.max(1, places.length)]
  return place === undefined ? line : `${line.slice(0, place.index + 2)}${value}${line.slice(place.index + place[0].length)}`
}

const byteChange: fc.Arbitrary<(bytes: Buffer) => Buffer> = fc.oneof(
  fc.tuple(fc.nat(), fc.integer({ min: 1, max: 255 })).map(([at, mask]) => (bytes: Buffer) => {
    const out = Buffer.from(bytes)
    if (out.length > 0) out[at % out.length] = (out[at % out.length] ?? 0) ^ mask
    return out
  }),
  fc.nat().map(at => (bytes: Buffer) => bytes.subarray(0, at % (bytes.length + 1))),
  fc.tuple(fc.nat(), fc.uint8Array({ maxLength: 20 })).map(([at, more]) => (bytes: Buffer) => Buffer.concat([bytes.subarray(0, at % (bytes.length + 1)), more, bytes.subarray(at % (bytes.length + 1))])),
  fc.tuple(fc.nat(), fc.nat(100)).map(([at, length]) => (bytes: Buffer) => Buffer.concat([bytes.subarray(0, at % (bytes.length + 1)), bytes.subarray((at % (bytes.length + 1)) + length)])),
  fc.constant((bytes: Buffer) => Buffer.concat([bytes, bytes])),
)

const wrongIndex = fc.record({ writer: fc.constantFrom('writer-a', 'writer-b', '../x', ''), firstSeq: fc.constantFrom(0, 1, 5, Number.MAX_SAFE_INTEGER), lastSeq: fc.constantFrom(0, 3, 9, Number.MAX_SAFE_INTEGER), frames: fc.nat(20), sessions: fc.constantFrom<readonly string[]>([], ['one'], ['one', 'one'], ['../x']) }, { requiredKeys: [] })

const writers: fc.Arbitrary<readonly AnyWriter[]> = fc.oneof(anyWriters, fc.integer({ min: 0, max: 2 }).map(calls => [{ writer: 'writer-a', lines: storyLines('writer-a', { calls }) }]))

const often = <T>(arb: fc.Arbitrary<T>, none: T): fc.Arbitrary<T> => fc.oneof({ weight: 2, arbitrary: fc.constant(none) }, { weight: 1, arbitrary: arb })

/** One to three writers in a few files, each spoiled a little or not at all. */
export const hostileFiles: fc.Arbitrary<readonly HostileFile[]> = writers.chain(all =>
  fc
    .tuple(
      ...all.map(({ writer, lines }) =>
        fc
          .record({
            changes: often(fc.array(fc.tuple(fc.nat(), lineChange), { minLength: 1, maxLength: 3 }), []),
            /** Whether who changed the lines computed the chain anew. */
            rechained: fc.boolean(),
            border: fc.nat(lines.length),
            index: often(wrongIndex, {}),
            form: fc.constantFrom('segment', 'segment', 'foreign', 'plain'),
            bytes: often(fc.array(byteChange, { minLength: 1, maxLength: 3 }), []),
            copies: often(fc.integer({ min: 0, max: 2 }), 1),
          })
          .map(how => {
            const changed = [...lines]
            for (const [at, change] of how.changes) changed[at % changed.length] = change(changed[at % changed.length] ?? '')
            const files: HostileFile[] = []
            for (const [from, to] of [[0, how.border], [how.border, lines.length]] as const) {
              if (from === to) continue
              const options = { from, to, index: how.index, ...(how.rechained ? {} : { instead: changed.slice(from, to) }) }
              const chained = how.rechained ? changed : lines
              const payload = segmentPayload(writer, chained, options)
              const packed = how.form === 'segment' ? segmentMember(writer, lines, { ...options, instead: changed.slice(from, to), ...(how.rechained ? { chained } : {}) }) : how.form === 'foreign' ? gzipSync(payload) : Buffer.from(payload)
              const bytes = how.bytes.reduce((spoiled, change) => change(spoiled), packed)
              for (let copy = 0; copy < how.copies; copy++) files.push({ name: `${writer}-${from}-${copy}.jsonl${how.form === 'plain' ? '' : '.gz'}`, bytes })
            }
            return files
          }),
      ),
    )
    .map(files => files.flat()),
)
