import { randomBytes } from 'node:crypto'
import { gunzipSync } from 'node:zlib'

import { expect } from 'chai'
import fc from 'fast-check'

import { chainStart } from '../../../../src/record/chain.ts'
import { encodeFrame } from '../../../../src/record/encode-frame.ts'
import { readMemberHeader } from '../../../../src/record/member.ts'
import { MAX_FRAME_BYTES } from '../../../../src/recorder/spool/log-format.ts'
import { createSegmentBuilder, MAX_SEGMENT_BYTES, sha256 } from '../../../../src/recorder/shipper/segment-builder.ts'
import type { Packed, SegmentBuilder } from '../../../../src/recorder/shipper/segment-builder.ts'
import { anyContent, anyHead } from '../../../support/any-frame.ts'
import { frameLine, headsOf } from '../../../support/build-recording.ts'
import { fuzzRuns } from '../../../support/fuzz-runs.ts'

const WRITER = 'w1'
const hex = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString('hex')
const start = { seq: -1, head: hex(chainStart(sha256, WRITER)) }

function addAll(builder: SegmentBuilder, lines: readonly (string | Buffer)[], firstSeq = 0, sessionOf: (seq: number) => string | undefined = () => undefined): Packed[] {
  const packed: Packed[] = []
  lines.forEach((line, at) => {
    const full = builder.add(Buffer.from(line), { seq: firstSeq + at, session: sessionOf(firstSeq + at), file: 0, start: at * 10, offset: at * 10 + 10 })
    if (full !== undefined) packed.push(full)
  })
  return packed
}
function finishAll(builder: SegmentBuilder): Packed[] {
  const packed: Packed[] = []
  for (let next = builder.finish(); next !== undefined; next = builder.finish()) packed.push(next)
  return packed
}
function payloadOf({ segment }: Packed): string[] {
  return gunzipSync(segment.bytes).toString('latin1').split('\n').slice(0, -1)
}

