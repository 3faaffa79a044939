/**
 * What a release needs for krew:
 *
 *     node hack/krew/pack.ts archive FOLDER                            # steno_linux_ARCH.tar.gz of this machine's architecture
 *     node hack/krew/pack.ts manifest FOLDER VERSION HOMEPAGE BASE     # steno.yaml, from the archives of all architectures in the folder
 */

import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { copyFile, mkdtemp, readdir, readFile, realpath, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

import { bundle } from '../image/bundle.ts'
import { krewManifest } from './manifest.ts'

const run = promisify(execFile)
const ARCHES: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' }

async function archive(folder: string): Promise<void> {
  const arch = ARCHES[process.arch]
  if (process.platform !== 'linux' || arch === undefined) throw new Error(`there is no archive for ${process.platform} on ${process.arch}`)
  const work = await mkdtemp(join(tmpdir(), 'steno-krew-'))
  try {
    await bundle(work)
    await copyFile(await realpath(process.execPath), join(work, 'node'))
    await copyFile(join(import.meta.dirname, 'kubectl-steno'), join(work, 'kubectl-steno'))
    await run('tar', ['--create', '--gzip', '--file', join(folder, `steno_linux_${arch}.tar.gz`), '--sort=name', '--mtime=@0', '--owner=0', '--group=0', '--numeric-owner', '--directory', work, '.'])
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

async function manifest(folder: string, version: string, homepage: string, base: string): Promise<void> {
  const sha256: Record<string, string> = {}
  for (const name of await readdir(folder)) {
    const platform = /^steno_(\w+)\.tar\.gz$/.exec(name)?.[1]
    if (platform !== undefined) sha256[platform] = createHash('sha256').update(await readFile(join(folder, name))).digest('hex')
  }
  const template = await readFile(join(import.meta.dirname, 'steno.yaml'), 'utf8')
  await writeFile(join(folder, 'steno.yaml'), krewManifest(template, { version, homepage, base, sha256 }))
}

const [what, folder, version = '', homepage = '', base = ''] = process.argv.slice(2)
if (folder === undefined || (what !== 'archive' && what !== 'manifest')) {
  process.stderr.write('usage: pack.ts archive FOLDER | pack.ts manifest FOLDER VERSION HOMEPAGE BASE\n')
  process.exitCode = 2
} else await (what === 'archive' ? archive(folder) : manifest(folder, version, homepage, base))
