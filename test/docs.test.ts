/** What rots unseen in the documents: links, and lists of what the code says. */

import { glob, readFile, stat } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { expect } from 'chai'

import { chartAlerts, operatorConditions } from '../hack/docs/references.ts'
import { INSTALLATION_CHECKS } from '../src/cli/doctor/cluster/installation-checks.ts'
import { POLICY_CHECKS } from '../src/cli/doctor/cluster/policy-checks.ts'
import { STREAMS } from '../src/cli/doctor/cluster/streams.ts'
import { anchorsOf, linksOf } from './support/markdown.ts'

const root = join(import.meta.dirname, '..')

async function pages(): Promise<Map<string, string>> {
  const found = new Map<string, string>()
  for await (const name of glob('{*.md,{docs,test,bench,hack,charts,conformance,demo}/**/*.md}', { cwd: root, exclude: each => each.includes('node_modules') })) found.set(name, await readFile(join(root, name), 'utf8'))
  return found
}

describe('documents', () => {
  it('relative links lead to files and headings that exist', async () => {
    const all = await pages()
    expect([...all.keys()]).to.include.members(['README.md', 'docs/operate.md'])
    const wrong: string[] = []
    for (const [name, text] of all) {
      for (const { target, line } of linksOf(text)) {
        if (/^(?:https?|mailto):/.test(target)) continue
        const [path = '', anchor] = target.split('#')
        const file = path === '' ? name : relative(root, join(root, dirname(name), path))
        const exists = await stat(join(root, file)).then(() => true, () => false)
        if (!exists || file.startsWith('..')) wrong.push(`${name}:${line}: ${target}: no such file`)
        else if (anchor !== undefined && file.endsWith('.md') && !anchorsOf(all.get(file) ?? (await readFile(join(root, file), 'utf8'))).has(anchor)) wrong.push(`${name}:${line}: ${target}: no such heading`)
      }
    }
    expect(wrong).to.deep.equal([])
  })

  it('every page of docs/ is linked from README.md', async () => {
    const linked = new Set(linksOf(await readFile(join(root, 'README.md'), 'utf8')).map(({ target }) => target.split('#')[0]))
    const names = [...(await pages()).keys()].filter(name => /^docs\/[^/]+\.md$/.test(name))
    expect(names.filter(name => !linked.has(name))).to.deep.equal([])
  })

  const sayings: readonly (readonly [what: string, page: string, names: () => Promise<readonly string[]>])[] = [
    ['every condition of a policy and its reasons', 'docs/operate.md', async () => (await operatorConditions()).flatMap(({ condition, reasons }) => [condition, ...reasons])],
    ['every check of steno doctor', 'docs/troubleshooting.md', async () => [...INSTALLATION_CHECKS, ...POLICY_CHECKS, STREAMS].map(({ id }) => id)],
    ['every alert of the chart', 'docs/troubleshooting.md', async () => (await chartAlerts()).map(({ name }) => name)],
    ['every condition of a policy', 'docs/troubleshooting.md', async () => (await operatorConditions()).map(({ condition }) => condition)],
  ]
  for (const [what, page, names] of sayings) {
    it(`${page} names ${what}`, async () => {
      const [text, all] = [await readFile(join(root, page), 'utf8'), await names()]
      expect(all).to.have.length.greaterThan(5)
      expect([...new Set(all.filter(name => !text.includes(`\`${name}\``)))]).to.deep.equal([])
    })
  }
})
