/**
 * The image's file system: Node, `nft` for capture `Redirect`, the libraries that `ldd` names for both, and the program. No shell, no package manager.
 * Authorities for TLS are those that Node has built in.
 *
 *     node hack/image/root.ts FOLDER [SBOM]
 */

import { execFile } from 'node:child_process'
import { chmod, copyFile, cp, mkdir, readdir, realpath, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { bundle } from './bundle.ts'
import { materials } from './materials.ts'

const run = promisify(execFile)

/** Of nobody in particular: some clusters give a container another uid, which may read all of this too. */
const UID = 65_532

const COMMAND = `#!/usr/bin/node --disable-warning=ExperimentalWarning
import('/opt/steno/dist/js/main.js')
`

const DOCUMENTS = '/usr/share/doc'

/** What the image was made of. */
export interface Contents {
  /** Folders of npm packages, like `node_modules/undici`. */
  readonly packages: readonly string[]
  /** Debian packages of which files were copied. */
  readonly debian: readonly string[]
}

/** @param folder new or empty */
async function makeRoot(folder: string): Promise<Contents> {
  await mkdir(folder, { recursive: true })
  if ((await readdir(folder)).length > 0) throw new Error(`${folder} is not empty; name another folder, or empty it`)
  const node = await realpath(process.execPath)
  const nft = await programPath('nft', 'nftables')
  await put(folder, node, '/usr/bin/node')
  await put(folder, nft, '/usr/sbin/nft')
  const libraries = new Set([...(await librariesOf(node)), ...(await librariesOf(nft))])
  for (const library of libraries) await put(folder, library, library)
  const debian = await copyNotices(folder, [nft, ...libraries])
  await mkdir(join(folder, 'etc'), { recursive: true })
  await writeFile(join(folder, 'etc/passwd'), `root:x:0:0:root:/:/sbin/nologin\nsteno:x:${UID}:${UID}:steno:/:/sbin/nologin\n`)
  await writeFile(join(folder, 'etc/group'), `root:x:0:\nsteno:x:${UID}:\n`)
  for (const [name, mode] of [['tmp', 0o1777], ['proc', 0o555], ['sys', 0o555], ['dev', 0o755]] as const) {
    await mkdir(join(folder, name))
    await chmod(join(folder, name), mode)
  }
  // For `kubectl exec POD -c steno-recorder -- steno list`.
  await writeFile(join(folder, 'usr/bin/steno'), COMMAND, { mode: 0o755 })
  return { packages: await bundle(join(folder, 'opt/steno')), debian }
}

async function put(folder: string, from: string, to: string): Promise<void> {
  const target = join(folder, to)
  await mkdir(dirname(target), { recursive: true })
  await copyFile(await realpath(from), target)
  await chmod(target, 0o755)
}

async function programPath(name: string, debian: string): Promise<string> {
  for (const folder of ['/usr/sbin', '/usr/bin', '/sbin', '/bin']) {
    const path = join(folder, name)
    if (await stat(path).then(found => found.isFile(), () => false)) return path
  }
  throw new Error(`${name} is missing: install ${debian} (Debian package)`)
}

/** Paths as the program's loader will look for them, the loader itself included. */
async function librariesOf(program: string): Promise<string[]> {
  const { stdout } = await run('ldd', [program])
  return stdout.split('\n').flatMap(line => {
    if (line.includes('not found')) throw new Error(`${program} lacks a library: ${line.trim()}`)
    const path = /(?:=>\s+)?(\/\S+)\s+\(0x/.exec(line)?.[1]
    return path === undefined ? [] : [path]
  })
}

/** The licences of what came from Debian packages go along. Elsewhere than on Debian there are none to be found this way. @returns the packages */
async function copyNotices(folder: string, files: readonly string[]): Promise<string[]> {
  const owners = new Set<string>()
  for (const file of files) {
    for (const path of [file, await realpath(file), (await realpath(file)).replace(/^\/usr/, '')]) {
      const { stdout } = await run('dpkg-query', ['--search', path]).catch(() => ({ stdout: '' }))
      const owner = /^([^:\s]+)/.exec(stdout)?.[1]
      if (owner !== undefined) owners.add(owner)
    }
  }
  for (const owner of owners) {
    const notice = join(DOCUMENTS, owner, 'copyright')
    const target = join(folder, notice)
    await mkdir(dirname(target), { recursive: true })
    await cp(notice, target, { dereference: true }).catch(() => {})
  }
  return [...owners].toSorted()
}

if (import.meta.main) {
  const [folder, file] = process.argv.slice(2)
  if (folder === undefined) throw new Error('name the folder: node hack/image/root.ts FOLDER [SBOM]')
  const contents = await makeRoot(folder)
  if (file !== undefined) await writeFile(file, await materials(contents))
}
