/** A projected volume as the kubelet keeps it: a folder of links to `..data`, a link to the newest state, which is swapped at once (k8s.io/kubernetes, pkg/volume/util/atomic_writer.go). */

import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'

import { closeAtTheEnd } from './leftovers.ts'

export interface MountedFolder {
  readonly path: string
  /** What the volume holds from now on, by path; what is not named is gone. */
  swap(files: Readonly<Record<string, string>>): Promise<void>
}

export async function mountedFolder(files: Readonly<Record<string, string>>): Promise<MountedFolder> {
  const path = await mkdtemp(join(tmpdir(), 'mounted-'))
  let states = 0
  const links = new Set<string>()
  const swap = async (next: Readonly<Record<string, string>>): Promise<void> => {
    const state = `..state-${++states}`
    for (const [name, text] of Object.entries(next)) {
      await mkdir(dirname(join(path, state, name)), { recursive: true })
      await writeFile(join(path, state, name), text)
    }
    await mkdir(join(path, state), { recursive: true })
    await symlink(state, join(path, '..data_tmp'))
    await rename(join(path, '..data_tmp'), join(path, '..data'))
    const tops = new Set(Object.keys(next).map(name => name.split('/')[0] ?? ''))
    for (const top of tops) if (!links.has(top)) await symlink(join('..data', top), join(path, top))
    for (const gone of links) if (!tops.has(gone)) await rm(join(path, gone))
    links.clear()
    for (const top of tops) links.add(top)
    if (states > 1) await rm(join(path, `..state-${states - 1}`), { recursive: true })
  }
  closeAtTheEnd(async () => await rm(path, { recursive: true, force: true }))
  await swap(files)
  return { path, swap }
}
