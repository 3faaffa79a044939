/** Takes the spool's directory: makes it, locks it, looks through what earlier writers left. */

import { rm } from 'node:fs/promises'
import { makeDirectory } from '../../platform/durable-directory.ts'
import { adoptSpool } from './adopt.ts'
import type { Adopted } from './adopt.ts'
import { reservePath } from './list-logs.ts'
import { lockSpool } from './lock.ts'

export interface TakenDirectory extends Adopted {
  /** Gives the lock back. */
  release(): void
}

/** @throws StenoError `spool.locked`, `spool.version`, and what the system says */
export async function takeDirectory(directory: string): Promise<TakenDirectory> {
  await makeDirectory(directory, 0o700)
  const release = lockSpool(directory, process.pid)
  try {
    const adopted = adoptSpool(directory)
    // A reserve that was never needed holds nothing.
    await rm(reservePath(directory), { force: true })
    return { ...adopted, release }
  } catch (error) {
    release()
    throw error
  }
}
