/** Borders between the parts (docs/architecture.md) and what else rots unseen. Reads source as text. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'chai'
import { importsOf, rings, sourceFiles, withoutComments } from './support/imports.ts'

const root = join(import.meta.dirname, '..')

/** Whom a part may import, itself apart. The order is the order of the arrows. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  main: ['cli', 'recorder', 'webhook', 'operator', 'console', 'archive', 'sink', 'kube', 'inject', 'platform', 'policy', 'record', 'errors'],
  cli: ['archive', 'sink', 'kube', 'inject', 'platform', 'policy', 'record', 'errors'],
  recorder: ['archive', 'sink', 'kube', 'inject', 'platform', 'policy', 'record', 'errors'],
  webhook: ['archive', 'sink', 'kube', 'inject', 'platform', 'policy', 'record', 'errors'],
  operator: ['archive', 'sink', 'kube', 'inject', 'platform', 'policy', 'record', 'errors'],
  console: ['archive', 'sink', 'kube', 'inject', 'platform', 'policy', 'record', 'errors'],
  archive: ['platform', 'policy', 'record', 'errors'],
  sink: ['platform', 'policy', 'record', 'errors'],
  kube: ['platform', 'policy', 'record', 'errors'],
  inject: ['policy', 'record', 'errors'],
  policy: ['record', 'errors'],
  record: ['errors'],
  platform: ['errors'],
  errors: [],
}
/** A command that starts a role: the embedded default, the webhook, the operator. And what judges a cluster as those would. */
const EXCEPTIONS: Readonly<Record<string, readonly string[]>> = { 'src/cli/up.ts': ['recorder'], 'src/cli/access-log.ts': ['recorder'], 'src/cli/place.ts': ['recorder'], 'src/cli/inject.ts': ['webhook'], 'src/cli/operate.ts': ['operator'], 'src/cli/doctor/cluster/survey.ts': ['operator'], 'src/cli/doctor/cluster/policy-checks.ts': ['operator'], 'src/cli/doctor/cluster/dry-run.ts': ['operator'], 'src/cli/doctor/cluster/certificate.ts': ['webhook'] }
const PURE = ['record', 'policy', 'inject', 'errors']

/** `src/record/frame.ts` → `record`, `src/errors.ts` → `errors`. */
function partOf(file: string): string {
  return (file.split('/')[1] ?? '').replace(/\.ts$/, '')
}

