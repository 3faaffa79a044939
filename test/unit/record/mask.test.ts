import { expect } from 'chai'
import fc from 'fast-check'
import { createStreamMasker } from '../../../src/record/mask.ts'
import { fuzzRuns } from '../../support/fuzz-runs.ts'

const keys = ['requestState']

function mask(text: string, cuts: readonly number[]): string {
  const masker = createStreamMasker({ keys })
  const at = [0, ...cuts.map(cut => cut % (text.length + 1)).toSorted((a, b) => a - b), text.length]
  return at.slice(1).map((to, i) => masker.push(text.slice(at[i], to))).join('') + masker.flush()
}

function everywhere(text: string, check: (masked: string) => void): void {
  for (let cut = 0; cut <= text.length; cut++) check(mask(text, [cut]))
  check(mask(text, Array.from({ length: text.length }, (_, i) => i)))
}

/** Masks by parsing. */
function reference(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reference)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, inner]: [string, unknown]) => [key, key === 'requestState' && (typeof inner === 'string' || (typeof inner === 'object' && inner !== null)) ? 'steno:masked' : reference(inner)]))
}

describe('createStreamMasker()', () => {
  it('masks the value wherever the text is cut', () => {
    everywhere('{"a":"requestState","requestState" :\n "se\\"cr\\\\","b":"\\\\","c":1}', masked => expect(masked).equal('{"a":"requestState","requestState" :\n "steno:masked","b":"\\\\","c":1}'))
    everywhere('{"result":{"request\\u0053tate":"secret","x":"y"}}', masked => expect(masked).equal('{"result":{"request\\u0053tate":"steno:masked","x":"y"}}'))
    everywhere('{"requestState":{"a":["]}\\"",{}]},"b":2}', masked => expect(masked).equal('{"requestState":"steno:masked","b":2}'))
  })

  it('leaves alone what only looks like the key', () => {
    for (const text of ['{"text":"{\\"requestState\\":\\"no\\"}"}', '{"requestState":null}', '{"requestState":5}', '["requestState","x"]', '{"requestStates":"x"}', '{"xrequestState":"x"}', '{"requestState"', '']) everywhere(text, masked => expect(masked).equal(text))
  })

  it('masks also in damaged text, and to its end when the value does not end', () => {
    expect(mask('"{"requestState":"secret","x":1}', [])).equal('"{"requestState":"steno:masked","x":1}')
    everywhere('{"requestState":"secret', masked => expect(masked).equal('{"requestState":"steno:masked"'))
    everywhere('{"requestState":["secret"', masked => expect(masked).equal('{"requestState":"steno:masked"'))
  })

  it('masks what a parser would mask when the text is JSON', () => {
    const json = fc.letrec<{ value: unknown }>(tie => ({ value: fc.oneof({ maxDepth: 4 }, fc.string({ unit: 'binary' }), fc.constantFrom('requestState', '"requestState":"x"', '\\', '"'), fc.integer(), fc.constant(null), fc.array(tie('value'), { maxLength: 3 }), fc.dictionary(fc.oneof(fc.constant('requestState'), fc.string()), tie('value'), { maxKeys: 3, noNullPrototype: true })) })).value
    fc.assert(
      fc.property(json, fc.integer({ min: 0, max: 2 }), fc.array(fc.nat(), { maxLength: 8 }), (value, indent, cuts) => {
        const text = JSON.stringify(value, undefined, indent)
        expect(JSON.parse(mask(text, cuts))).deep.equal(reference(JSON.parse(text)))
      }),
      fuzzRuns,
    )
  })

  it('takes long values, long strings and runs of backslashes in linear time', () => {
    const masker = createStreamMasker({ keys })
    let length = masker.push('{"requestState":"').length
    for (let i = 0; i < 100; i++) length += masker.push('\\\\'.repeat(100_000)).length
    length += masker.push(`","x":"${'\\"'.repeat(1_000_000)}`).length
    expect(length).lessThan(2_100_000)
  })
})
