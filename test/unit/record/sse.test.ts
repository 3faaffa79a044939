import { expect } from 'chai'
import fc from 'fast-check'
import { createSseTap } from '../../../src/record/sse.ts'
import type { SsePiece } from '../../../src/record/sse.ts'
import { fuzzRuns } from '../../support/fuzz-runs.ts'

const LIMIT = 1 << 20

function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}

function textOf(bytes: Uint8Array): string {
  return new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes)
}

function join(all: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(all.reduce((sum, each) => sum + each.length, 0))
  let at = 0
  for (const each of all) {
    joined.set(each, at)
    at += each.length
  }
  return joined
}

function tap(chunks: readonly Uint8Array[], maxEventBytes = LIMIT): SsePiece[] {
  const sse = createSseTap({ maxEventBytes })
  return [...chunks.flatMap(chunk => [...sse.push(chunk)]), ...sse.end()]
}

function split(bytes: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const at = [0, ...cuts.map(cut => cut % (bytes.length + 1)).toSorted((a, b) => a - b), bytes.length]
  return at.slice(1).map((to, i) => bytes.slice(at[i], to))
}

/** Messages and counts: what must not depend on how the bytes were cut. */
function meaning(pieces: readonly SsePiece[]): unknown {
  const messages: unknown[] = []
  let quiet = [0, 0]
  let open: Uint8Array[] = []
  for (const piece of pieces) {
    switch (piece.kind) {
      case 'event':
        messages.push({ data: textOf(piece.data), id: piece.id, event: piece.event })
        break
      case 'part':
        expect(piece.first).equal(open.length === 0)
        open.push(piece.data)
        if (piece.last) {
          if (piece.cut === undefined && open.some(each => each.length > 0)) messages.push({ data: textOf(join(open)), id: piece.id, event: piece.event })
          else if (piece.cut === undefined) quiet = [quiet[0] ?? 0, (quiet[1] ?? 0) + 1]
          open = []
        }
        break
      case 'quiet':
        quiet = [(quiet[0] ?? 0) + piece.comments, (quiet[1] ?? 0) + piece.priming]
        break
      case 'tail':
        break
    }
  }
  expect(open).deep.equal([])
  return { messages, quiet }
}

const line = fc.oneof(
  fc.constantFrom('data: {"jsonrpc":"2.0"}', 'data:', 'data', 'data:é€😀', 'data:  two', 'id: 7', 'id', 'event: message', 'retry: 1500', ': keepalive', ':', 'foo: bar', 'dat', 'datax: 1', '\ufeffdata: x', ' data: x', ''),
  fc.string({ unit: 'binary' }),
)
const stream = fc.tuple(fc.boolean(), fc.array(fc.tuple(line, fc.constantFrom('\n', '\r', '\r\n', '\n\n', '\r\r', '\r\n\r\n'))), fc.string()).map(([bom, lines, rest]) => bytesOf(`${bom ? '\ufeff' : ''}${lines.map(each => each.join('')).join('')}${rest}`))

/** The specification's algorithm, the simple way: whole text, whole lines. */
function reference(text: string): string[] {
  const lines = text.replace(/^\ufeff/, '').split(/\r\n|\r|\n/)
  lines.pop()
  const events: string[] = []
  let data: string[] = []
  for (const each of lines) {
    if (each === '') {
      if (data.join('\n') !== '') events.push(data.join('\n'))
      data = []
    } else if (each === 'data') {
      data.push('')
    } else if (each.startsWith('data:')) {
      data.push(each.slice(5).replace(/^ /, ''))
    }
  }
  return events
}