describe('architecture', () => {
  const files = sourceFiles(root, ['src'])

  it('every part imports downward only', () => {
    const wrong = files.flatMap(file => {
      const part = partOf(file)
      const allowed = [part, ...(MAY_IMPORT[part] ?? []), ...(EXCEPTIONS[file] ?? [])]
      return importsOf(root, file)
        .filter(({ relative, target }) => relative && !(target.startsWith('src/') && allowed.includes(partOf(target))))
        .map(({ target }) => `${file} imports ${target}`)
    })
    expect(wrong).to.deep.equal([])
  })

  it('every part has a place among the arrows', () => {
    expect([...new Set(files.map(partOf))].filter(part => MAY_IMPORT[part] === undefined)).to.deep.equal([])
  })

  it('pure parts import no package and no Node module', () => {
    const wrong = files
      .filter(file => PURE.includes(partOf(file)))
      .flatMap(file => importsOf(root, file).filter(({ relative }) => !relative).map(({ target }) => `${file} imports ${target}`))
    expect(wrong).to.deep.equal([])
  })

  it('what operators decide imports no package, no Node module and no shell', () => {
    const decisions = files.filter(file => /^src\/operator\/(?:[^/]+\/decide|marks|pod-entry|selector)\.ts$/.test(file))
    expect(decisions).to.not.be.empty
    const pure = (target: string): boolean => PURE.includes(partOf(target)) || target === 'src/kube/conditions.ts' || decisions.includes(target)
    const wrong = decisions.flatMap(file => importsOf(root, file).filter(each => !each.typeOnly && !(each.relative && pure(each.target))).map(({ target }) => `${file} imports ${target}`))
    expect(wrong).to.deep.equal([])
  })

  it('no imports form a ring at run time', () => {
    const graph = new Map(files.map(file => [file, importsOf(root, file).filter(each => each.relative && !each.typeOnly && !each.dynamic).map(({ target }) => target)]))
    expect(rings(graph).map(ring => ring.join(' → '))).to.deep.equal([])
  })

  it('folders inside src/recorder form no ring, not even of types', () => {
    // A file beside the folders may join them: it stands for itself.
    const placeOf = (file: string): string => /^src\/recorder\/[^/]+(?=\/)/.exec(file)?.[0] ?? file
    const graph = new Map<string, string[]>()
    for (const file of files.filter(each => each.startsWith('src/recorder/'))) {
      const place = placeOf(file)
      const targets = importsOf(root, file).filter(({ relative, target }) => relative && target.startsWith('src/recorder/')).map(({ target }) => placeOf(target))
      graph.set(place, [...(graph.get(place) ?? []), ...targets.filter(target => target !== place)])
    }
    expect(rings(graph).map(ring => ring.join(' → '))).to.deep.equal([])
  })

  it('every relative import names a file that exists, with its extension', () => {
    const known = new Set(sourceFiles(root, ['src', 'test', 'bench', 'demo', 'hack', 'conformance']))
    const wrong = [...known].flatMap(file =>
      importsOf(root, file).filter(({ relative, target }) => relative && !known.has(target)).map(({ target }) => `${file} imports ${target}`),
    )
    expect(wrong).to.deep.equal([])
  })

  it('only src/main.ts exits the process or listens to signals', () => {
    const wrong = files.filter(file => file !== 'src/main.ts' && /\bprocess\.(?:exit|on|once|abort)\b|\bprocess\.exitCode\s*=/.test(withoutComments(readFileSync(join(root, file), 'utf8'))))
    expect(wrong).to.deep.equal([])
  })

  it('nothing has a default export', () => {
    const wrong = sourceFiles(root, ['src', 'test', 'bench', 'demo', 'hack', 'conformance']).filter(file => /^export default\b/m.test(withoutComments(readFileSync(join(root, file), 'utf8'))))
    expect(wrong).to.deep.equal([])
  })

  it('what a file of src exports, another file uses', () => {
    const texts = new Map(sourceFiles(root, ['src', 'test', 'bench', 'demo', 'hack', 'conformance']).map(file => [file, withoutComments(readFileSync(join(root, file), 'utf8'))] as const))
    const words = [...texts].map(([file, text]) => ({ file, names: new Set(text.match(/\w+/g)) }))
    const exported = files.flatMap(file => [...(texts.get(file) ?? '').matchAll(/^export (?:async )?(?:function\*?|const|class) (\w+)/gm)].map(match => ({ file, name: match[1] ?? '' })))
    expect(exported).to.have.length.greaterThan(300)
    expect(exported.filter(({ file, name }) => !words.some(each => each.file !== file && each.names.has(name))).map(({ file, name }) => `${file}: ${name}`)).to.deep.equal([])
  })

  it('docs/errors.md lists exactly the codes of src/errors.ts', () => {
    const union = /export type ErrorCode =([\s\S]*?)\n\n/.exec(readFileSync(join(root, 'src/errors.ts'), 'utf8'))?.[1] ?? ''
    const codes = [...union.matchAll(/'([^']+)'/g)].map(match => match[1])
    const listed = [...readFileSync(join(root, 'docs/errors.md'), 'utf8').matchAll(/^\| `([^`]+)` \|/gm)].map(match => match[1])
    expect(codes).to.not.be.empty
    expect(listed.toSorted()).to.deep.equal(codes.toSorted())
  })
})

describe('package.json', () => {
  it('pins every dependency to one exact version', () => {
    const manifest: Record<string, Record<string, string>> = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
    const versions = Object.entries({ ...manifest['dependencies'], ...manifest['devDependencies'] })
    expect(versions.filter(([, version]) => !/^\d+\.\d+\.\d+$/.test(version))).to.deep.equal([])
  })
})

describe('architecture test', () => {
  it('rings() finds a ring when there is one, and none in a diamond', () => {
    expect(rings(new Map([['a', ['b', 'c']], ['b', ['d']], ['c', ['d']], ['d', []]]))).to.deep.equal([])
    expect(rings(new Map([['a', ['b']], ['b', ['c']], ['c', ['b']]]))).to.deep.equal([['b', 'c', 'b']])
  })
})
