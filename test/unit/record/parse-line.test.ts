import { expect } from 'chai'
import fc from 'fast-check'

import { parseLine, readHead } from '../../../src/record/parse-line.ts'
import { frameLine, storyLines } from '../../support/build-recording.ts'

const HASH = 'a'.repeat(64)

describe('parseLine()', () => {
  it('takes every line of a recording', () => {
    for (const line of storyLines('writer-a')) {
      const parsed = parseLine(line)
      expect(parsed.kind, line).to.equal('frame')
      if (parsed.kind === 'frame') expect(parsed.frame).to.deep.equal(JSON.parse(line))
    }
  })

  it('keeps unknown fields and unknown kinds', () => {
    const parsed = parseLine(frameLine('w', 1, { kind: 'hologram', session: 's', depth: { of: 3 } }))
    expect(parsed).to.deep.include({ kind: 'frame', known: false })
    expect(parseLine(frameLine('w', 1, { kind: 'writer.stop', reason: 'x', mood: 'good' }))).to.deep.include({ kind: 'frame', known: true })
    if (parsed.kind === 'frame') expect(parsed.frame).to.deep.include({ depth: { of: 3 } })
  })

  const good = frameLine('w', 1, { kind: 'writer.stop', session: 's', exchange: 2, reason: 'x' })
  const bad: Record<string, string> = {
    'noise': 'hello',
    'an array': '[]',
    'null': 'null',
    'another object': '{"kind":"something"}',
    'a head in another order': good.replace('"writer":"w","seq":1', '"seq":1,"writer":"w"'),
    'white space in the head': good.replace('"seq":1', '"seq": 1'),
    'a negative seq': good.replace('"seq":1', '"seq":-1'),
    'a fraction as seq': good.replace('"seq":1', '"seq":1.5'),
    'a seq beyond 2^53': good.replace('"seq":1', '"seq":9007199254740993'),
    'a seq with leading zeros': good.replace('"seq":1', '"seq":01'),
    'a time of another form': good.replace('000000Z', '000Z').replace(/\.\d{6}Z/, 'Z'),
    'a salt of another length': good.replace(/"salt":"../, '"salt":"'),
    'a second session': good.replace('"reason"', '"session":"other","reason"'),
    'a second seq': good.replace('"reason"', '"seq":2,"reason"'),
    'a session out of place': frameLine('w', 1, { kind: 'writer.stop', reason: 'x' }).replace('"reason"', '"mood":1,"session":"s","reason"'),
    'a missing field': frameLine('w', 1, { kind: 'writer.stop' }),
    'a field of another type': frameLine('w', 1, { kind: 'mcp', from: 'client', type: 'request', body: 7 }),
    'an unknown side': frameLine('w', 1, { kind: 'mcp', from: 'nobody', type: 'request' }),
    'a segment with a wrong hash': '{"kind":"segment","format":1,"writer":"w","firstSeq":0,"previous":"xyz"}',
    'a seal without frames': `{"kind":"seal","writer":"w","lastSeq":0,"head":"${HASH}"}`,
    'too many leaves': JSON.stringify({ kind: 'leaves', writer: 'w', fromSeq: 0, sha256: Array(257).fill(HASH) }),
    'a cleaned line around noise': `{"kind":"cleaned","leaf":"${HASH}","changes":1,"frame":{"writer":"w"}}`,
  }
  for (const [name, line] of Object.entries(bad)) {
    it(`gives a reason for ${name}`, () => {
      const parsed = parseLine(line)
      expect(parsed.kind).to.equal('unknown')
      if (parsed.kind === 'unknown') expect(parsed.reason).to.not.equal('')
    })
  }

  it('takes segment, seal, export, leaves and cleaned lines', () => {
    const run = { writer: 'w', firstSeq: 3, previous: null, lastSeq: 9, head: HASH }
    const lines = [
      { kind: 'segment', format: 1, writer: 'w', firstSeq: 3, previous: null },
      { kind: 'seal', writer: 'w', lastSeq: 9, frames: 7, head: HASH },
      { kind: 'export', format: 1, session: 's', cleaned: true, writers: [run] },
      { kind: 'leaves', writer: 'w', fromSeq: 3, sha256: [HASH] },
      { kind: 'cleaned', leaf: HASH, changes: 1, frame: JSON.parse(good) as unknown },
    ]
    expect(lines.map(line => parseLine(JSON.stringify(line)).kind)).to.deep.equal(['segment', 'seal', 'export', 'leaves', 'cleaned'])
  })

  it('names a newer format and says what to do', () => {
    for (const line of ['{"kind":"segment","format":2}', '{"kind":"export","format":7}', frameLine('w', 0, { kind: 'writer.start', format: 3 })]) {
      expect(() => parseLine(line)).to.throw(/has format \d.*newer steno/).with.property('code', 'recording.version')
    }
  })

  it('never throws for anything else, and agrees with readHead()', () => {
    fc.assert(
      fc.property(fc.nat(good.length - 1), fc.string({ maxLength: 3 }), (at, put) => {
        const line = good.slice(0, at) + put + good.slice(at + 1)
        const parsed = parseLine(line)
        if (parsed.kind === 'frame') expect(readHead(line)).to.deep.include({ writer: parsed.frame.writer, seq: parsed.frame.seq, kind: parsed.frame.kind })
      }),
    )
    fc.assert(fc.property(fc.json(), text => parseLine(text).kind !== 'frame'))
  })
})
