import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'

import { expect } from 'chai'

import { crcSeed, encodeHeader, encodeRecord, RECORD_HEAD_BYTES } from '../../../../src/recorder/spool/log-format.ts'
import { listLogs, spoolPath } from '../../../../src/recorder/spool/list-logs.ts'
import { openWriterStream } from '../../../../src/recorder/shipper/writer-stream.ts'
import type { LogPlace, WriterStream } from '../../../../src/recorder/shipper/writer-stream.ts'
import type { Packed } from '../../../../src/recorder/shipper/segment-builder.ts'
import { frameLine } from '../../../support/build-recording.ts'

const WRITER = '01hzzzzzzzzzzzzzzzzzzzzzzz'
const BUDGET = 512 * 1024

describe('openWriterStream()', () => {
  let folder: string
  let stream: WriterStream | undefined
  let holes: [number, number][]

  const pathOf = (file: number): string => spoolPath(folder)(WRITER, file)
  /** Text that hardly compresses, so that segments fill soon. */
  const noise = (seq: number, length: number): string => {
    let text = ''
    for (let state = seq + 1; text.length < length; ) {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
      text += state.toString(36)
    }
    return text.slice(0, length)
  }
  const lineOf = (seq: number, length = 10): string => frameLine(WRITER, seq, { kind: 'http', from: 'client', body: noise(seq, length), bytes: length })
  const record = (line: string): Buffer => {
    const target = Buffer.alloc(RECORD_HEAD_BYTES + line.length * 3)
    return target.subarray(0, encodeRecord(target, 0, line, crcSeed(WRITER)))
  }
  const writeLog = async (file: number, ...parts: (string | Buffer)[]): Promise<LogPlace> => {
    const bytes = Buffer.concat([encodeHeader(WRITER, file), ...parts.map(part => (typeof part === 'string' ? record(part) : part))])
    await writeFile(pathOf(file), Buffer.concat([bytes, Buffer.alloc(1000)]))
    return { file, offset: bytes.length }
  }
  const open = (now = Date.now, waitedMs = 0): WriterStream => {
    stream = openWriterStream({ directory: folder, writer: WRITER, files: listLogs(folder).get(WRITER) ?? [], pathOf, now, waitedMs, level: 3, onHole: (from, to) => holes.push([from, to]) })
    return stream
  }
  /** All that the stream gives, each segment accepted at once. */
  const drain = async (from: WriterStream, durable?: LogPlace): Promise<Packed[]> => {
    const packed: Packed[] = []
    const take = async (next: Packed): Promise<void> => {
      packed.push(next)
      expect(await from.accepted(next)).to.equal(undefined)
    }
    for (let item = from.read(durable, BUDGET); item !== 'idle'; item = from.read(durable, BUDGET)) if (item !== 'more') await take(item)
    for (let next = from.finish(); next !== undefined; next = from.finish()) await take(next)
    return packed
  }
  const linesOf = (packed: readonly Packed[]): string[] => packed.flatMap(({ segment }) => gunzipSync(segment.bytes).toString().split('\n')).filter(line => line.startsWith('{"writer"'))
  const ranges = (packed: readonly Packed[]): unknown[] =>
    packed.map(({ segment }) => {
      const first: unknown = JSON.parse(gunzipSync(segment.bytes).toString().split('\n')[0] ?? '')
      const { firstSeq, lastSeq, frames } = segment.index
      return [firstSeq, lastSeq, frames, (first as { previous: string | null }).previous === null ? 'null' : 'chained']
    })

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'stream-'))
    stream = undefined
    holes = []
  })
  afterEach(async () => {
    await stream?.close()
    await rm(folder, { recursive: true, force: true })
  })

  it('gives a segment before a hole and one after it that claims no chain, with every frame around the hole', async () => {
    await writeLog(0, lineOf(0), lineOf(1), Buffer.from('torn'))
    await writeLog(1, lineOf(4), lineOf(5), lineOf(8))
    const packed = await drain(open())
    expect(ranges(packed)).to.deep.equal([[0, 1, 2, 'chained'], [4, 5, 2, 'null'], [8, 8, 1, 'null']])
    expect(linesOf(packed)).to.deep.equal([0, 1, 4, 5, 8].map(seq => lineOf(seq)))
    expect(holes).to.deep.equal([[2, 3], [6, 7]])
  })

  it('keeps ranges right when a hole comes while more than one segment waits', async () => {
    // Just under a segment of noise, then a block that does not fit any more, then the hole.
    const seqs = [...Array.from({ length: 12 }, (_, seq) => seq), 13]
    await writeLog(0, ...seqs.map(seq => lineOf(seq, 126_000)))
    const packed = await drain(open())
    expect(linesOf(packed)).to.deep.equal(seqs.map(seq => lineOf(seq, 126_000)))
    expect(ranges(packed)).to.deep.equal([[0, 10, 11, 'chained'], [11, 11, 1, 'chained'], [13, 13, 1, 'null']])
    expect(holes).to.deep.equal([[12, 12]])
  })

  for (let length = 60_000; length <= 130_000; length += 10_000) {
    it(`gives every frame once, in its range, around holes between frames of ${length} bytes`, async () => {
      const seqs = Array.from({ length: 30 }, (_, at) => at + Math.floor(at / 9))
      await writeLog(0, ...seqs.slice(0, 14).map(seq => lineOf(seq, length)))
      await writeLog(3, ...seqs.slice(10).map(seq => lineOf(seq, length)))
      const packed = await drain(open())
      expect(linesOf(packed)).to.deep.equal(seqs.map(seq => lineOf(seq, length)))
      for (const each of packed) expect(linesOf([each]).map(line => line.length)).to.have.length(each.segment.index.frames)
      for (const { segment } of packed) expect(segment.index.lastSeq - segment.index.firstSeq + 1).to.equal(segment.index.frames)
    })
  }

  it('tells of a hole at the beginning when damage lies there', async () => {
    await writeLog(0, Buffer.from('torn'))
    await writeLog(1, lineOf(2))
    expect(ranges(await drain(open()))).to.deep.equal([[2, 2, 1, 'null']])
    expect(holes).to.deep.equal([[0, 1]])
  })

  it('starts with a segment that claims no chain when the first file is gone', async () => {
    await writeLog(4, lineOf(100), lineOf(101))
    expect(ranges(await drain(open()))).to.deep.equal([[100, 101, 2, 'null']])
    // Gone because it was shipped, as far as anyone can tell.
    expect(holes).to.deep.equal([])
  })

  it('goes on after the position, in the chain, and removes files only below it', async () => {
    await writeLog(0, lineOf(0), lineOf(1))
    const place = await writeLog(1, lineOf(2), lineOf(3))
    expect(ranges(await drain(open(), place))).to.deep.equal([[0, 3, 4, 'chained']])
    expect(await readdir(folder)).to.have.members([`${WRITER}-000001.log`, `${WRITER}.shipped`])
    await stream?.close()
    const later = await writeLog(1, lineOf(2), lineOf(3), lineOf(4))
    expect(ranges(await drain(open(), later))).to.deep.equal([[4, 4, 1, 'chained']])
    await stream?.remove()
    expect(await readdir(folder)).to.deep.equal([])
  })

  it('writes its position down once in 200 ms, before it removes a file, and when it is closed; what a kill leaves unwritten goes out again', async () => {
    let nowMs = 0
    const live = open(() => nowMs)
    /** One more frame, as a segment of its own, accepted. @returns the first frame that a start after a kill would send */
    const accept = async (file: number, ...lines: readonly string[]): Promise<unknown> => {
      const durable = await writeLog(file, ...lines)
      while (live.read(durable, BUDGET) !== 'idle');
      expect(await live.accepted(live.finish() as Packed)).to.equal(undefined)
      const next = openWriterStream({ directory: folder, writer: WRITER, files: listLogs(folder).get(WRITER) ?? [], pathOf, now: () => nowMs, level: 3, onHole: () => {} })
      while (next.read(undefined, BUDGET) !== 'idle');
      const first = next.finish()?.segment.index.firstSeq
      await next.close()
      return first
    }
    const lines = [0, 1, 2, 3, 4, 5].map(seq => lineOf(seq))
    expect(await accept(0, ...lines.slice(0, 1))).to.equal(undefined)
    nowMs = 199
    expect(await accept(0, ...lines.slice(0, 2))).to.equal(1)
    expect(await accept(0, ...lines.slice(0, 3))).to.equal(1)
    nowMs = 200
    expect(await accept(0, ...lines.slice(0, 4))).to.equal(undefined)
    expect(await accept(1, ...lines.slice(4, 5))).to.equal(undefined)
    expect(await readdir(folder)).to.have.members([`${WRITER}-000001.log`, `${WRITER}.shipped`])
    expect(await accept(1, ...lines.slice(4, 6))).to.equal(5)
    await live.close()
    expect(await drain(open())).to.deep.equal([])
    expect(holes).to.deep.equal([])
  })

  it('reads no further than what is durable, and not what an unfinished file holds', async () => {
    const { offset } = await writeLog(0, lineOf(0))
    await writeLog(0, lineOf(0), lineOf(1))
    await writeLog(1, lineOf(1))
    const live = open()
    expect(live.read({ file: 0, offset: 0 }, BUDGET)).to.equal('idle')
    expect(live.oldestMs).to.equal(undefined)
    expect(live.read({ file: 0, offset }, BUDGET)).to.equal('idle')
    expect(live.oldestMs).to.be.a('number')
    expect(linesOf([live.finish() as Packed])).to.deep.equal([lineOf(0)])
  })

  it('takes the first line for as old as it had waited, and no other', async () => {
    const place = await writeLog(0, lineOf(0), lineOf(1))
    const live = open(() => 10_000, 700)
    expect(live.read(place, BUDGET)).to.equal('idle')
    expect(live.oldestMs).to.equal(9_300)
    live.finish()
    expect(live.read(await writeLog(0, lineOf(0), lineOf(1), lineOf(2)), BUDGET)).to.equal('idle')
    expect(live.oldestMs).to.equal(10_000)
  })

  it('ships everything again when the position is wrong, and loses nothing', async () => {
    const place = await writeLog(0, lineOf(0), lineOf(1), lineOf(2))
    await drain(open(), place)
    await stream?.close()
    // The log of an earlier day under the position of a later one.
    await writeLog(0, lineOf(0, 30), lineOf(1, 30), lineOf(2, 30))
    expect(linesOf(await drain(open()))).to.deep.equal([0, 1, 2].map(seq => lineOf(seq, 30)))
  })
})
