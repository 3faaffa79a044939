/** What rots unseen in the documents: links, and lists of what the code says. */

import { glob, readFile, stat } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { expect } from 'chai'
import { load } from 'js-yaml'

import { chartAlerts, operatorConditions } from '../hack/docs/references.ts'
import { INSTALLATION_CHECKS } from '../src/cli/doctor/cluster/installation-checks.ts'
import { POLICY_CHECKS } from '../src/cli/doctor/cluster/policy-checks.ts'
import { STREAMS } from '../src/cli/doctor/cluster/streams.ts'
import { isObject, objectAt, textAt } from '../src/policy/json.ts'
import type { Json, JsonObject } from '../src/policy/json.ts'
import { anchorsOf, linksOf } from './support/markdown.ts'

const root = join(import.meta.dirname, '..')

async function pages(): Promise<Map<string, string>> {
  const found = new Map<string, string>()
  for await (const name of glob('{*.md,{docs,test,bench,hack,charts,conformance,demo}/**/*.md}', { cwd: root, exclude: each => each.includes('node_modules') })) found.set(name, await readFile(join(root, name), 'utf8'))
  return found
}

async function jsonOf(path: string): Promise<JsonObject> {
  return JSON.parse(await readFile(join(root, path), 'utf8')) as JsonObject
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

  it('values of the chart that commands set, and those that pages show as YAML, exist', async () => {
    const schema = await jsonOf('charts/steno/values.schema.json')
    const knows = (path: string): boolean => path.split('.').reduce<JsonObject | undefined>((at, name) => {
      const member = objectAt(at, 'properties')[name]
      const reference = textAt(member, '$ref')
      return reference === undefined ? (isObject(member) ? member : undefined) : reference.split('/').slice(1).reduce(objectAt, schema)
    }, schema) !== undefined
    const named: (readonly [page: string, path: string])[] = []
    for (const [page, text] of await pages()) {
      for (const [, , path = ''] of text.matchAll(/--set(-string|-file)?[ =]([A-Za-z]+(?:\.[A-Za-z]+)*)=/g)) named.push([page, path])
      for (const [, yaml = ''] of text.matchAll(/^```yaml\n(# values\.yaml[\s\S]*?)^```/gm)) {
        const leaves = (value: Json | undefined, path: readonly string[]): void => {
          if (isObject(value)) for (const [name, each] of Object.entries(value)) leaves(each, [...path, name])
          else named.push([page, path.join('.')])
        }
        leaves(load(yaml.replaceAll('…', 'x')) as Json, [])
      }
    }
    expect(named.map(([page]) => page)).to.include.members(['README.md', 'docs/install.md', 'docs/install-eks.md', 'docs/upgrade.md', 'docs/aws.md', 'docs/inject.md'])
    expect(named.filter(([, path]) => !knows(path))).to.deep.equal([])
    expect(knows('injector.access.role')).to.equal(false)
  })

  it('parameters and outputs of the templates in hack/aws/ that pages name exist', async () => {
    const templates = new Map(await Promise.all(['steno', 'operator'].map(async name => [name, await readFile(join(root, `hack/aws/${name}.yaml`), 'utf8')] as const)))
    const section = (name: string, title: string): readonly string[] => [...(new RegExp(`^${title}:\\n((?:  .*\\n|\\n)+)`, 'm').exec(templates.get(name) ?? '')?.[1] ?? '').matchAll(/^  (\w+):/gm)].map(match => match[1] ?? '')
    const wrong: string[] = []
    let seen = 0
    for (const [page, text] of await pages()) {
      const blocks = [...text.matchAll(/^```sh\n([\s\S]*?)^```/gm)].map(match => match[1] ?? '')
      for (const block of blocks) {
        const template = /--template-file hack\/aws\/(\w+)\.yaml/.exec(block)?.[1]
        const overrides = [...block.matchAll(/--parameter-overrides((?: [A-Za-z]+=\S+)+)/g)].flatMap(match => [...(match[1] ?? '').matchAll(/([A-Za-z]+)=/g)].map(each => each[1] ?? ''))
        const outputs = [...block.matchAll(/\$\(output (\w+)\)/g)].map(match => match[1] ?? '')
        seen += overrides.length + outputs.length
        wrong.push(...overrides.filter(name => !section(template ?? '', 'Parameters').includes(name)).map(name => `${page}: ${name}`), ...outputs.filter(name => !section(template ?? '', 'Outputs').includes(name)).map(name => `${page}: output ${name}`))
      }
    }
    expect(seen).to.be.greaterThan(5)
    expect(wrong).to.deep.equal([])
    const aws = await readFile(join(root, 'docs/aws.md'), 'utf8')
    expect([...templates.keys()].flatMap(name => section(name, 'Outputs')).filter(name => name.endsWith('Arn') && !aws.includes(name))).to.deep.equal([])
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
