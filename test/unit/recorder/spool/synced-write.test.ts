import { expect } from 'chai'
import type { SpoolFs } from '../../../../src/recorder/spool/spool-fs.ts'
import { createSyncedWrite } from '../../../../src/recorder/spool/synced-write.ts'

describe('createSyncedWrite()', () => {
  let nowMs: number
  /** How long a write takes, and how much of it is written at most. */
  let takesMs: number
  let most: number
  let ways: ('now' | 'pool')[]
  let disk: Buffer
  let failure: NodeJS.ErrnoException | undefined

  beforeEach(() => {
    nowMs = 0
    takesMs = 0.1
    most = Infinity
    ways = []
    disk = Buffer.alloc(1024 * 1024)
    failure = undefined
  })
  const put = (buffer: Buffer, offset: number, length: number, position: number): number => {
    nowMs += takesMs
    if (failure !== undefined) throw failure
    return buffer.copy(disk, position, offset, offset + Math.min(length, most))
  }
  const fs: Pick<SpoolFs, 'write' | 'writeNow'> = {
    write: (_fd, buffer, offset, length, position, done) => {
      ways.push('pool')
      setImmediate(() => {
        try {
          done(null, put(buffer, offset, length, position))
        } catch (error) {
          done(error as NodeJS.ErrnoException, 0)
        }
      })
    },
    writeNow: (_fd, buffer, offset, length, position) => {
      ways.push('now')
      return put(buffer, offset, length, position)
    },
  }
  const writer = (): ((bytes?: number) => Promise<void>) => {
    const write = createSyncedWrite({ fs, monotonic: () => nowMs })
    return async (bytes = 100) => await write(1, Buffer.alloc(bytes, 'x'), bytes, 0)
  }
  const wayOf = async (write: () => Promise<void>): Promise<string | undefined> => {
    ways = []
    await write()
    return ways[0]
  }

  it('writes on this thread while the disk is quick', async () => {
    const write = writer()
    for (let at = 0; at < 5; at++) expect(await wayOf(write)).to.equal('now')
    expect(disk.toString('latin1', 0, 101)).to.equal(`${'x'.repeat(100)}\0`)
  })

  it('leaves the writes to the pool after a slow one, for twice as long each time', async () => {
    const write = writer()
    for (const coolOffMs of [500, 1000, 2000]) {
      takesMs = 5
      expect(await wayOf(write)).to.equal('now')
      takesMs = 0
      nowMs += coolOffMs - 1
      expect(await wayOf(write)).to.equal('pool')
      nowMs += 1
    }
    expect(await wayOf(write)).to.equal('now')
  })

  it('forgets a slow past after many quick writes', async () => {
    const write = writer()
    for (let round = 0; round < 10; round++) {
      takesMs = 5
      expect(await wayOf(write)).to.equal('now')
      takesMs = 0
      nowMs += 500
      for (let at = 0; at < 100; at++) expect(await wayOf(write)).to.equal('now')
    }
  })

  it('leaves what is large to the pool', async () => {
    const write = writer()
    expect(await wayOf(async () => await write(300_000))).to.equal('pool')
    expect(await wayOf(write)).to.equal('now')
  })

  for (const way of ['now', 'pool'] as const) {
    const bytes = way === 'now' ? 1000 : 300_000

    it(`writes all when the system takes only a part at a time (${way})`, async () => {
      most = bytes / 3
      await writer()(bytes)
      expect(new Set(ways)).to.deep.equal(new Set([way]))
      expect(disk.subarray(0, bytes).every(byte => byte === 0x78)).to.equal(true)
    })

    it(`rejects with what the system says, and when nothing is written (${way})`, async () => {
      const said = async (): Promise<unknown> => await writer()(bytes).then(() => undefined, (error: unknown) => error)
      most = 0
      expect(await said()).to.match(/nothing was written/)
      failure = Object.assign(new Error('EIO'), { code: 'EIO' })
      expect(await said()).to.equal(failure)
    })
  }
})
