import { expect } from 'chai'

import { readArchive } from '../../../support/spool-archive.ts'
import { faultyFs } from '../../../support/spool-faulty-fs.ts'
import type { FaultyFs } from '../../../support/spool-faulty-fs.ts'
import { openTestSpool, spoolFolder } from '../../../support/spool-under-test.ts'
import type { SpoolFolder, SpoolUnderTest } from '../../../support/spool-under-test.ts'

describe('group commit', () => {
  let folder: SpoolFolder
  let disk: FaultyFs
  let test: SpoolUnderTest

  beforeEach(async () => {
    folder = await spoolFolder()
    disk = faultyFs()
    test = await openTestSpool(folder, { fs: disk.fs })
  })
  afterEach(async () => {
    disk.heal()
    disk.release()
    await test.stop()
    expect(disk.open, 'files left open').to.equal(0)
    await folder.remove()
  })

  const archived = async (): Promise<void> => {
    const left = await test.stop()
    const read = await readArchive(folder.archive)
    if (read.linesOf(test.spool.writer).length !== test.lines.length) console.error('LOST', left, await folder.files(), read.linesOf(test.spool.writer).length, test.lines.length, JSON.stringify(read.report).slice(0, 3000))
    expect(read.linesOf(test.spool.writer)).to.deep.equal(test.lines)
    expect(read.report.verdict).to.equal('consistent')
  }

  it('commit() calls back at once when nothing waits', () => {
    let called = false
    test.spool.commit(error => {
      called = error === undefined
    })
    expect(called).to.equal(true)
  })

  it('commit() calls back only after a write that covers every line appended before it', async () => {
    disk.hold()
    const done: string[] = []
    test.add({ body: 'a' })
    test.spool.commit(() => done.push('a'))
    await disk.letGo()
    test.add({ body: 'b' })
    test.spool.commit(() => done.push('b'))
    // The first write is let go and over before the second has begun.
    while (done.length === 0) await new Promise(setImmediate)
    expect(done).to.deep.equal(['a'])
    await disk.letGo()
    while (done.length === 1) await new Promise(setImmediate)
    expect(done).to.deep.equal(['a', 'b'])
    disk.release()
    await archived()
  })

  it('gathers what comes while a write is under way into one next write, in order', async () => {
    disk.hold()
    test.add({ body: 'first' })
    const order: number[] = []
    test.spool.commit(() => order.push(-1))
    // The first write waits at the gate.
    while (disk.writes.length === 0) await Promise.race([disk.letGo(), new Promise(setImmediate)])
    const before = disk.writes.length
    for (let at = 0; at < 100; at++) {
      test.add({ body: `body ${at}` })
      test.spool.commit(() => order.push(at))
    }
    disk.release()
    expect(await test.commit()).to.equal(undefined)
    expect(order).to.deep.equal([...Array(101).keys()].map(at => at - 1))
    expect(disk.writes.length - before).to.be.lessThan(3)
    expect(disk.mostAtOnce).to.be.lessThan(3)
    await archived()
  })

  it('keeps one synced write in flight however many commit at once', async () => {
    const log = disk.writes.length
    await Promise.all(
      Array.from({ length: 50 }, async () => {
        for (let round = 0; round < 20; round++) {
          test.add({ body: 'x'.repeat(100) })
          expect(await test.commit()).to.equal(undefined)
        }
      }),
    )
    expect(disk.writes.length - log).to.be.lessThan(200)
    await archived()
  })

  it('takes lines of hundreds of KiB and rolls over to new files', async () => {
    for (let at = 0; at < 40; at++) {
      expect(test.add({ body: `${at} ${'grüße '.repeat(100_000)}` })).to.equal(true)
      if (at % 7 === 0) expect(await test.commit()).to.equal(undefined)
    }
    expect(await test.commit()).to.equal(undefined)
    expect((await folder.files()).filter(name => name.endsWith('.log')).length).to.be.greaterThan(1)
    await archived()
  })

  it('refuses a line that would not fit a segment, and takes the next', async () => {
    expect(test.add({ body: 'x'.repeat(900 * 1024) })).to.equal(false)
    expect(test.add({ body: 'ü'.repeat(450 * 1024) })).to.equal(false)
    expect(test.add({ body: 'x'.repeat(890 * 1024) })).to.equal(true)
    expect(test.add({ body: 'ü'.repeat(440 * 1024) })).to.equal(true)
    expect(test.spool.state).to.equal('open')
    await archived()
  })

  it('append() refuses rather than to gather without bound when the disk stands still', async () => {
    disk.hold()
    let taken = 0
    while (test.add({ body: 'x'.repeat(300_000) })) taken += 300_000
    expect(taken).to.be.within(8 * 1024 * 1024, 40 * 1024 * 1024)
    disk.release()
    expect(await test.commit()).to.equal(undefined)
    expect(test.add()).to.equal(true)
    await archived()
  })

  it('close() makes what was appended without commit durable, and answers later commits with spool.closed', async () => {
    for (let at = 0; at < 10; at++) test.add({ body: String(at) })
    await archived()
    expect(test.add()).to.equal(false)
    expect((await test.commit())?.code).to.equal('spool.closed')
  })
})
