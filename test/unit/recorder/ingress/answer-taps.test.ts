import { expect } from 'chai'
import fc from 'fast-check'

import type { FrameContent } from '../../../../src/record/frame.ts'
import { jsonTap, sseTap } from '../../../../src/recorder/ingress/answer-taps.ts'
import type { Tap, TapOptions } from '../../../../src/recorder/ingress/answer-taps.ts'
import type { Journal } from '../../../../src/recorder/journal.ts'
import { fuzzRuns } from '../../../support/fuzz-runs.ts'

/** Frames that a tap writes for a body that comes in pieces. */
function recorded(make: (options: TapOptions) => Tap, body: Buffer, cuts: readonly number[]): readonly FrameContent[] {
  const frames: FrameContent[] = []
  const journal: Journal = { append: content => frames.push(content) - 1, commit: done => done(), missed: () => {}, declareMissed: () => {}, elapsedUs: () => 0, whenRoom: then => then() }
  const context = { journal, keyedHash: (value: string) => `hash of ${value}`, from: 'server', exchange: 0, session: () => 's', contentType: 'application/json', onMissed: () => {} } as const
  const tap = make({ context, inspectBytes: 1024 * 1024, onScanned: () => {}, onEndpoint: () => {} })
  const at = [0, ...cuts.map(cut => cut % (body.length + 1)).toSorted((a, b) => a - b), body.length]
  at.slice(1).forEach((to, i) => tap.push(body.subarray(at[i], to)))
  tap.end(false)
  return frames
}

const id = fc.oneof(fc.integer(), fc.string({ unit: 'binary' }), fc.constant(null))
const message = fc.oneof(
  fc.record({ jsonrpc: fc.constant('2.0'), id, method: fc.constantFrom('tools/call', 'ping', 'grüße'), params: fc.oneof(fc.record({ name: fc.string({ unit: 'binary' }), requestState: fc.string() }), fc.jsonValue()) }, { requiredKeys: ['jsonrpc', 'method'] }),
  fc.record({ jsonrpc: fc.constant('2.0'), id, result: fc.jsonValue() }),
  fc.record({ jsonrpc: fc.constant('2.0'), id, error: fc.record({ code: fc.integer(), message: fc.string({ unit: 'binary' }) }) }),
  fc.jsonValue(),
)
const text = fc.oneof(fc.tuple(fc.oneof(message, fc.array(message, { maxLength: 4 })), fc.integer({ min: 0, max: 2 })).map(([value, indent]) => JSON.stringify(value, undefined, indent)), fc.string({ unit: 'binary' }))
const bytes = fc.oneof({ weight: 9, arbitrary: text.map(each => Buffer.from(each)) }, { weight: 1, arbitrary: fc.uint8Array().map(each => Buffer.from(each)) })
const cuts = fc.array(fc.nat(), { maxLength: 12 })

describe('answer taps', () => {
  it('record the same JSON-RPC messages however the bytes of a body are cut', () => {
    fc.assert(
      fc.property(bytes, cuts, (body, where) => {
        expect(recorded(jsonTap, body, where)).to.deep.equal(recorded(jsonTap, body, []))
        expect(recorded(jsonTap, body, [...body.keys()])).to.deep.equal(recorded(jsonTap, body, []))
      }),
      fuzzRuns,
    )
  })

  it('record the same JSON-RPC messages however the bytes of a stream of events are cut', () => {
    const events = fc.array(fc.tuple(text, fc.constantFrom('\n', '\r', '\r\n')), { maxLength: 5 }).map(all => Buffer.from(all.map(([data, end]) => `event: message${end}${data.split(/\r\n|\r|\n/).map(line => `data: ${line}`).join(end)}${end}${end}`).join('')))
    const tap = (options: TapOptions): Tap => sseTap(options, { events: 0, comments: 0 })
    fc.assert(
      fc.property(events, cuts, (body, where) => {
        expect(recorded(tap, body, where)).to.deep.equal(recorded(tap, body, []))
      }),
      fuzzRuns,
    )
  })
})
