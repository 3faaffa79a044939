/** Takes the spool's directory: makes it, locks it, looks through what earlier writers left. */

import { existsSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { makeDirectory } from '../../platform/durable-directory.ts'
import { adoptSpool } from './adopt.ts'
import type { Adopted } from './adopt.ts'
import { reservePath } from './list-logs.ts'
import { lockSpool } from './lock.ts'

export interface TakenDirectory extends Adopted {
  /** Makes the directory again, with its lock, after somebody has removed it. Rejects as `takeDirectory`. */
  remake(): Promise<void>
  /** Gives the lock back. */
  release(): void
}

/** @throws StenoError `spool.locked`, `spool.version`, and what the system says */
export async function takeDirectory(directory: string): Promise<TakenDirectory> {
  await makeDirectory(directory, 0o700)
  let release = lockSpool(directory, process.pid)
  const remake = async (): Promise<void> => {
    if (existsSync(directory)) return
    await makeDirectory(directory, 0o700)
    release = lockSpool(directory, process.pid)
  }
  try {
    const adopted = adoptSpool(directory)
    // A reserve that was never needed holds nothing.
    await rm(reservePath(directory), { force: true })
    return { ...adopted, remake, release: () => release() }
  } catch (error) {
    release()
    throw error
  }
}
