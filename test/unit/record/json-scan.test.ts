import { expect } from 'chai'
import fc from 'fast-check'
import { JsonCursor, MAX_JSON_DEPTH } from '../../../src/record/json-scan.ts'
import { fuzzRuns } from '../../support/fuzz-runs.ts'

/** The whole text is one JSON value with nothing around it but whitespace. */
function accepts(text: string): boolean {
  const cursor = new JsonCursor(text)
  cursor.space()
  cursor.skipValue()
  cursor.space()
  return cursor.fault === undefined && cursor.pos === text.length
}

function parses(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

describe('JsonCursor', () => {
  it('skipValue() agrees with JSON.parse when the text is JSON', () => {
    fc.assert(
      fc.property(fc.json(), fc.integer({ min: 0, max: 3 }), (text, indent) => {
        expect(accepts(text)).equal(true)
        expect(accepts(JSON.stringify(JSON.parse(text), undefined, indent))).equal(true)
      }),
      fuzzRuns,
    )
  })

  it('skipValue() agrees with JSON.parse when JSON was damaged', () => {
    const piece = fc.constantFrom('"', '\\', '{', '}', '[', ']', ',', ':', '0', '-', '.', 'e', '\\u00', 'true', 'nul', ' ', '\n', '\u0000', '\t', '\ud800', '')
    fc.assert(
      fc.property(fc.json(), fc.array(fc.tuple(fc.nat(), fc.nat(3), piece), { minLength: 1, maxLength: 3 }), (json, edits) => {
        let text = json
        for (const [where, removed, added] of edits) {
          const at = where % (text.length + 1)
          text = text.slice(0, at) + added + text.slice(at + removed)
        }
        expect(accepts(text), text).equal(parses(text))
      }),
      fuzzRuns,
    )
  })

  it('skipValue() agrees with JSON.parse when the text is made of JSON tokens', () => {
    const token = fc.constantFrom('{', '}', '[', ']', ',', ':', '"a"', '"\\n"', '1', '-0', '01', '1.', '.5', '1e5', '1E+', '-', 'true', 'false', 'null', ' ', '"\u0001"', '\u00a0', '\ufeff')
    fc.assert(
      fc.property(fc.array(token, { maxLength: 12 }), tokens => {
        const text = tokens.join('')
        expect(accepts(text), text).equal(parses(text))
      }),
      fuzzRuns,
    )
  })

  it('skipValue() finds what is wrong in a long string wherever it stands', () => {
    for (const at of [0, 1, 47, 48, 49, 50, 51, 300]) {
      for (const bad of ['\u0000', '\n', '\\x', '\\u12g4']) {
        const text = JSON.stringify({ a: 'x'.repeat(400) })
        expect(accepts(text.slice(0, 6 + at) + bad + text.slice(6 + at)), `${JSON.stringify(bad)} at ${at}`).equal(false)
      }
      const escaped = `{"a":"${'x'.repeat(at)}\\"\\u0041${'y'.repeat(at)}"}`
      expect(accepts(escaped)).equal(true)
    }
  })

  it('skipValue() says too-deep instead of overflowing when nesting is hostile', () => {
    for (const text of ['['.repeat(1_000_000), '{"a":'.repeat(1_000_000), `${'['.repeat(MAX_JSON_DEPTH + 1)}${']'.repeat(MAX_JSON_DEPTH + 1)}`]) {
      const cursor = new JsonCursor(text)
      expect(cursor.skipValue()).equal(false)
      expect(cursor.fault).equal('too-deep')
    }
    expect(accepts('['.repeat(MAX_JSON_DEPTH) + ']'.repeat(MAX_JSON_DEPTH))).equal(true)
  })

  it('firstKey() and nextKey() give the keys of JSON.parse when they are written with escapes', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string({ unit: 'binary' }), fc.jsonValue(), { noNullPrototype: true }), value => {
        const text = JSON.stringify(value).replaceAll('a', '\\u0061')
        const pretty = parses(text) ? text : JSON.stringify(value)
        const cursor = new JsonCursor(pretty)
        const keys: string[] = []
        for (let key = cursor.firstKey(); key !== undefined; key = cursor.nextKey()) {
          keys.push(key)
          cursor.skipValue()
        }
        expect(cursor.fault).equal(undefined)
        expect(keys.toSorted()).deep.equal(Object.keys(JSON.parse(pretty)).toSorted())
      }),
      fuzzRuns,
    )
  })

  it('name() cuts what is long, and never inside an escape or a surrogate pair', () => {
    const read = (text: string): string | undefined => new JsonCursor(text).name(4)
    expect(read('"abcd"')).equal('abcd')
    expect(read('"abcde"')).equal('abcd…')
    expect(read('"\\u0061\\u0062\\u0063\\u0064"')).equal('abcd')
    expect(read('"\\u0061\\u0062\\u0063\\u0064\\n"')).equal('abcd…')
    expect(read('"abc😀"')).equal('abc…')
    expect(read('"abc\\ud83d\\ude00"')).equal('abc…')
    expect(read('12')).equal(undefined)
    expect(read(`"${'\\u0061'.repeat(1_000_000)}"`)).equal('aaaa…')
  })
})