describe('createSegmentBuilder()', () => {
  it('packs lines between a segment line and a seal that carry the chain', () => {
    const lines = Array.from({ length: 5 }, (_, seq) => frameLine(WRITER, seq, { kind: 'http', body: String(seq) }))
    const heads = headsOf(WRITER, lines).map(hex)
    const builder = createSegmentBuilder(WRITER, start, 3)
    expect(builder.pending).to.equal(false)
    addAll(builder, lines.slice(0, 2), 0, () => 's1')
    const [first] = finishAll(builder)
    addAll(builder, lines.slice(2), 2)
    const [second] = finishAll(builder)
    expect(finishAll(builder)).to.deep.equal([])
    if (first === undefined || second === undefined) throw new Error('two segments are expected')
    expect(payloadOf(first)).to.deep.equal([`{"kind":"segment","format":1,"writer":"w1","firstSeq":0,"previous":"${heads[0]}"}`, ...lines.slice(0, 2), `{"kind":"seal","writer":"w1","lastSeq":1,"frames":2,"head":"${heads[2]}"}`])
    expect(payloadOf(second)).to.deep.equal([`{"kind":"segment","format":1,"writer":"w1","firstSeq":2,"previous":"${heads[2]}"}`, ...lines.slice(2), `{"kind":"seal","writer":"w1","lastSeq":4,"frames":3,"head":"${heads[5]}"}`])
    expect(readMemberHeader(first.segment.bytes)).to.deep.include({ index: { writer: 'w1', firstSeq: 0, lastSeq: 1, frames: 2, sessions: ['s1'] }, memberLength: first.segment.bytes.length })
    expect(first.end).to.deep.equal({ file: 0, start: 10, offset: 20, seq: 1, head: heads[2] })
  })

  it('never makes a segment larger than Firehose takes, whatever lines come, up to the longest that the spool takes', () => {
    const sizes = [MAX_FRAME_BYTES, 1, MAX_FRAME_BYTES, 131_071, 131_072, 1000, MAX_FRAME_BYTES - 1, 500_000, 500_000, 400_000, ...Array.from({ length: 3000 }, (_, at) => (at * 7919) % 2000 + 1), 900_000]
    // Random bytes do not compress at all: worse than any text.
    const lines = sizes.map(size => Buffer.from(randomBytes(size).map(byte => (byte === 10 ? 11 : byte))))
    const builder = createSegmentBuilder(WRITER, start, 3)
    const packed = [...addAll(builder, lines, 0, seq => `session-${'x'.repeat(60)}-${seq}`), ...finishAll(builder)]
    for (const { segment } of packed) expect(segment.bytes.length).to.be.at.most(MAX_SEGMENT_BYTES)
    const payload = packed.flatMap(each => payloadOf(each).filter(line => !/^\{"kind":"(segment|seal)"/.test(line)))
    expect(payload.map(line => line.length)).to.deep.equal(sizes)
    expect(payload.every((line, at) => line === lines[at]?.toString('latin1'))).to.equal(true)
    packed.forEach(({ segment }, at) => expect(segment.index.firstSeq).to.equal((packed[at - 1]?.segment.index.lastSeq ?? -1) + 1))
  })

  it('fills segments with lines that compress, but never so that no reader inflates them', () => {
    const line = frameLine(WRITER, 0, { kind: 'http', body: 'x'.repeat(200_000) })
    const builder = createSegmentBuilder(WRITER, start, 3)
    const packed = [...addAll(builder, Array.from({ length: 400 }, () => line)), ...finishAll(builder)]
    expect(packed.length).to.be.within(2, 5)
    for (const each of packed) expect(gunzipSync(each.segment.bytes).length).to.be.at.most(33 * 1024 * 1024)
  })

  it('flags a segment of too many sessions as any', () => {
    const builder = createSegmentBuilder(WRITER, start, 3)
    const lines = Array.from({ length: 3000 }, (_, seq) => frameLine(WRITER, seq, { kind: 'http' }))
    const packed = [...addAll(builder, lines, 0, seq => `s${seq}`), ...finishAll(builder)]
    expect(packed.map(each => each.segment.index.sessions === 'any').includes(true)).to.equal(true)
    for (const { segment } of packed) expect(readMemberHeader(segment.bytes)).to.deep.include({ index: segment.index })
  })

  it('goes on without a chain after a loss, and refuses to forget what is pending', () => {
    const builder = createSegmentBuilder(WRITER, start, 3)
    addAll(builder, ['a'])
    expect(() => builder.lose(5)).to.throw(TypeError)
    finishAll(builder)
    builder.lose(5)
    addAll(builder, ['f', 'g'], 5)
    const [packed] = finishAll(builder)
    if (packed === undefined) throw new Error('a segment is expected')
    expect(payloadOf(packed)).to.deep.equal(['{"kind":"segment","format":1,"writer":"w1","firstSeq":5,"previous":null}', 'f', 'g', '{"kind":"seal","writer":"w1","lastSeq":6,"frames":2,"head":null}'])
    expect(packed.end).to.include({ seq: 6, head: null })
  })

  it('gives the same chain when it goes on from where another left off', () => {
    const lines = Array.from({ length: 6 }, (_, seq) => frameLine(WRITER, seq, { kind: 'http' }))
    const one = createSegmentBuilder(WRITER, start, 3)
    addAll(one, lines.slice(0, 3))
    const end = finishAll(one)[0]?.end
    if (end === undefined) throw new Error('a segment is expected')
    const two = createSegmentBuilder(WRITER, end, 3)
    addAll(two, lines.slice(3), 3)
    expect(finishAll(two)[0]?.end.head).to.equal(hex(headsOf(WRITER, lines).at(-1)))
  })

  it('gives the lines back with the same chain wherever the borders are, and an index that says what is inside', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(anyHead, anyContent, fc.boolean()), { minLength: 1, maxLength: 20 }), frames => {
        const lines = frames.map(([head, content], seq) => encodeFrame({ ...head, writer: WRITER, seq }, content))
        const builder = createSegmentBuilder(WRITER, start, 3)
        const packed: Packed[] = []
        frames.forEach(([head, , border], seq) => {
          packed.push(...addAll(builder, lines.slice(seq, seq + 1), seq, () => head.session))
          if (border) packed.push(...finishAll(builder))
        })
        packed.push(...finishAll(builder))
        const heads = headsOf(WRITER, lines).map(hex)
        let next = 0
        for (const { segment, end } of packed) {
          const [first, ...rest] = gunzipSync(segment.bytes).toString('utf8').split('\n').slice(0, -1)
          const inside = lines.slice(next, end.seq + 1)
          expect(rest.slice(0, -1)).to.deep.equal(inside)
          expect(JSON.parse(first ?? '')).to.deep.equal({ kind: 'segment', format: 1, writer: WRITER, firstSeq: next, previous: heads[next] })
          expect(JSON.parse(rest.at(-1) ?? '')).to.deep.equal({ kind: 'seal', writer: WRITER, lastSeq: end.seq, frames: inside.length, head: heads[end.seq + 1] })
          const sessions = [...new Set(frames.slice(next, end.seq + 1).flatMap(([head]) => head.session ?? []))].sort()
          expect(readMemberHeader(segment.bytes)).to.deep.include({ memberLength: segment.bytes.length, index: { writer: WRITER, firstSeq: next, lastSeq: end.seq, frames: inside.length, sessions } })
          next = end.seq + 1
        }
        expect(next).to.equal(lines.length)
      }),
      fuzzRuns,
    )
  })
})
