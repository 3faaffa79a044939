import { expect } from 'chai'
import fc from 'fast-check'

import { encodeFrame } from '../../../src/record/encode-frame.ts'
import { MAX_HEAD_LENGTH, parseLine, readHead } from '../../../src/record/parse-line.ts'
import { anyContent, anyHead } from '../../support/any-frame.ts'
import { fuzzRuns } from '../../support/fuzz-runs.ts'

describe('encodeFrame()', () => {
  it('gives one line that reads back as the same frame, whatever the frame is', () => {
    fc.assert(
      fc.property(anyHead, anyContent, (head, content) => {
        const line = encodeFrame(head, content)
        expect(line).not.include('\n')
        const parsed = parseLine(line)
        if (parsed.kind !== 'frame') throw new Error(`it reads as ${JSON.stringify(parsed)}: ${line}`)
        expect(parsed).deep.equal({ kind: 'frame', known: true, frame: { ...head, ...content } })
        // A reader who sees only the beginning sees the same.
        const { writer, seq, time, session } = head
        expect(readHead(line.slice(0, MAX_HEAD_LENGTH))).deep.equal({ writer, seq, time, kind: content.kind, ...(session === undefined ? {} : { session }) })
      }),
      fuzzRuns,
    )
  })
})
