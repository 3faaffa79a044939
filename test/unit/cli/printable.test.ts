import { expect } from 'chai'
import fc from 'fast-check'

import { displayWidth, escapeJson, fit, printable, printableLines } from '../../../src/cli/printable.ts'
import { toYaml } from '../../../src/cli/yaml.ts'

// oxlint-disable-next-line no-control-regex
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\u{e0000}-\u{e007f}]|\p{Surrogate}/u

const hostile = fc.string({ unit: fc.oneof(fc.constantFrom('\u001b', '\u009b', '\u202e', '\u2066', '\u200b', '\u{e0041}', '\ud800', '\n', '\t', '"', '\\'), fc.string({ minLength: 1, maxLength: 1, unit: 'binary' })) })

describe('printable()', () => {
  it('leaves nothing that a terminal obeys or an eye cannot see', () => {
    fc.assert(fc.property(hostile, text => !UNSAFE.test(printable(text))))
    fc.assert(fc.property(hostile, text => !UNSAFE.test(printableLines(text).replaceAll('\n', ''))))
  })

  it('shows what stood there', () => {
    expect(printable('a\u001b[2Jb\n\u202ec\u{e0041}')).to.equal('a\\x1b[2Jb\\n\\u202ec\\u{e0041}')
    expect(printable('grüße 👋 日本')).to.equal('grüße 👋 日本')
  })
})

describe('escapeJson()', () => {
  it('gives safe text that reads back the same', () => {
    fc.assert(
      fc.property(fc.jsonValue(), hostile, (value, text) => {
        const all = { value, text }
        const json = escapeJson(JSON.stringify(all))
        expect(JSON.parse(json)).to.deep.equal(JSON.parse(JSON.stringify(all)))
        return !UNSAFE.test(json)
      }),
    )
  })
})

describe('fit()', () => {
  it('never takes more columns than it was given', () => {
    fc.assert(fc.property(hostile, fc.integer({ min: 1, max: 20 }), (text, columns) => displayWidth(fit(printable(text), columns)) <= columns))
  })

  it('counts wide letters twice and marks not at all', () => {
    expect(displayWidth('日本')).to.equal(4)
    expect(displayWidth('e\u0301')).to.equal(1)
    expect(fit('日本語', 4)).to.equal('日…')
  })
})

describe('toYaml()', () => {
  it('quotes what would read as something else', () => {
    expect(toYaml({ a: 'true', b: 'no', c: '1.5', d: 'plain words', e: '- x', f: [], g: {}, h: [{ i: 1, j: [2] }, 'k'], l: undefined })).to.equal(
      'a: "true"\nb: "no"\nc: "1.5"\nd: plain words\ne: "- x"\nf: []\ng: {}\nh:\n- i: 1\n  j:\n  - 2\n- k\n',
    )
  })
})
