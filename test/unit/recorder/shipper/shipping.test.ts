import { execFile } from 'node:child_process'
import { constants, readdirSync } from 'node:fs'
import { cp, mkdir, open as openFile, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Worker } from 'node:worker_threads'

import { expect } from 'chai'

import { directoryArchive } from '../../../../src/archive/directory.ts'
import { verify } from '../../../../src/archive/verify.ts'
import { readArchive } from '../../../support/spool-archive.ts'
import { LONG_MS, openTestSpool, spoolFolder, until } from '../../../support/spool-under-test.ts'
import type { SpoolFolder, SpoolUnderTest, TestSpoolOptions } from '../../../support/spool-under-test.ts'

const MIB = 1024 * 1024

describe('shipping', () => {
  let folder: SpoolFolder
  let test: SpoolUnderTest
  let earlier: SpoolUnderTest[]

  const open = async (options: TestSpoolOptions = {}): Promise<SpoolUnderTest> => {
    if (test !== undefined) earlier.push(test)
    test = await openTestSpool(folder, options)
    return test
  }
  const write = async (count: number, body = 'body'): Promise<void> => {
    for (let at = 0; at < count; at++) test.add({ body: `${at} ${body}` })
    expect(await test.commit()).to.equal(undefined)
  }
  /** Every line of every writer is in the archive. */
  const expectAll = async (verdict = 'consistent'): Promise<void> => {
    const read = await readArchive(folder.archive)
    for (const { spool, lines } of [...earlier, test]) expect(read.linesOf(spool.writer)).to.deep.equal(lines)
    expect(read.report.verdict).to.equal(verdict)
  }
  /** Closes with the sink out of reach, as a kill would leave it. */
  const leave = async (): Promise<void> => {
    expect(await test.stop(0)).to.be.greaterThan(0)
  }
  const breakSink = () => writeFile(folder.archive, 'in the way')
  const healSink = () => rm(folder.archive)

  /** The archive so far is put aside, so that closing leaves a rest. */
  const takeSink = async (): Promise<void> => {
    await mkdir(folder.archive, { recursive: true })
    await cp(folder.archive, `${folder.archive}-kept`, { recursive: true })
    await rm(folder.archive, { recursive: true })
    await breakSink()
  }
  const giveSinkBack = async (): Promise<void> => {
    await healSink()
    await cp(`${folder.archive}-kept`, folder.archive, { recursive: true })
  }

  beforeEach(async () => {
    folder = await spoolFolder()
    earlier = []
    test = undefined as unknown as SpoolUnderTest
  })
  afterEach(async () => {
    await test.spool.close(0)
    await folder.remove()
  })

  it('everything durable is in the archive once the linger has passed, and counted as shipped', async () => {
    await open()
    for (let round = 0; round < 10; round++) {
      await write(5)
      await until(() => test.spool.unshippedBytes === 0)
      expect(test.spool.oldestUnshippedMs).to.equal(undefined)
      expect((await readArchive(folder.archive)).linesOf(test.spool.writer)).to.deep.equal(test.lines)
    }
    expect(test.shipped.every(each => each.result === 'accepted')).to.equal(true)
    expect(await test.stop()).to.equal(0)
    await expectAll()
    expect(await folder.files()).to.deep.equal([])
  })

  it('ships at once with no linger, whatever the moment a line becomes durable', async () => {
    await open({ lingerMs: 0 })
    for (let round = 0; round < 150; round++) {
      test.add()
      await test.commit()
      // Some of these fall between the worker's last look and its sleep.
      await until(() => test.spool.unshippedBytes === 0)
    }
    expect(await test.stop()).to.equal(0)
    await expectAll()
  })

  it('keeps one chain per writer across restarts with an unshipped rest each time', async () => {
    for (let round = 0; round < 4; round++) {
      await open({ lingerMs: round % 2 === 0 ? LONG_MS : 0 })
      await write(20)
      if (round % 2 === 1) await until(() => test.spool.unshippedBytes === 0)
      await takeSink()
      await leave()
      await giveSinkBack()
    }
    await open()
    expect(await test.stop()).to.equal(0)
    await expectAll()
  })

  for (const [name, spoil] of Object.entries({
    missing: (path: string) => rm(path),
    empty: (path: string) => writeFile(path, ''),
    'of other content': (path: string) => writeFile(path, '{"file":0,"offset":99999999,"seq":7,"head":null}'),
    'a directory': async (path: string) => {
      await rm(path)
      await mkdir(path)
    },
    'one that cannot be written': async (path: string) => {
      await rm(path)
      await symlink('/dev/full', path)
    },
  })) {
    it(`loses nothing when the position is ${name}`, async () => {
      await open()
      await write(20)
      await until(() => test.spool.unshippedBytes === 0)
      await takeSink()
      await write(20)
      await leave()
      await giveSinkBack()
      const position = (await folder.files()).find(file => file.endsWith('.shipped')) ?? ''
      await spoil(join(folder.spool, position))
      await open()
      await write(3)
      expect(await test.stop()).to.equal(0)
      await expectAll()
    })
  }

  it('loses nothing when the position is older than what is shipped', async () => {
    await open()
    await write(20)
    await until(() => test.spool.unshippedBytes === 0)
    const position = join(folder.spool, (await folder.files()).find(file => file.endsWith('.shipped')) ?? '')
    const old = await readFile(position)
    await write(20)
    await until(() => test.spool.unshippedBytes === 0)
    await takeSink()
    await write(1)
    await leave()
    await writeFile(position, old)
    await giveSinkBack()
    await open()
    expect(await test.stop()).to.equal(0)
    await expectAll()
    // The one that was put back may be a little older than what it was read after.
    expect((await readArchive(folder.archive)).copies - (earlier[0]?.lines.length ?? 0) - test.lines.length).to.be.within(20, 40)
  })

  it('makes room although the position cannot be written, as on a full disk', async () => {
    await open({ fileBytes: 64 * 1024 })
    await symlink('/dev/full', join(folder.spool, `${test.spool.writer}.shipped`))
    for (let at = 0; at < 30; at++) await write(1, 'x'.repeat(100_000))
    await until(() => test.spool.unshippedBytes === 0)
    expect((await folder.files()).filter(name => name.endsWith('.log')).length).to.be.lessThan(4)
    expect(test.log()).to.include('could not be written down')
    expect(await test.stop()).to.equal(0)
    await expectAll()
  })

  it('tries again while the sink fails, removes nothing meanwhile, and ships all when it is back', async () => {
    await breakSink()
    await open({ fileBytes: 64 * 1024 })
    for (let at = 0; at < 20; at++) await write(1, 'x'.repeat(100_000))
    await until(() => test.shipped.filter(each => each.result === 'io').length >= 3)
    expect((await folder.files()).filter(name => name.endsWith('.log')).length).to.be.greaterThan(5)
    expect(test.spool.unshippedBytes).to.be.greaterThan(2_000_000)
    expect(test.spool.oldestUnshippedMs).to.be.a('number')
    expect(test.shipped.some(each => each.result === 'accepted')).to.equal(false)
    // Full jitter: anything up to a limit that doubles.
    const waits = [...test.log().matchAll(/"retryMs":(\d+)/g)].map(match => Number(match[1]))
    waits.forEach((ms, attempt) => expect(ms).to.be.at.most(200 * 2 ** attempt))
    expect(new Set(waits).size).to.be.greaterThan(1)
    await healSink()
    await until(() => test.spool.unshippedBytes === 0)
    expect(await test.stop()).to.equal(0)
    await expectAll()
  })

  it('ships live frames beside what an earlier writer left', async () => {
    await breakSink()
    await open()
    await write(300, 'x'.repeat(50_000))
    await leave()
    await healSink()
    await open({ lingerMs: 0 })
    await write(1)
    await until(() => test.spool.unshippedBytes === 0)
    expect(await test.stop()).to.equal(0)
    await expectAll()
  })

  it('starts the worker again when it is ended, and goes on', async () => {
    const workers: Worker[] = []
    const onWorker = (worker: Worker): void => void workers.push(worker)
    process.on('worker', onWorker)
    try {
      await open()
      for (let round = 1; round <= 3; round++) {
        await write(50, 'x'.repeat(20_000))
        await until(() => workers.length === round)
        await workers.at(-1)?.terminate()
        await write(50)
        await until(() => test.spool.unshippedBytes === 0)
        expect(workers).to.have.length(round + 1)
      }
      await write(10)
      await workers.at(-1)?.terminate()
      // Closing does not wait for the new start.
      expect(await test.stop()).to.equal(0)
    } finally {
      process.off('worker', onWorker)
    }
    expect(test.log()).to.include('the shipper ended unexpectedly')
    await expectAll()
  })

  it('close() keeps its deadline when the sink hangs, and leaves the rest for the next start', async function () {
    this.timeout(20_000)
    await open({ lingerMs: LONG_MS })
    // Opening a pipe that nobody reads stands still, as a network file system may.
    await mkdir(folder.archive)
    const pipe = join(folder.archive, `.${test.spool.writer}.part`)
    await promisify(execFile)('mkfifo', [pipe])
    await write(10)
    const left = await test.stop(50)
    expect(left).to.be.greaterThan(0)
    // A reader lets the old worker's attempt end.
    await (await openFile(pipe, constants.O_RDONLY | constants.O_NONBLOCK)).close()
    await rm(pipe)
    await open()
    expect(test.recovered).to.have.length(1)
    expect(await test.stop()).to.equal(0)
    await expectAll()
  })

  it('close() keeps its deadline when the sink fails', async () => {
    await breakSink()
    await open()
    await write(10)
    await leave()
    await healSink()
    await open()
    expect(await test.stop()).to.equal(0)
    await expectAll()
  })

  it('never makes a segment larger than 1,024,000 bytes of text that hardly compresses', async () => {
    await open({ lingerMs: LONG_MS })
    const letters = Array.from({ length: 40_000 }, (_, at) => String.fromCharCode(0x4e00 + ((at * 7919 + (at >> 3) * 104_729) % 20_000))).join('')
    for (let at = 0; at < 60; at++) await write(1, `${letters.slice(at * 13)}${letters.slice(0, at * 211)}${letters.slice(at * 7)}`)
    expect(await test.stop()).to.equal(0)
    const read = await readArchive(folder.archive)
    expect(read.largest).to.be.within(100_000, 1_024_000)
    await expectAll()
  })

  it('leaves no open files behind', async () => {
    const count = (): number => readdirSync('/dev/fd').length
    await open()
    await test.stop()
    const before = count()
    for (let round = 0; round < 3; round++) {
      await open({ fileBytes: 64 * 1024 })
      for (let at = 0; at < 15; at++) await write(1, 'x'.repeat(100_000))
      expect(await test.stop()).to.equal(0)
    }
    await until(() => count() <= before)
    await expectAll()
  })

  it('keeps its disk use bounded while much more than its limit goes through', async function () {
    this.timeout(60_000)
    const limit = 64 * MIB
    await open({ maxBytes: limit, lingerMs: 0, keepLines: false })
    const used = async (): Promise<number> => {
      let bytes = 0
      for (const name of await readdir(folder.spool)) bytes += (await stat(join(folder.spool, name)).catch(() => ({ size: 0 }))).size
      return bytes
    }
    const body = 'the same words again and again, which compress well. '.repeat(12_000)
    let most = 0
    let written = 0
    for (let at = 0; written < 300 * MIB; at++) {
      if (test.add({ body: `${at} ${body}` })) written += body.length
      else await until(() => test.spool.state === 'open')
      if (at % 4 === 0) {
        // Full is said, not hidden: what was taken is kept and comes through.
        await test.commit()
        most = Math.max(most, await used())
      }
    }
    expect(most).to.be.at.most(limit + 8192)
    await until(() => test.spool.state === 'open' && test.spool.unshippedBytes === 0)
    expect(await test.stop()).to.equal(0)
    expect(await folder.files()).to.deep.equal([])
    const report = await verify({ archive: await directoryArchive(folder.archive) }, { now: Date.now })
    expect(report).to.include({ verdict: 'consistent', frames: test.lines.length })
  })
})
