import { readFile, rm, writeFile } from 'node:fs/promises'
import type { Worker } from 'node:worker_threads'

import { expect } from 'chai'

import { readArchive } from '../../../support/spool-archive.ts'
import type { ReadArchive } from '../../../support/spool-archive.ts'
import { faultyFs } from '../../../support/spool-faulty-fs.ts'
import type { FaultyFs } from '../../../support/spool-faulty-fs.ts'
import { openTestSpool, spoolFolder, until } from '../../../support/spool-under-test.ts'
import type { SpoolFolder, SpoolUnderTest, TestSpoolOptions } from '../../../support/spool-under-test.ts'

const MIB = 1024 * 1024

describe('a spool on a disk with faults', () => {
  let folder: SpoolFolder
  let disk: FaultyFs
  let test: SpoolUnderTest

  const open = async (options: TestSpoolOptions = {}): Promise<SpoolUnderTest> => {
    test = await openTestSpool(folder, { fs: disk.fs, ...options })
    return test
  }
  /** Ends it and has the archive read: every line that was taken is there, once in order, and nothing else of this writer. */
  const archived = async (verdict = 'consistent'): Promise<ReadArchive> => {
    expect(await test.stop()).to.equal(0)
    const read = await readArchive(folder.archive)
    expect(read.linesOf(test.spool.writer)).to.deep.equal(test.lines)
    expect(read.report.verdict).to.equal(verdict)
    return read
  }

  beforeEach(async () => {
    folder = await spoolFolder()
    disk = faultyFs()
  })
  afterEach(async () => {
    disk.heal()
    disk.release()
    await test.spool.close(0)
    expect(disk.open, 'files left open').to.equal(0)
    await folder.remove()
  })

  it('goes on after short writes', async () => {
    await open()
    disk.limitWrites(7)
    for (let at = 0; at < 20; at++) test.add({ body: `body ${at}` })
    expect(await test.commit()).to.equal(undefined)
    expect(test.states).to.deep.equal([])
    await archived()
  })

  for (const written of [0, 100, 100_000]) {
    it(`repeats a batch in the next file when its write failed once after ${written} bytes`, async () => {
      await open()
      test.add({ body: 'before' })
      await test.commit()
      disk.failWrites(1, 'EIO', written)
      for (let at = 0; at < 20; at++) test.add({ body: `body ${at}` })
      expect(await test.commit()).to.equal(undefined)
      test.add({ body: 'after' })
      expect(await test.commit()).to.equal(undefined)
      expect(test.states).to.deep.equal([])
      await until(() => test.spool.unshippedBytes === 0)
      const read = await archived()
      expect(read.copies).to.equal(test.lines.length)
    })
  }

  it('counts as shipped what only repeats: a failed write that had in truth reached the disk', async () => {
    await open()
    test.add({ body: 'before' })
    await test.commit()
    disk.failWrites(1, 'EIO', 100_000)
    test.add({ body: 'twice' })
    expect(await test.commit()).to.equal(undefined)
    await until(() => test.spool.unshippedBytes === 0)
    expect(test.spool.oldestUnshippedMs).to.equal(undefined)
    await archived()
  })

  it('stops recording when the second write fails too, tells who waits, and writes all that was taken first after recovery', async () => {
    await open()
    test.add({ body: 'before' })
    await test.commit()
    disk.failWrites(Infinity, 'EIO')
    for (let at = 0; at < 5; at++) test.add({ body: `kept ${at}` })
    expect((await test.commit())?.code).to.equal('spool.io')
    expect(test.spool.state).to.equal('failed')
    expect(test.add()).to.equal(false)
    expect((await test.commit())?.code).to.equal('spool.io')
    disk.heal()
    await until(() => test.spool.state === 'open')
    expect(test.states).to.deep.equal(['failed spool.io', 'open'])
    expect(test.add({ body: 'after' })).to.equal(true)
    expect(await test.commit()).to.equal(undefined)
    await archived()
  })

  it('leaves no trail of files and open files while every retry fails', async () => {
    await open()
    test.add()
    await test.commit()
    const files = (await folder.files()).length
    const creates = disk.writes.length
    disk.failWrites(Infinity, 'EIO')
    test.add()
    await test.commit()
    await until(() => disk.writes.length > creates + 6)
    // One may just be tried.
    expect((await folder.files()).length).to.be.lessThan(files + 2)
    expect(disk.open).to.be.lessThan(3)
    disk.heal()
    await until(() => test.spool.state === 'open')
    await archived()
  })

  it('says spool.full when there is no room for a file, and goes on when there is', async () => {
    await open()
    disk.failCreates(Infinity, 'ENOSPC')
    while (test.spool.state === 'open') {
      test.add({ body: 'x'.repeat(100_000) })
      await test.commit()
    }
    expect((await test.commit())?.code).to.equal('spool.full')
    disk.heal()
    await until(() => test.spool.state === 'open')
    test.add({ body: 'after' })
    expect(await test.commit()).to.equal(undefined)
    await archived()
  })

  it('skips the number of a file that could not be created, now and after a restart', async () => {
    await writeFile(folder.archive, 'in the way')
    await open({ fileBytes: 64 * 1024 })
    disk.failCreates(1, 'EIO')
    for (let at = 0; at < 30; at++) {
      test.add({ body: 'x'.repeat(100_000) })
      expect(await test.commit()).to.equal(undefined)
    }
    const numbers = (await folder.files()).flatMap(name => /-(\d{6})\.log$/.exec(name)?.[1] ?? []).map(Number)
    expect(numbers.at(-1)).to.be.greaterThan(numbers.length - 1)
    expect(await test.stop(0)).to.be.greaterThan(0)
    const { spool, lines } = test
    await rm(folder.archive)
    await open()
    await archived()
    const read = await readArchive(folder.archive)
    expect(read.linesOf(spool.writer)).to.deep.equal(lines)
  })

  it('writes the last words into the reserve, and tells waiters the truth: what is in there is durable', async () => {
    const words: string[] = []
    await open({
      fileBytes: 64 * 1024,
      onLastWords: (add, error) => {
        words.push(error.code)
        expect(add({ kind: 'gap', body: 'last words' })).to.equal(true)
      },
    })
    await until(async () => (await folder.files()).includes('reserve'))
    disk.failCreates(Infinity, 'ENOSPC')
    let error: unknown
    while (test.spool.state === 'open') {
      test.add({ body: 'x'.repeat(100_000) })
      error = await test.commit()
    }
    expect(error, 'what was taken lies in the reserve').to.equal(undefined)
    expect(words).to.deep.equal(['spool.full'])
    await until(() => test.spool.unshippedBytes === 0)
    const read = await readArchive(folder.archive)
    expect(read.linesOf(test.spool.writer)).to.deep.equal(test.lines)
    expect(read.linesOf(test.spool.writer).at(-1)).to.include('last words')
    disk.heal()
    await until(() => test.spool.state === 'open')
    // A gap is what it says: something is missing.
    await archived('incomplete')
  })

  it('takes nothing, and promises nothing, while the reserve is being written', async () => {
    await open({ fileBytes: 64 * 1024 })
    await until(async () => (await folder.files()).includes('reserve'))
    disk.failCreates(Infinity, 'ENOSPC')
    disk.hold()
    let waiting = Promise.resolve<unknown>(undefined)
    while (test.spool.state === 'open') {
      test.add({ body: 'x'.repeat(100_000) })
      waiting = test.commit()
      await until(() => disk.waiting > 0)
      if (test.spool.state !== 'open') break
      await disk.letGo()
      await waiting
    }
    // The reserve stands before the gate, with the line that found no room.
    expect(test.states).to.deep.equal([])
    expect(test.add({ body: 'too late' })).to.equal(false)
    expect((await test.commit())?.code).to.equal('spool.full')
    disk.release()
    disk.heal()
    expect(await waiting).to.equal(undefined)
    await until(() => test.states.includes('open'))
    test.add({ body: 'after' })
    expect(await test.commit()).to.equal(undefined)
    await archived()
  })

  it('keeps the last words in memory when the reserve cannot be written either', async () => {
    await open({ onLastWords: add => void add({ kind: 'gap', body: 'last words' }) })
    await until(async () => (await folder.files()).includes('reserve'))
    disk.failWrites(Infinity, 'EIO')
    test.add({ body: 'kept' })
    expect((await test.commit())?.code).to.equal('spool.io')
    disk.heal()
    await until(() => test.spool.state === 'open')
    await archived('incomplete')
    expect(test.lines.at(-2)).to.include('last words')
  })

  it('says spool.full at its size limit, and goes on when the sink has taken what waits', async () => {
    await writeFile(folder.archive, 'in the way')
    await open({ maxBytes: 4 * MIB, fileBytes: MIB })
    while (test.spool.state === 'open') {
      test.add({ body: 'x'.repeat(50_000) })
      await test.commit()
    }
    expect(test.states).to.deep.equal(['failed spool.full'])
    const sizes = await Promise.all((await folder.files()).filter(name => name.endsWith('.log') || name === 'reserve').map(async name => (await readFile(`${folder.spool}/${name}`)).length))
    expect(sizes.reduce((sum, size) => sum + size, 0)).to.be.at.most(4 * MIB)
    await rm(folder.archive)
    await until(() => test.spool.state === 'open')
    test.add({ body: 'after' })
    expect(await test.commit()).to.equal(undefined)
    await archived()
  })

  it('starts in a spool that is full of what an earlier writer left, as soon as the sink takes it', async () => {
    await writeFile(folder.archive, 'in the way')
    const limits = { maxBytes: 4 * MIB, fileBytes: MIB }
    await open(limits)
    while (test.spool.state === 'open') {
      test.add({ body: 'x'.repeat(50_000) })
      await test.commit()
    }
    await test.stop(0)
    const first = test
    await rm(folder.archive)
    await open(limits)
    await archived('incomplete')
    const taken = (await readArchive(folder.archive)).linesOf(first.spool.writer)
    expect(taken).to.deep.equal(first.lines.slice(0, taken.length))
    expect(test.log()).to.include('the spool is full; waiting for what earlier writers left')
    expect(test.recovered).to.deep.equal([{ writer: first.spool.writer, frames: taken.length, state: 'cut' }])
  })

  it('openSpool() rejects with the reason of its signal while it waits for room, and holds nothing', async () => {
    await writeFile(folder.archive, 'in the way')
    const limits = { maxBytes: 4 * MIB, fileBytes: MIB }
    await open(limits)
    while (test.spool.state === 'open') {
      test.add({ body: 'x'.repeat(50_000) })
      await test.commit()
    }
    await test.stop(0)
    const stop = new AbortController()
    let waits = false
    const starting: Promise<unknown> = openTestSpool(folder, { fs: disk.fs, ...limits, signal: stop.signal, onWait: () => (waits = true) }).catch((error: unknown) => error)
    await until(() => waits)
    stop.abort()
    expect(await starting).to.equal(stop.signal.reason)
    expect(await openTestSpool(folder, { fs: disk.fs, ...limits, signal: stop.signal }).catch((error: unknown) => error)).to.equal(stop.signal.reason)
    await rm(folder.archive)
    await open(limits)
    await archived('incomplete')
  })

  it('tells once of durable frames that cannot be read back, and ships what is around them', async () => {
    const workers: Worker[] = []
    const onWorker = (worker: Worker): void => void workers.push(worker)
    process.on('worker', onWorker)
    try {
      await open()
      test.add({ body: 'before' })
      await test.commit()
      await until(() => test.spool.unshippedBytes === 0)
      disk.damageWrites(1)
      for (let at = 0; at < 3; at++) test.add({ body: `lost ${at}` })
      expect(await test.commit()).to.equal(undefined)
      // A sink that takes nothing: the worker that is started again sees the hole again.
      await rm(folder.archive, { recursive: true, force: true })
      await writeFile(folder.archive, 'in the way')
      test.add({ body: 'after' })
      await test.commit()
      await until(() => test.holes.length > 0)
      await workers.at(-1)?.terminate()
      await until(() => test.log().split('could not be read back').length > 2)
      await rm(folder.archive)
      await until(() => test.spool.unshippedBytes === 0)
    } finally {
      process.off('worker', onWorker)
    }
    expect(test.holes).to.deep.equal([{ fromSeq: 1, toSeq: 3 }])
    expect(await test.stop()).to.equal(0)
    const { lines } = test
    expect((await readArchive(folder.archive)).linesOf(test.spool.writer).slice(-2)).to.deep.equal(lines.slice(4))
  })

  it('close() while failed tries once more, and lets what is said at recovery out too', async () => {
    await open({
      onStateChange: state => {
        if (state === 'open') test.add({ kind: 'gap', body: 'said at recovery' })
      },
    })
    disk.failWrites(Infinity, 'EIO')
    test.add({ body: 'kept' })
    await test.commit()
    disk.heal()
    await test.spool.close(10_000)
    const read = await readArchive(folder.archive)
    expect(test.lines.at(-1)).to.include('said at recovery')
    expect(read.linesOf(test.spool.writer)).to.deep.equal(test.lines)
  })

  it('close() while failed ends although nothing can be written', async () => {
    await open()
    test.add({ body: 'durable' })
    await test.commit()
    disk.failWrites(Infinity, 'EIO')
    disk.failCreates(Infinity, 'EIO')
    test.add({ body: 'never durable' })
    await test.commit()
    expect((await test.spool.close(10_000)).unshippedBytes).to.equal(0)
    expect((await readArchive(folder.archive)).linesOf(test.spool.writer)).to.deep.equal(test.lines.slice(0, 1))
  })

  it('openSpool() rejects, holding nothing, when its first file cannot be created', async () => {
    await open()
    await test.stop()
    for (const [code, expected] of [['EIO', 'spool.io'], ['ENOSPC', 'spool.full']] as const) {
      disk.failCreates(1, code)
      const error: unknown = await openTestSpool(folder, { fs: disk.fs }).catch((cause: unknown) => cause)
      expect(error).to.include({ code: expected })
    }
    disk.failWrites(1, 'EIO')
    const error: unknown = await openTestSpool(folder, { fs: disk.fs }).catch((cause: unknown) => cause)
    expect(error).to.include({ code: 'spool.io' })
    expect(await folder.files()).to.deep.equal([])
    await open()
    await archived()
  })
})
