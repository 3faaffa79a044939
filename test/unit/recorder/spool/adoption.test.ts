import { execFile } from 'node:child_process'
import { mkdir, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { crc32 } from 'node:zlib'

import { expect } from 'chai'

import { openWriterStream } from '../../../../src/recorder/shipper/writer-stream.ts'
import { adoptSpool } from '../../../../src/recorder/spool/adopt.ts'
import type { Adopted } from '../../../../src/recorder/spool/adopt.ts'
import { HEADER_BYTES, logName } from '../../../../src/recorder/spool/log-format.ts'
import { listLogs, spoolPath } from '../../../../src/recorder/spool/list-logs.ts'
import { openLogReader } from '../../../../src/recorder/spool/log-reader.ts'
import { readArchive } from '../../../support/spool-archive.ts'
import { openTestSpool, spoolFolder } from '../../../support/spool-under-test.ts'
import type { SpoolFolder, SpoolUnderTest } from '../../../support/spool-under-test.ts'

describe('adoption', () => {
  let folder: SpoolFolder

  beforeEach(async () => {
    folder = await spoolFolder()
  })
  afterEach(() => folder.remove())

  /** A writer whose frames are all still in the spool, as after a kill. */
  const left = async (bodies: readonly string[], stop = true): Promise<SpoolUnderTest> => {
    await mkdir(folder.path, { recursive: true })
    await writeFile(folder.archive, 'in the way')
    const test = await openTestSpool(folder, { fileBytes: 4096 })
    for (const body of bodies) {
      test.add({ body })
      await test.commit()
    }
    if (stop) test.add({ kind: 'writer.stop' })
    await test.spool.close(0)
    await rm(folder.archive)
    return test
  }
  const onlyLog = async (): Promise<string> => {
    const names = (await folder.files()).filter(name => name.endsWith('.log'))
    expect(names).to.have.length(1)
    return join(folder.spool, names[0] ?? '')
  }
  /** Where each record of a file begins; at last where the last one ends. */
  const bordersOf = (path: string, writer: string): number[] => {
    const borders: number[] = []
    const reader = openLogReader(path, writer, 0)
    for (;;) {
      const item = reader.next(Infinity)
      if (item.kind !== 'line') break
      borders.push(item.start, item.end)
    }
    reader.close()
    return [...new Set(borders)]
  }
  /** What a shipper would read of an earlier writer. */
  const read = (writer: string): { readonly lines: readonly string[]; readonly adopted: Adopted } => {
    const adopted = adoptSpool(folder.spool)
    const lines: string[] = []
    for (const file of listLogs(folder.spool).get(writer) ?? []) {
      const reader = openLogReader(spoolPath(folder.spool)(writer, file), writer, 0)
      for (;;) {
        const item = reader.next(Infinity)
        if (item.kind === 'end') break
        if (item.kind === 'line') lines.push(item.line.toString())
      }
      reader.close()
    }
    return { lines, adopted }
  }

  it('loses nothing and invents nothing when a log is cut at any byte', async () => {
    const test = await left(['one', 'grüße', 'x'.repeat(100)])
    const { writer } = test.spool
    const path = await onlyLog()
    const borders = bordersOf(path, writer)
    const whole = (await readFile(path)).subarray(0, (borders.at(-1) ?? 0) + 50)
    expect(borders).to.have.length(test.lines.length + 1)
    for (let length = 0; length <= whole.length; length++) {
      await writeFile(path, whole.subarray(0, length))
      const kept = borders.slice(1).filter(end => end <= length).length
      const { lines, adopted } = read(writer)
      expect(lines, `${length} bytes`).to.deep.equal(test.lines.slice(0, kept))
      expect(adopted.recovered).to.deep.equal([{ writer, frames: kept, state: kept === test.lines.length ? 'stopped' : 'cut' }])
      const torn = length > (borders[kept] ?? 0) && length > HEADER_BYTES && kept < test.lines.length
      expect(adopted.findings.map(({ reason, fromSeq }) => ({ reason, fromSeq })), `${length} bytes`).to.deep.equal(torn ? [{ reason: 'torn-tail', fromSeq: kept }] : [])
      expect(adopted.left.reduce((sum, { begin, end }) => sum + end - begin, 0)).to.equal((borders[kept] ?? 0) - HEADER_BYTES)
    }
  })

  it('loses one frame at most and invents none when any byte of a log is flipped, and says which', async () => {
    const test = await left(['one', 'two', 'three'])
    const { writer } = test.spool
    const path = await onlyLog()
    const borders = bordersOf(path, writer)
    const whole = (await readFile(path)).subarray(0, (borders.at(-1) ?? 0) + 20)
    for (let at = 0; at < whole.length; at++) {
      for (const bits of [1, 0x80, 0xff]) {
        const bytes = Buffer.from(whole)
        bytes[at] = (bytes[at] ?? 0) ^ bits
        await writeFile(path, bytes)
        const hit = borders.slice(1).findIndex((end, record) => at >= (borders[record] ?? 0) && at < end)
        const { lines, adopted } = read(writer)
        expect(lines, `byte ${at}`).to.deep.equal(test.lines.filter((_, index) => index !== hit))
        const found = adopted.findings.map(({ reason, fromSeq, toSeq }) => ({ reason, fromSeq, toSeq }))
        if (at < HEADER_BYTES) expect(found, `byte ${at}`).to.deep.equal([])
        else if (hit < 0) expect(found, `byte ${at}`).to.deep.equal([{ reason: 'torn-tail', fromSeq: test.lines.length, toSeq: undefined }])
        else if (hit === test.lines.length - 1) expect(found, `byte ${at}`).to.deep.equal([{ reason: 'torn-tail', fromSeq: hit, toSeq: undefined }])
        else expect(found, `byte ${at}`).to.deep.equal([{ reason: 'damage', fromSeq: hit, toSeq: hit }])
      }
    }
  })

  it('ships around damage: what is whole arrives, with a segment of its own that claims no chain before it', async () => {
    const test = await left(['one', 'two', 'three', 'four'])
    const { writer } = test.spool
    const path = await onlyLog()
    const bytes = await readFile(path)
    const second = bordersOf(path, writer)[1] ?? 0
    bytes[second + 20] = (bytes[second + 20] ?? 0) ^ 1
    await writeFile(path, bytes)
    const next = await openTestSpool(folder)
    expect(next.findings.map(({ reason, fromSeq, toSeq }) => ({ reason, fromSeq, toSeq }))).to.deep.equal([{ reason: 'damage', fromSeq: 1, toSeq: 1 }])
    expect(await next.stop()).to.equal(0)
    const archive = await readArchive(folder.archive)
    expect(archive.linesOf(writer)).to.deep.equal(test.lines.filter((_, seq) => seq !== 1))
    expect(archive.segments.filter(segment => segment.writer === writer).map(({ firstSeq, previous }) => [firstSeq, previous === null])).to.deep.equal([[0, false], [2, true]])
    expect(archive.report.verdict).to.equal('incomplete')
    expect(archive.report.writers.find(each => each.writer === writer)?.holes).to.deep.equal([{ from: 1, to: 1 }])
    expect(next.log()).to.include('frames in the spool could not be read back')
    expect(await folder.files()).to.deep.equal([])
  })

  it('says where a torn end is also when an empty file follows it', async () => {
    const test = await left(['one', 'two'], false)
    const { writer } = test.spool
    const path = await onlyLog()
    const borders = bordersOf(path, writer)
    const bytes = await readFile(path)
    bytes.fill(0, (borders[1] ?? 0) + 30)
    await writeFile(path, bytes)
    await writeFile(join(folder.spool, logName(writer, 1)), Buffer.alloc(4096))
    expect(adoptSpool(folder.spool).findings.map(({ reason, fromSeq }) => ({ reason, fromSeq }))).to.deep.equal([{ reason: 'torn-tail', fromSeq: 1 }])
  })

  it('never takes a block that another writer left on the disk', async () => {
    const test = await left(['one', 'two'])
    const other = '01hyyyyyyyyyyyyyyyyyyyyyyy'
    await rename(await onlyLog(), join(folder.spool, logName(other, 0)))
    const { lines, adopted } = read(other)
    expect(lines).to.deep.equal([])
    expect(adopted.recovered).to.deep.equal([{ writer: other, frames: 0, state: 'cut' }])
    expect(adopted.findings).to.have.length(1)
    expect(test.lines).to.have.length(3)
  })

  it('adopts several writers with many files each, and leaves nothing behind', async () => {
    const first = await left(Array.from({ length: 12 }, (_, at) => `${at} ${'x'.repeat(200_000)}`))
    const second = await left(['only'], false)
    expect((await folder.files()).length).to.be.greaterThan(3)
    const next = await openTestSpool(folder)
    expect(next.recovered).to.have.deep.members([
      { writer: first.spool.writer, frames: 13, state: 'stopped' },
      { writer: second.spool.writer, frames: 1, state: 'cut' },
    ])
    expect(next.findings).to.deep.equal([])
    expect(next.spool.unshippedBytes).to.be.greaterThan(2_400_000)
    expect(next.spool.oldestUnshippedMs).to.equal(Date.parse('2026-01-02T03:04:05Z'))
    expect(await next.stop()).to.equal(0)
    expect(next.spool.unshippedBytes).to.equal(0)
    const archive = await readArchive(folder.archive)
    for (const { spool, lines } of [first, second, next]) expect(archive.linesOf(spool.writer)).to.deep.equal(lines)
    expect(await folder.files()).to.deep.equal([])
  })

  it('refuses a file of a newer spool with spool.version, and removes nothing', async () => {
    await left(['one'])
    const path = await onlyLog()
    const bytes = await readFile(path)
    bytes.writeUInt16LE(2, 8)
    bytes.writeUInt32LE(crc32(bytes.subarray(0, HEADER_BYTES - 4)), HEADER_BYTES - 4)
    await writeFile(path, bytes)
    await writeFile(join(folder.spool, 'reserve'), 'of the newer version')
    const before = await folder.files()
    const error: unknown = await openTestSpool(folder).catch((cause: unknown) => cause)
    expect(error).to.include({ code: 'spool.version' })
    expect(await folder.files()).to.deep.equal(before)
    expect((await readFile(path)).equals(bytes)).to.equal(true)
  })

  it('leaves alone what is not its own', async () => {
    const foreign = ['notes.txt', 'nginx-20240101.log', 'UPPER-000001.log', 'x.shipped', 'a.part', '01hyyyyyyyyyyyyyyyyyyyyyyy-0000001.log']
    await mkdir(folder.spool, { recursive: true })
    for (const name of foreign) await writeFile(join(folder.spool, name), name)
    const folderName = logName('01hzzzzzzzzzzzzzzzzzzzzzzz', 0)
    await mkdir(join(folder.spool, folderName))
    await symlink('/etc/hostname', join(folder.spool, logName('01hzzzzzzzzzzzzzzzzzzzzzzz', 1)))
    const test = await openTestSpool(folder)
    expect(test.recovered).to.deep.equal([])
    test.add()
    expect(await test.stop()).to.equal(0)
    expect(await folder.files()).to.deep.equal([...foreign, folderName, logName('01hzzzzzzzzzzzzzzzzzzzzzzz', 1)].sort())
    for (const name of foreign) expect(await readFile(join(folder.spool, name), 'utf8')).to.equal(name)
  })

  it('removes a position whose log is gone', async () => {
    await mkdir(folder.spool, { recursive: true })
    await writeFile(join(folder.spool, '01hzzzzzzzzzzzzzzzzzzzzzzz.shipped'), 'x')
    const test = await openTestSpool(folder)
    await test.stop()
    expect(await folder.files()).to.deep.equal([])
  })

  it('refuses a directory that is a file, or lies below one, with spool.io', async () => {
    await mkdir(folder.path, { recursive: true })
    await writeFile(folder.spool, 'a file')
    const error: unknown = await openTestSpool(folder).catch((cause: unknown) => cause)
    expect(error).to.include({ code: 'spool.io' })
    const below: unknown = await openTestSpool({ ...folder, spool: join(folder.spool, 'below') }).catch((cause: unknown) => cause)
    expect(below).to.include({ code: 'spool.io' })
  })

  it('refuses a spool that a living recorder uses, and does not disturb it', async () => {
    const test = await openTestSpool(folder)
    const error: unknown = await openTestSpool(folder).catch((cause: unknown) => cause)
    expect(error).to.include({ code: 'spool.locked' })
    test.add()
    expect(await test.commit()).to.equal(undefined)
    expect(await test.stop()).to.equal(0)
    expect(await readdir(folder.spool)).to.deep.equal([])
    await (await openTestSpool(folder)).stop()
  })

  it('reads a read-only spool\'s refusal as spool.io for a user who is not root', async function () {
    // Root may write anywhere, so another user is asked.
    if (process.getuid?.() !== 0) return this.skip()
    await mkdir(folder.spool, { recursive: true })
    const source = `
      import { openTestSpool } from ${JSON.stringify(new URL('../../../support/spool-under-test.ts', import.meta.url).href)}
      process.setuid(65534)
      const error = await openTestSpool({ spool: ${JSON.stringify(folder.spool)}, archive: '/nonexistent' }).catch(cause => cause)
      console.log(error.code)`
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--disable-warning=ExperimentalWarning', '-e', source], { cwd: '/' })
    expect(stdout).to.equal('spool.io\n')
  })

  it('openWriterStream() reads on past a number that no file has', async () => {
    const test = await left(Array.from({ length: 12 }, (_, at) => `${at} ${'x'.repeat(200_000)}`))
    const { writer } = test.spool
    const files = listLogs(folder.spool).get(writer) ?? []
    const last = files.at(-1) ?? 0
    await rename(join(folder.spool, logName(writer, last)), join(folder.spool, logName(writer, last + 5)))
    const stream = openWriterStream({ directory: folder.spool, writer, files: listLogs(folder.spool).get(writer) ?? [], pathOf: file => spoolPath(folder.spool)(writer, file), now: Date.now, level: 3, onHole: () => expect.fail('no hole') })
    let frames = 0
    for (let item = stream.read(undefined, 1e9); item !== 'idle'; item = stream.read(undefined, 1e9)) if (item !== 'more') frames += item.segment.index.frames
    for (let packed = stream.finish(); packed !== undefined; packed = stream.finish()) frames += packed.segment.index.frames
    await stream.close()
    expect(frames).to.equal(test.lines.length)
  })
})
