/** What the image is made of, as CycloneDX: npm's own list, of which only what went into the bundle is kept, and what is no npm package. */

import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Contents } from './root.ts'

const run = promisify(execFile)
const root = join(import.meta.dirname, '../..')

interface Component {
  readonly type: string
  readonly name: string
  readonly version: string
  readonly purl?: string
}

/** npm's `--omit dev` would leave out what the tests use too. */
export async function materials({ packages, debian }: Contents): Promise<string> {
  const { stdout } = await run('npm', ['sbom', '--package-lock-only', '--sbom-format', 'cyclonedx'], { cwd: root, maxBuffer: 1 << 26 })
  const document = JSON.parse(stdout) as { components: Component[]; dependencies?: unknown }
  // Of the tree that npm sees; of a bundle it says nothing.
  delete document.dependencies
  const taken = new Set(await Promise.all(packages.map(nameOf)))
  const used = document.components.filter(({ name, version }) => taken.has(`${name}@${version}`))
  if (used.length < taken.size) throw new Error(`of ${taken.size} packages in the bundle package-lock.json has ${used.length}; run npm ci`)
  const native = await Promise.all(debian.map(debianComponent))
  return `${JSON.stringify({ ...document, components: [...used, { type: 'application', name: 'node', version: process.versions.node, purl: `pkg:generic/node@${process.versions.node}` }, ...native] }, undefined, 2)}\n`
}

async function nameOf(folder: string): Promise<string> {
  const { name, version } = JSON.parse(await readFile(join(root, folder, 'package.json'), 'utf8')) as { name: string; version: string }
  return `${name}@${version}`
}

async function debianComponent(name: string): Promise<Component> {
  const { stdout } = await run('dpkg-query', ['--show', '--showformat', '${Version}', name])
  return { type: 'library', name, version: stdout, purl: `pkg:deb/debian/${name}@${encodeURIComponent(stdout)}` }
}
