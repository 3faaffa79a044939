import { glob, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { constants, gunzipSync } from 'node:zlib'

import { expect } from 'chai'
import { load } from 'js-yaml'

import { POLICY_EXAMPLES } from '../hack/docs/policy-examples.ts'
import { references } from '../hack/docs/references.ts'
import { parsePolicy } from '../src/policy/parse-policy.ts'
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

  for (const name of ['charts/steno/README.md', 'docs/cli.md', 'docs/metrics.md', 'docs/policy.md']) {
    it(`${name} is what npm run docs makes`, async function () {
      this.timeout(10_000)
      expect(await readFile(new URL(`../${name}`, import.meta.url), 'utf8'), 'run npm run docs').to.equal((await references())[name])
    })
  }

  for (const [field, example] of Object.entries(POLICY_EXAMPLES)) {
    it(`the example of ${field} in docs/policy.md is a policy`, () => {
      const spec: unknown = load(`selector: {}\n${example}`, { json: true })
      expect(parsePolicy({ apiVersion: 'steno.dev/v1alpha1', kind: 'SessionPolicy', metadata: { name: 'tools', namespace: 'team-a' }, spec })).to.have.property('policy')
    })
  }
})
