import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'

import { expect } from 'chai'
import fc from 'fast-check'

import { checkHeader, crcSeed, encodeHeader, encodeRecord, HEADER_BYTES, logName, parseLogName, peekLine, RECORD_HEAD_BYTES, RECORD_MAGIC } from '../../../../src/recorder/spool/log-format.ts'
import { openLogReader } from '../../../../src/recorder/spool/log-reader.ts'
import type { LogItem } from '../../../../src/recorder/spool/log-reader.ts'
import { frameLine } from '../../../support/build-recording.ts'
import { fuzzRuns } from '../../../support/fuzz-runs.ts'

const WRITER = '01hzzzzzzzzzzzzzzzzzzzzzzz'
const OTHER = '01hyyyyyyyyyyyyyyyyyyyyyyy'

function record(line: string, writer = WRITER): Buffer {
  const target = Buffer.alloc(RECORD_HEAD_BYTES + line.length * 3)
  return target.subarray(0, encodeRecord(target, 0, line, crcSeed(writer)))
}

describe('openLogReader()', () => {
  let folder: string
  let path: string

  /** Everything in a file, lines as text. */
  const readAll = async (bytes: Buffer, limit = Infinity, writer = WRITER): Promise<unknown[]> => {
    await writeFile(path, bytes)
    const reader = openLogReader(path, writer, 0)
    try {
      const items: unknown[] = []
      for (;;) {
        const item: LogItem = reader.next(limit)
        items.push(item.kind === 'line' ? item.line.toString() : item)
        if (item.kind === 'end') return items
      }
    } finally {
      reader.close()
    }
  }
  const end = (bytes = 0): LogItem => ({ kind: 'end', bytes })

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'log-reader-'))
    path = join(folder, 'log')
  })
  afterEach(() => rm(folder, { recursive: true, force: true }))

  it('gives lines back as they were written, of any size, up to the zeros', async () => {
    const lines = ['a', 'grüße €', 'x'.repeat(300_000), 'y'.repeat(800_000), 'z']
    expect(await readAll(Buffer.concat([encodeHeader(WRITER, 0), ...lines.map(line => record(line)), Buffer.alloc(1_000_000)]))).to.deep.equal([...lines, end()])
    expect(await readAll(Buffer.concat([encodeHeader(WRITER, 0), ...lines.map(line => record(line))]))).to.deep.equal([...lines, end()])
  })

  it('gives any lines back', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.string({ minLength: 1, maxLength: 50, unit: 'grapheme' }), { maxLength: 20 }), async lines => {
        expect(await readAll(Buffer.concat([encodeHeader(WRITER, 3), ...lines.map(line => record(line)), Buffer.alloc(9)]))).to.deep.equal([...lines, end()])
      }),
      fuzzRuns,
    )
  })

  it('never reads past the limit, and reads on when it has moved', async () => {
    await writeFile(path, Buffer.concat([encodeHeader(WRITER, 0), record('one'), record('two'), record('three')]))
    const one = HEADER_BYTES + RECORD_HEAD_BYTES + 3
    const reader = openLogReader(path, WRITER, 0)
    expect(reader.next(0)).to.deep.equal(end())
    expect(reader.next(one)).to.include({ kind: 'line', start: HEADER_BYTES, end: one })
    expect(reader.next(one)).to.deep.equal(end())
    expect(reader.next(one + RECORD_HEAD_BYTES + 3)).to.include({ kind: 'line', start: one })
    expect(reader.next(Infinity)).to.include({ kind: 'line' })
    expect(reader.next(Infinity)).to.deep.equal(end())
    reader.close()
  })

  it('reads a log whole that was still being made when it was opened', async () => {
    const lines = ['one', 'y'.repeat(500), 'three']
    const whole = Buffer.concat([encodeHeader(WRITER, 0), ...lines.map(line => record(line)), Buffer.alloc(100)])
    for (const size of [0, HEADER_BYTES, HEADER_BYTES + 15, HEADER_BYTES + 16, HEADER_BYTES + 100]) {
      for (const limit of [whole.length, Infinity]) {
        await writeFile(path, Buffer.alloc(size))
        const reader = openLogReader(path, WRITER, 0)
        expect(reader.next(0)).to.deep.equal(end())
        await writeFile(path, whole)
        const read: unknown[] = []
        for (let item = reader.next(limit); item.kind !== 'end'; item = reader.next(limit)) read.push(item.kind === 'line' ? item.line.toString() : item)
        reader.close()
        expect(read, `opened at ${size} bytes`).to.deep.equal(lines)
      }
    }
  })

  it('finds the next record after damage of any length, across its window', async () => {
    for (const length of [1, 11, 12, 13, 262_100, 262_130, 262_131, 262_132, 262_133, 262_134, 262_144, 600_000]) {
      for (const fill of [0, 0x41, 0xfe]) {
        const items = await readAll(Buffer.concat([encodeHeader(WRITER, 0), record('one'), Buffer.alloc(length, fill), record('two')]))
        expect(items, `${length} of ${fill}`).to.deep.equal(['one', { kind: 'damage', bytes: length, end: HEADER_BYTES + 15 + length }, 'two', end()])
      }
    }
  })

  it('gives every record that no damage has touched, and no other line, however much is damaged', async () => {
    const lines = Array.from({ length: 40 }, (_, at) => `${at} ${'grüße '.repeat((at * 7) % 50)}`)
    const records = lines.map(line => record(line))
    const starts = records.map((_, at) => HEADER_BYTES + records.slice(0, at).reduce((sum, each) => sum + each.length, 0))
    const whole = Buffer.concat([encodeHeader(WRITER, 0), ...records, Buffer.alloc(700)])
    const range = fc.record({ at: fc.nat(whole.length - 1), length: fc.integer({ min: 1, max: 600 }), fill: fc.constantFrom(0, 0x41, 0xfe, 0xff) })
    await fc.assert(
      fc.asyncProperty(fc.array(range, { minLength: 1, maxLength: 6 }), async damage => {
        const bytes = Buffer.from(whole)
        for (const { at, length, fill } of damage) bytes.fill(fill, at, Math.min(at + length, bytes.length))
        const untouched = lines.filter((_, at) => {
          const start = starts[at] ?? 0
          const end = start + (records[at]?.length ?? 0)
          return bytes.subarray(start, end).equals(whole.subarray(start, end))
        })
        const items = await readAll(bytes)
        expect(items.filter(item => typeof item === 'string')).to.deep.equal(untouched)
        expect(items.at(-1)).to.have.property('kind', 'end')
      }),
      fuzzRuns,
    )
  })

  it('says how long a torn end is', async () => {
    const whole = Buffer.concat([encodeHeader(WRITER, 0), record('one')])
    expect(await readAll(Buffer.concat([whole, record('two').subarray(0, 14), Buffer.alloc(100_000)]))).to.deep.equal(['one', end(14)])
    expect(await readAll(Buffer.concat([whole, Buffer.alloc(500_000), Buffer.from('x'), Buffer.alloc(500_000)]))).to.deep.equal(['one', end(500_001)])
  })

  it('never takes a block of another writer, a record of length 0 or one that is longer than a line', async () => {
    const long = Buffer.alloc(RECORD_HEAD_BYTES)
    RECORD_MAGIC.copy(long)
    long.writeUInt32LE(0xffff_ffff, 4)
    long.writeUInt32LE(0xffff_ffff, 8)
    const empty = Buffer.from(long)
    empty.writeUInt32LE(0, 4)
    empty.writeUInt32LE(crc32(empty.subarray(4, 8), crcSeed(WRITER)), 8)
    for (const bytes of [record('stale', OTHER), long, empty, RECORD_MAGIC]) {
      expect(await readAll(Buffer.concat([encodeHeader(WRITER, 0), record('one'), bytes]))).to.deep.equal(['one', end(bytes.length)])
      expect(await readAll(Buffer.concat([encodeHeader(WRITER, 0), bytes, record('one')]))).to.deep.equal([{ kind: 'damage', bytes: bytes.length, end: HEADER_BYTES + bytes.length }, 'one', end()])
    }
  })

  it('does not mind a damaged header, an empty file or one of zeros', async () => {
    const header = encodeHeader(WRITER, 0)
    header[20] = 1
    expect(await readAll(Buffer.concat([header, record('one')]))).to.deep.equal(['one', end()])
    expect(await readAll(Buffer.alloc(0))).to.deep.equal([end()])
    expect(await readAll(Buffer.alloc(100))).to.deep.equal([end()])
    expect(await readAll(Buffer.alloc(5000))).to.deep.equal([end()])
  })
})

