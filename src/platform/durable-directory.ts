/** Directories whose entries survive a loss of power: what is made, renamed or removed in one is durable once it is synced itself. */

import { mkdir, open } from 'node:fs/promises'
import { dirname } from 'node:path'

/**
 * Creates a directory with its parents, durably. One that is there is left as it is.
 * @param mode of each directory that is made. Rejects with what the system says.
 */
export async function makeDirectory(path: string, mode: number): Promise<void> {
  const first = await mkdir(path, { recursive: true, mode })
  if (first === undefined) return
  for (let made = path; made.length >= first.length; made = dirname(made)) await syncDirectory(dirname(made))
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
