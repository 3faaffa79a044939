import { spawnSync } from 'node:child_process'
import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { makeDirectory } from '../../../src/platform/durable-directory.ts'

describe('makeDirectory()', () => {
  it('creates a folder with its parents, and again does nothing', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'durable-'))
    try {
      await mkdir(join(folder, 'a'), { mode: 0o755 })
      await makeDirectory(join(folder, 'a', 'b', 'c'), 0o700)
      await makeDirectory(join(folder, 'a', 'b', 'c'), 0o700)
      expect(await readdir(join(folder, 'a', 'b'))).to.deep.equal(['c'])
      const modes = await Promise.all(['a', 'a/b', 'a/b/c'].map(async name => (await stat(join(folder, name))).mode & 0o777))
      expect(modes).to.deep.equal([0o755, 0o700, 0o700])
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  })

  it('says what the system says', async function () {
    const folder = await mkdtemp(join(tmpdir(), 'durable-'))
    const code = (path: string): Promise<unknown> => makeDirectory(join(folder, path), 0o700).then(() => 'made', (error: unknown) => (error as { code?: string }).code)
    try {
      await writeFile(join(folder, 'file'), '')
      expect(await code('file')).to.equal('EEXIST')
      expect(await code('file/a/b')).to.equal('ENOTDIR')
      await mkdir(join(folder, 'mount'))
      // Only root may mount: whoever is not sees the rest proved.
      if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'ro', 'tmpfs', join(folder, 'mount')]).status !== 0) return this.skip()
      try {
        expect(await code('mount/a/b')).to.equal('EROFS')
        expect(await code('mount')).to.equal('made')
      } finally {
        spawnSync('umount', [join(folder, 'mount')])
      }
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  })
})