describe('checkHeader()', () => {
  it('refuses a newer version by its name, and only when its CRC is right', () => {
    const header = encodeHeader(WRITER, 7)
    expect(checkHeader(header, 'x')).to.equal('valid')
    header.writeUInt16LE(2, 8)
    expect(checkHeader(header, 'x')).to.equal('damaged')
    header.writeUInt32LE(crc32(header.subarray(0, HEADER_BYTES - 4)), HEADER_BYTES - 4)
    expect(() => checkHeader(header, 'the-file.log')).to.throw('the-file.log').with.property('code', 'spool.version')
    expect(checkHeader(Buffer.alloc(HEADER_BYTES), 'x')).to.equal('empty')
    expect(checkHeader(Buffer.from('short'), 'x')).to.equal('damaged')
  })
})

describe('parseLogName()', () => {
  it('takes exactly the names that logName() gives', () => {
    for (const file of [0, 1, 999_999, 1_000_000]) expect(parseLogName(logName(WRITER, file))).to.deep.equal({ writer: WRITER, file })
    for (const name of [`${WRITER}-0000001.log`, `${WRITER}-1.log`, `${WRITER}-000001.log.gz`, `x${WRITER}-000001.log`, `${WRITER.toUpperCase()}-000001.log`, 'nginx-20240101.log', 'lock', '']) {
      expect(parseLogName(name), name).to.equal(undefined)
    }
  })
})

describe('peekLine()', () => {
  it('reads seq, time, kind and session from the beginning of a line, however long ids are', () => {
    expect(peekLine(Buffer.from(frameLine(WRITER, 12, { kind: 'exchange.start', session: 's1', exchange: 0 })))).to.deep.equal({ writer: WRITER, seq: 12, time: '2026-01-02T03:04:05.120000Z', kind: 'exchange.start', session: 's1' })
    const session = 'S'.repeat(255)
    expect(peekLine(Buffer.from(frameLine('w'.repeat(255), 1, { kind: 'http', session, body: 'ü'.repeat(2000) })))).to.include({ session })
    expect(peekLine(Buffer.from(frameLine(WRITER, 1, { kind: 'http' })))).to.not.have.property('session')
    for (const text of ['', '{}', '{"writer":"w"}', '{"kind":"seal"}']) expect(peekLine(Buffer.from(text))).to.equal(undefined)
  })
})
