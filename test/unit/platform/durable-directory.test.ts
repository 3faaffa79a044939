import { mkdir, mkdtemp, readdir, rm, stat } from 'node:fs/promises'
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
})
