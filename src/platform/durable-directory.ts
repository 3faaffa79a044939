/** Directories whose entries survive a loss of power: what is made, renamed or removed in one is durable once it is synced itself. */

import { mkdir, open, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { errorCode } from './error-code.ts'

/**
 * Creates a directory with its parents, durably. One that is there is left as it is.
 * One by one: `mkdir` with `recursive` says ENOENT where the file system is read-only.
 * @param mode of each directory that is made. Rejects with what the system says.
 */
export async function makeDirectory(path: string, mode: number): Promise<void> {
  const parent = dirname(path)
  const made = await makeOne(path, mode).catch(async (error: unknown) => {
    if (errorCode(error) !== 'ENOENT' || parent === path) throw error
    await makeDirectory(parent, mode)
    return await makeOne(path, mode)
  })
  if (made) await syncDirectory(parent)
}

/** @returns false when it is there already */
async function makeOne(path: string, mode: number): Promise<boolean> {
  try {
    await mkdir(path, { mode })
    return true
  } catch (error) {
    if (errorCode(error) === 'EEXIST' && (await stat(path)).isDirectory()) return false
    throw error
  }
}

/** Makes creations, renames and removals in a directory durable. Rejects with what the system says. */
export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r')
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}
