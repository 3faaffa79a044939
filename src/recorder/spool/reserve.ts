/** The reserve: a file made while there is room, for the last words when there is none. On the same disk: when that fails, so does it. */

import { errorCode } from '../../platform/error-code.ts'
import type { LogFiles, LogFilesOptions } from './log-files.ts'
import { HEADER_BYTES } from './log-format.ts'

export interface ReserveOptions extends Pick<LogFilesOptions, 'fs' | 'mayGrow' | 'onGrow'> {
  readonly path: string
  readonly bytes: number
  readonly files: LogFiles
}

export interface Reserve {
  /** Makes it when it is not there; resolves also when that fails. */
  prepare(): Promise<void>
  /** Makes a batch durable in it, which uses it up. @returns whether it did: false also when there is none, or it is too small */
  save(batch: Buffer, length: number): Promise<boolean>
  remove(): Promise<void>
}

export function createReserve({ fs, path, bytes, files, mayGrow, onGrow }: ReserveOptions): Reserve {
  let there = false
  let making: Promise<void> | undefined

  const make = async (): Promise<void> => {
    if (there || !mayGrow(bytes)) return
    try {
      const fd = await fs.createLog(path, bytes)
      onGrow(bytes)
      there = true
      await fs.close(fd)
    } catch (error) {
      // Without a reserve the last words wait in memory. One that could not be renamed is still there.
      there = errorCode(error) === 'EEXIST'
    }
  }
  return {
    prepare: () =>
      (making ??= make().finally(() => {
        making = undefined
      })),
    save: async (batch, length) => {
      await making
      if (!there || length + HEADER_BYTES > bytes) return false
      there = false
      return await files.writeInto({ path, bytes }, batch, length).then(() => true, () => false)
    },
    remove: async () => {
      await making
      await fs.unlink(path).catch(() => {})
    },
  }
}
