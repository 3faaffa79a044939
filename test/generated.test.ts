import { glob, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { constants, gunzipSync } from 'node:zlib'

import { expect } from 'chai'

import { makeRecordings } from './support/make-recordings.ts'

const KEPT = new URL('recordings/', import.meta.url).pathname

/** Names and contents below a folder; inflated, since the same text may be compressed otherwise on another machine. */
async function contents(folder: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {}
  for await (const name of glob('**/*.jsonl.gz', { cwd: folder })) found[name] = gunzipSync(await readFile(join(folder, name)), { finishFlush: constants.Z_SYNC_FLUSH }).toString()
  return found
}

describe('generated files', () => {
  it('test/recordings holds what make-recordings.ts makes', async () => {
    const fresh = await mkdtemp(join(tmpdir(), 'generated-'))
    try {
      await makeRecordings(fresh)
      const made = await contents(fresh)
      expect(Object.keys(made)).to.have.length.greaterThan(5)
      expect(await contents(KEPT)).to.deep.equal(made)
    } finally {
      await rm(fresh, { recursive: true, force: true })
    }
  })
})
