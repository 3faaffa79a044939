/** What the spool needs of a file system: few verbs, so that tests can make each of them fail. */

import { close, constants, fstatSync, open, write } from 'node:fs'
import { open as openFile, rename, unlink } from 'node:fs/promises'
import { dirname } from 'node:path'
import { promisify } from 'node:util'
import { syncDirectory } from '../../platform/durable-directory.ts'

export interface SpoolFs {
  /** Creates a file of zeros, durable with its directory entry, opened so that every write is synced before it returns. Leaves nothing when it fails. */
  createLog(path: string, bytes: number): Promise<number>
  /** Opens an existing preallocated file likewise. */
  openLog(path: string): Promise<number>
  /** Calls back with the bytes written, which may be fewer. */
  write(fd: number, buffer: Buffer, offset: number, length: number, position: number, done: (error: NodeJS.ErrnoException | null, written: number) => void): void
  /** Whether an open file still has a name: one without is written to as before, and nobody ever reads it. */
  isLinked(fd: number): boolean
  close(fd: number): Promise<void>
  rename(from: string, to: string): Promise<void>
  unlink(path: string): Promise<void>
}

const ZEROS_BYTES = 256 * 1024

export const nodeSpoolFs: SpoolFs = {
  createLog: async (path, bytes) => {
    const file = await openFile(path, 'wx', 0o600)
    try {
      try {
        const zeros = Buffer.alloc(Math.min(bytes, ZEROS_BYTES))
        for (let at = 0; at < bytes; ) at += (await file.write(zeros, 0, Math.min(zeros.length, bytes - at), at)).bytesWritten
        await file.sync()
      } finally {
        await file.close()
      }
      await syncDirectory(dirname(path))
      return await nodeSpoolFs.openLog(path)
    } catch (error) {
      await unlink(path).catch(() => {})
      throw error
    }
  },
  openLog: path => promisify(open)(path, constants.O_WRONLY | constants.O_DSYNC),
  write: (fd, buffer, offset, length, position, done) => write(fd, buffer, offset, length, position, done),
  isLinked: fd => fstatSync(fd).nlink > 0,
  close: fd => promisify(close)(fd),
  rename: async (from, to) => {
    await rename(from, to)
    await syncDirectory(dirname(to))
  },
  unlink,
}