describe('createSseTap()', () => {
  it('gives back exactly the bytes that came, in order, however they are cut', () => {
    fc.assert(
      fc.property(stream, fc.array(fc.nat()), fc.oneof(fc.integer({ min: 1, max: 30 }), fc.constant(LIMIT)), (bytes, cuts, max) => {
        const pieces = tap(split(bytes, cuts), max)
        expect(join(pieces.map(each => each.bytes))).deep.equal(bytes)
      }),
      fuzzRuns,
    )
  })

  it('gives the same messages however the bytes are cut and whatever the limit', () => {
    fc.assert(
      fc.property(stream, fc.array(fc.nat()), fc.integer({ min: 1, max: 60 }), (bytes, cuts, max) => {
        const whole = meaning(tap([bytes]))
        expect(meaning(tap(split(bytes, cuts)))).deep.equal(whole)
        expect(meaning(tap(Array.from(bytes, byte => new Uint8Array([byte]))))).deep.equal(whole)
        const inParts = meaning(tap(split(bytes, cuts), max)) as { messages: unknown }
        expect(inParts.messages).deep.equal((whole as { messages: unknown }).messages)
      }),
      fuzzRuns,
    )
  })

  it('gives the messages that the specification says', () => {
    fc.assert(
      fc.property(stream, bytes => {
        const found = tap([bytes]).flatMap(each => (each.kind === 'event' ? [textOf(each.data)] : []))
        // Lone surrogates of the generator become U+FFFD on encoding, so the reference reads what was encoded.
        expect(found).deep.equal(reference(textOf(bytes)))
      }),
      fuzzRuns,
    )
  })

  it('reads fields and leaves the bytes alone', () => {
    const [piece, ...more] = tap([bytesOf('event: message\nid: 7\nretry: 1500\ndata: a\n: inside\ndata: b\n\n')])
    expect(more).deep.equal([])
    expect(piece).deep.include({ kind: 'event', id: '7', event: 'message', data: bytesOf('a\nb') })
  })

  it('lets a comment go as soon as its line is complete', () => {
    const sse = createSseTap({ maxEventBytes: LIMIT })
    expect(sse.push(bytesOf(': keep'))).deep.equal([])
    expect(sse.push(bytesOf('alive\n'))).deep.equal([{ kind: 'quiet', bytes: bytesOf(': keepalive\n'), comments: 1, priming: 0 }])
    expect(sse.push(bytesOf('\n'))).deep.equal([{ kind: 'quiet', bytes: bytesOf('\n'), comments: 0, priming: 0 }])
    expect(sse.push(bytesOf(': a\n\n: b\n\n'))).deep.equal([{ kind: 'quiet', bytes: bytesOf(': a\n\n: b\n\n'), comments: 2, priming: 0 }])
  })

  it('counts a priming event as quiet', () => {
    expect(tap([bytesOf('id: 1\ndata: \n\n')])).deep.equal([{ kind: 'quiet', bytes: bytesOf('id: 1\ndata: \n\n'), comments: 0, priming: 1 }])
    expect(tap([bytesOf('retry: 5\n\n')])).deep.equal([{ kind: 'quiet', bytes: bytesOf('retry: 5\n\n'), comments: 0, priming: 1 }])
  })

  it('completes an event at once when a chunk ends with CR, and lets the LF go quietly', () => {
    const sse = createSseTap({ maxEventBytes: LIMIT })
    expect(sse.push(bytesOf('data: a\r\n\r')).map(each => each.kind)).deep.equal(['event'])
    expect(sse.push(bytesOf('\ndata: b\r\n\r\n')).map(each => [each.kind, textOf(each.bytes)])).deep.equal([
      ['quiet', '\n'],
      ['event', 'data: b\r\n\r\n'],
    ])
  })

  it('knows a BOM at the beginning, also when it is cut', () => {
    const bytes = bytesOf('\ufeffdata: a\n\n')
    expect(meaning(tap([bytes.subarray(0, 1), bytes.subarray(1, 2), bytes.subarray(2)]))).deep.equal(meaning(tap([bytesOf('data: a\n\n')])))
    expect(meaning(tap([bytesOf('data: a\n\n\ufeffdata: b\n\n')]))).deep.equal({ messages: [{ data: 'a', id: undefined, event: undefined }], quiet: [0, 1] })
    expect(tap([new Uint8Array([0xef, 0x0a, 0x0a])])).deep.include.members([{ kind: 'quiet', bytes: new Uint8Array([0xef, 0x0a, 0x0a]), comments: 0, priming: 1 }])
  })

  it('gives an event over the limit in parts, the rest of a cut one as its last part', () => {
    const pieces = tap([bytesOf(`id: 3\ndata: ${'x'.repeat(100)}\ndata: y\n\ndata: z\n\n`)], 40)
    expect(pieces.map(each => each.kind)).deep.equal(['part', 'part', 'part', 'part', 'event'])
    expect(Math.max(...pieces.map(each => each.bytes.length))).most(40)
    expect(meaning(pieces)).deep.equal({ messages: [{ data: `${'x'.repeat(100)}\ny`, id: '3', event: undefined }, { data: 'z', id: undefined, event: undefined }], quiet: [0, 0] })
    expect(tap([bytesOf(`data: ${'x'.repeat(100)}`)], 40).at(-1)).deep.include({ kind: 'part', last: true, cut: true })
    expect(tap([bytesOf('data: x\n')])).deep.equal([{ kind: 'tail', bytes: bytesOf('data: x\n') }])
  })

  it('lets a comment over the limit go without holding it', () => {
    const pieces = tap([bytesOf(`:${'x'.repeat(100)}\n\n`)], 10)
    expect(pieces.every(each => each.kind === 'quiet')).equal(true)
    expect(meaning(pieces)).deep.equal({ messages: [], quiet: [1, 0] })
  })

  it('takes one line of 20 MB in chunks of 16 KiB, whole and in parts', () => {
    const chunk = new Uint8Array(16 * 1024).fill(0x61)
    for (const maxEventBytes of [64 << 20, 256 << 10]) {
      const sse = createSseTap({ maxEventBytes })
      const pieces: SsePiece[] = [...sse.push(bytesOf('data: '))]
      for (let sent = 0; sent < 20 << 20; sent += chunk.length) pieces.push(...sse.push(chunk))
      pieces.push(...sse.push(bytesOf('\n\n')), ...sse.end())
      expect(pieces.reduce((sum, each) => sum + (each.kind === 'event' || each.kind === 'part' ? each.data.length : 0), 0)).equal(20 << 20)
      expect(pieces.at(-1)).deep.include(maxEventBytes > 20 << 20 ? { kind: 'event' } : { kind: 'part', last: true })
    }
  })

  it('takes 20 MB of one-byte lines, and 2 MB byte by byte', () => {
    const sse = createSseTap({ maxEventBytes: 256 << 10 })
    const lines = new Uint8Array(1 << 20).fill(0x0a)
    for (let i = 0; i < 20; i++) expect(sse.push(lines)).length(1)
    const byte = new Uint8Array([0x61])
    sse.push(bytesOf('data:'))
    for (let i = 0; i < 2 << 20; i++) sse.push(byte)
    expect(sse.end()).length(1)
  })
})
