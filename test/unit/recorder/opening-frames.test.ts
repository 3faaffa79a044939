import { expect } from 'chai'
import { openingFrames } from '../../../src/recorder/opening-frames.ts'

describe('openingFrames()', () => {
  const start = { version: '1.2.3', host: 'h', pid: 7 }

  it('are one that says who records when nothing was left', () => {
    expect(openingFrames({ ...start, recovered: [], findings: [] })).to.deep.equal([{ kind: 'writer.start', format: 1, steno: '1.2.3', host: 'h', pid: 7, recovered: [] }])
  })

  it('declare every writer that was cut, then everything that cannot be read back', () => {
    const recovered = [{ writer: 'a', frames: 3, state: 'cut' }, { writer: 'b', frames: 4, state: 'stopped' }, { writer: 'c', frames: 5, state: 'cut' }] as const
    const findings = [{ writer: 'b', reason: 'damage', bytes: 9, fromSeq: 1, toSeq: 2, detail: 'd' }] as const
    const [first, ...gaps] = openingFrames({ ...start, recovered, findings })
    expect(first).to.include({ recovered })
    expect(gaps.map(gap => (gap.kind === 'gap' ? [gap.reason, gap.of] : gap.kind))).to.deep.equal([['cut', 'a'], ['cut', 'c'], ['damage', 'b']])
    expect(gaps.at(-1)).to.deep.equal({ kind: 'gap', of: 'b', reason: 'damage', bytes: 9, fromSeq: 1, toSeq: 2, detail: 'd' })
  })
})
