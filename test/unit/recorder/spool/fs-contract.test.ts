import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { expect } from 'chai'

import { nodeSpoolFs } from '../../../../src/recorder/spool/spool-fs.ts'
import type { SpoolFs } from '../../../../src/recorder/spool/spool-fs.ts'
import { gatedFs } from '../../../support/gated-fs.ts'
import { faultyFs } from '../../../support/spool-faulty-fs.ts'

const implementations: readonly [string, () => SpoolFs][] = [
  ['nodeSpoolFs', () => nodeSpoolFs],
  ['faultyFs() without faults', () => faultyFs().fs],
  ['gatedFs() when open', () => gatedFs().fs],
]

for (const [name, make] of implementations) {
  describe(name, () => {
    let folder: string
    let path: string
    let fs: SpoolFs

    const write = (fd: number, text: string, position: number): Promise<number> =>
      new Promise((resolve, reject) => {
        const bytes = Buffer.from(`--${text}`)
        fs.write(fd, bytes, 2, bytes.length - 2, position, (error, written) => (error === null ? resolve(written) : reject(error)))
      })
    const codeOf = async (work: Promise<unknown>): Promise<unknown> => await work.then(() => 'no error', (error: NodeJS.ErrnoException) => error.code)

    beforeEach(async () => {
      folder = await mkdtemp(join(tmpdir(), 'spool-fs-'))
      path = join(folder, 'log')
      fs = make()
    })
    afterEach(() => rm(folder, { recursive: true, force: true }))

    it('createLog() gives a file of zeros of exactly that size, open for writing', async () => {
      for (const bytes of [1, 512, 256 * 1024 + 1]) {
        const fd = await fs.createLog(path, bytes)
        expect((await readFile(path)).equals(Buffer.alloc(bytes))).to.equal(true)
        expect(await write(fd, 'x', 0)).to.equal(1)
        await fs.close(fd)
        await fs.unlink(path)
      }
    })

    it('createLog() refuses and keeps what is there', async () => {
      await writeFile(path, 'here before')
      expect(await codeOf(fs.createLog(path, 10))).to.equal('EEXIST')
      expect(await readFile(path, 'utf8')).to.equal('here before')
      expect(await codeOf(fs.createLog(join(folder, 'missing', 'log'), 10))).to.equal('ENOENT')
      expect(await readdir(folder)).to.deep.equal(['log'])
    })

    it('write() writes a part of the buffer at its place and says how much', async () => {
      await fs.close(await fs.createLog(path, 10))
      const fd = await fs.openLog(path)
      expect(await write(fd, 'abc', 4)).to.equal(3)
      expect(await readFile(path, 'latin1')).to.equal('\0\0\0\0abc\0\0\0')
      await fs.close(fd)
      expect(await codeOf(write(fd, 'x', 0))).to.equal('EBADF')
    })

    it('rename() and unlink() do as they say and reject when nothing is there', async () => {
      await writeFile(path, 'x')
      await fs.rename(path, join(folder, 'other'))
      expect(await readdir(folder)).to.deep.equal(['other'])
      await fs.unlink(join(folder, 'other'))
      expect(await codeOf(fs.unlink(join(folder, 'other')))).to.equal('ENOENT')
      expect(await codeOf(fs.rename(path, path))).to.equal('ENOENT')
      expect(await codeOf(fs.openLog(path))).to.equal('ENOENT')
    })
  })
}
