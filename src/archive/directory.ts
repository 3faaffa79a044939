/**
 * A folder as an archive: every `*.jsonl` and `*.jsonl.gz` below it. Names that begin with a dot are not ours.
 * Symbolic links, pipes and devices are never opened: a link could lead out of the folder, a pipe would hang.
 */

import { constants } from 'node:fs'
import type { Dirent, Stats } from 'node:fs'
import { lstat, open, readdir, realpath, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'

import { StenoError } from '../errors.ts'
import type { Archive, ArchiveObject, ObjectReader } from './archive.ts'

const MAX_DEPTH = 32

/** @throws StenoError `archive.missing`, `archive.io` */
export async function directoryArchive(path: string): Promise<Archive> {
  const root = await rootOf(path)
  if (!root.stats.isDirectory()) throw new StenoError('archive.missing', `'${path}' is not a folder; name a folder of recordings, or one file of a recording`)
  return {
    name: path,
    list: () => walk(root.real, '', 0),
    open: async name => {
      if (name.split('/').some(part => part === '' || part.startsWith('.'))) return undefined
      const full = join(root.real, name)
      // A folder on the way that became a link meanwhile shows in the real path.
      if ((await realpath(full).catch(() => undefined)) !== full) return undefined
      return openFile(full)
    },
  }
}

/** One file as an archive of one object. A link is followed here: the user named it. */
export async function fileArchive(path: string): Promise<Archive> {
  const root = await rootOf(path)
  if (!root.stats.isFile()) throw new StenoError('recording.invalid', `'${path}' is not a regular file; pipe it in with '-' instead`)
  const name = basename(path)
  return {
    name: path,
    async *list() {
      const stats = await stat(root.real).catch(() => undefined)
      if (stats !== undefined) yield { name, size: stats.size, modifiedMs: stats.mtimeMs }
    },
    open: async asked => (asked === name ? openFile(root.real) : undefined),
  }
}

async function rootOf(path: string): Promise<{ real: string; stats: Stats }> {
  try {
    const real = await realpath(path)
    return { real, stats: await stat(real) }
  } catch (cause) {
    const code = codeOf(cause)
    if (code === 'ENOENT' || code === 'ENOTDIR') throw new StenoError('archive.missing', `no recordings at '${path}': there is no such file or folder; check the path, or record something first`, { cause })
    throw new StenoError('archive.io', `cannot open '${path}' (${code}); check who may read it`, { cause })
  }
}

async function* walk(root: string, folder: string, depth: number): AsyncGenerator<ArchiveObject> {
  const entries = await entriesOf(join(root, folder), depth)
  entries.sort((a, b) => (a.name < b.name ? -1 : 1))
  for (const entry of entries) {
    if (entry.name.startsWith('.')) continue
    const name = folder === '' ? entry.name : `${folder}/${entry.name}`
    if (entry.isDirectory()) {
      if (depth < MAX_DEPTH) yield* walk(root, name, depth + 1)
    } else if (entry.isFile() && /\.jsonl(\.gz)?$/.test(entry.name)) {
      const stats = await lstat(join(root, name)).catch(() => undefined)
      if (stats?.isFile() === true) yield { name, size: stats.size, modifiedMs: stats.mtimeMs }
    }
  }
}

async function entriesOf(folder: string, depth: number): Promise<Dirent[]> {
  try {
    return await readdir(folder, { withFileTypes: true })
  } catch (cause) {
    // A folder below may vanish, or be closed to us; the root may not.
    if (depth > 0) return []
    throw new StenoError('archive.io', `cannot list '${folder}' (${codeOf(cause)}); check who may read it`, { cause })
  }
}

async function openFile(path: string): Promise<ObjectReader | undefined> {
  let handle
  try {
    handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (cause) {
    if (codeOf(cause) === 'ENOENT' || codeOf(cause) === 'ELOOP') return undefined
    throw new StenoError('archive.io', `cannot read '${path}' (${codeOf(cause)}); check who may read it`, { cause })
  }
  const file = handle
  const stats = await file.stat()
  if (!stats.isFile()) {
    await file.close()
    return undefined
  }
  return {
    size: stats.size,
    read: async (position, length) => {
      const wanted = Math.max(0, Math.min(length, stats.size - position))
      const bytes = Buffer.allocUnsafe(wanted)
      let have = 0
      while (have < wanted) {
        const { bytesRead } = await file.read(bytes, have, wanted - have, position + have)
        if (bytesRead === 0) break
        have += bytesRead
      }
      return bytes.subarray(0, have)
    },
    close: () => file.close(),
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'unknown error'
}
