/** Real volumes of their own, small, for tests of what happens when a disk fails. Mounting needs root (CAP_SYS_ADMIN). */

import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, open, rm, statfs, truncate } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

import { closeAtTheEnd } from './leftovers.ts'

const run = promisify(execFile)

export interface Volume {
  readonly path: string
  /** Uses up the room until so many bytes are left. */
  fill(leftBytes: number): Promise<void>
  /** Gives back what `fill` took. */
  free(): Promise<void>
  unmount(): Promise<void>
}

/** A file system in memory. @returns why there is none, when it cannot be mounted */
export async function memoryVolume(bytes: number): Promise<Volume | string> {
  return await mounted(path => run('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'none', path]))
}

export interface ImageVolume extends Volume {
  /** Makes the kernel treat the file system as one that has found an error: read-only at once, whatever is open. */
  abort(): Promise<void>
  /** Mounts it again after an unmount, repaired. */
  mountAgain(): Promise<void>
}

/** An ext4 file system in a sparse file. Likewise. */
export async function imageVolume(image: string, bytes: number): Promise<ImageVolume | string> {
  const file = await open(image, 'w', 0o600)
  await file.close()
  await truncate(image, bytes)
  // Without a journal an error costs what was written, not the whole file system.
  const made = await run('mkfs.ext4', ['-q', '-O', '^has_journal', image]).then(() => undefined, reasonOf)
  if (made !== undefined) return made
  const volume = await mounted(path => run('mount', ['-o', 'loop,errors=continue', image, path]))
  if (typeof volume === 'string') return volume
  return {
    ...volume,
    abort: async () => void (await run('mount', ['-o', 'remount,abort', volume.path])),
    mountAgain: async () => {
      // It ends with 1 when it has repaired something.
      await run('e2fsck', ['-fy', image]).catch(() => {})
      await run('mount', ['-o', 'loop', image, volume.path])
    },
  }
}

async function mounted(mount: (path: string) => Promise<unknown>): Promise<Volume | string> {
  const path = await mkdtemp(join(tmpdir(), 'volume-'))
  const problem = await mount(path).then(() => undefined, reasonOf)
  if (problem !== undefined) {
    await rm(path, { recursive: true })
    return problem
  }
  const filler = join(path, 'filler')
  const unmount = async (): Promise<void> => {
    await run('umount', [path]).catch(() => {})
  }
  closeAtTheEnd(async () => {
    await unmount()
    await rm(path, { recursive: true, force: true })
  })
  return {
    path,
    unmount,
    free: () => rm(filler, { force: true }),
    fill: async leftBytes => {
      await mkdir(path, { recursive: true })
      const file = await open(filler, 'a')
      try {
        for (;;) {
          const { bavail, bsize } = await statfs(path)
          const room = bavail * bsize - leftBytes
          if (room < bsize) return
          await file.write(Buffer.alloc(Math.min(room, 1024 * 1024), 1))
          await file.datasync()
        }
      } finally {
        await file.close()
      }
    },
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message.trim() : String(error)
}
