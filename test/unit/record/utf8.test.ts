import { expect } from 'chai'
import fc from 'fast-check'
import { createUtf8Parts, decodeExact } from '../../../src/record/utf8.ts'
import type { Utf8Part } from '../../../src/record/utf8.ts'
import { fuzzRuns } from '../../support/fuzz-runs.ts'

const encode = (text: string): Uint8Array => new TextEncoder().encode(text)

function joined(parts: readonly Utf8Part[]): number[] {
  return parts.flatMap(part => {
    const bytes = 'text' in part ? encode(part.text) : part.bytes
    expect(bytes.length).equal(part.size)
    return [...bytes]
  })
}

/** Chunks of the given sizes, `true` flushes after the chunk. */
function cut(bytes: Uint8Array, partBytes: number, steps: readonly (readonly [number, boolean])[]): Utf8Part[] {
  const utf8 = createUtf8Parts({ partBytes })
  const parts: Utf8Part[] = []
  let at = 0
  for (const [size, flush] of steps) {
    parts.push(...utf8.push(bytes.slice(at, at + size)))
    at += size
    if (flush) parts.push(...utf8.flush())
  }
  parts.push(...utf8.push(bytes.slice(at)), ...utf8.end())
  return parts
}

const steps = fc.array(fc.tuple(fc.nat(12), fc.boolean()), { maxLength: 20 })

describe('createUtf8Parts()', () => {
  it('gives text only, and the same text, when the bytes are UTF-8', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.integer({ min: 4, max: 20 }), steps, (text, partBytes, how) => {
        const bytes = encode(text)
        const parts = cut(bytes, partBytes, how)
        expect(parts.every(part => 'text' in part && part.size <= partBytes && part.size > 0)).equal(true)
        expect(joined(parts)).deep.equal([...bytes])
      }),
      fuzzRuns,
    )
  })

  it('gives the same bytes when they are anything', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), fc.integer({ min: 4, max: 20 }), steps, (bytes, partBytes, how) => {
        const parts = cut(bytes, partBytes, how)
        expect(parts.every(part => part.size <= partBytes && part.size > 0)).equal(true)
        expect(joined(parts)).deep.equal([...bytes])
      }),
      fuzzRuns,
    )
  })

  it('flush() keeps the beginning of a code point back', () => {
    const utf8 = createUtf8Parts({ partBytes: 100 })
    const [a, b, c, d] = encode('😀')
    utf8.push(new Uint8Array([0x61, a ?? 0, b ?? 0, c ?? 0]))
    expect(utf8.flush()).deep.equal([{ text: 'a', size: 1 }])
    expect(utf8.flush()).deep.equal([])
    utf8.push(new Uint8Array([d ?? 0]))
    expect(utf8.flush()).deep.equal([{ text: '😀', size: 4 }])
    expect(utf8.end()).deep.equal([])
  })

  it('keeps a BOM, and gives bytes when the last code point stays incomplete', () => {
    expect(cut(encode('\ufeffa'), 16, [])).deep.equal([{ text: '\ufeffa', size: 4 }])
    expect(cut(new Uint8Array([0xe2, 0x82]), 16, [[1, true]])).deep.equal([{ bytes: new Uint8Array([0xe2, 0x82]), size: 2 }])
  })
})

describe('decodeExact()', () => {
  it('gives text only when encoding it gives the same bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 8 }), bytes => {
        const text = decodeExact(bytes)
        if (text !== undefined) expect(encode(text)).deep.equal(bytes)
      }),
      fuzzRuns,
    )
    expect(decodeExact(new Uint8Array([0xef, 0xbb, 0xbf]))).equal('\ufeff')
    expect(decodeExact(new Uint8Array([0xff]))).equal(undefined)
    expect(decodeExact(new Uint8Array([0xed, 0xa0, 0x80]))).equal(undefined)
    expect(decodeExact(new Uint8Array([0xc0, 0xaf]))).equal(undefined)
  })
})
