/** The log of this boot's writer in the spool's directory: its id, its files, and the limit on what all files there may take. */

import { randomBytes } from 'node:crypto'
import type { Clock } from '../../platform/clock.ts'
import { reservePath, spoolFileBytes, spoolPath } from './list-logs.ts'
import { createLogWriter } from './log-writer.ts'
import type { LogWriter, LogWriterOptions } from './log-writer.ts'
import { nodeSpoolFs } from './spool-fs.ts'
import type { SpoolFs } from './spool-fs.ts'

export interface LogOptions extends Pick<LogWriterOptions, 'onState' | 'onLastWords' | 'onSync' | 'onDurable'> {
  readonly directory: string
  readonly writer: string
  /** The directory is gone: makes it again. */
  readonly remake: () => Promise<void>
  /** What all files of the spool may take together. */
  readonly maxBytes: number
  readonly fileBytes?: number | undefined
  readonly clock: Clock
  readonly fs?: SpoolFs | undefined
}

/** Small, so that a start is quick; later files are larger. */
const FIRST_FILE_BYTES = 1024 * 1024
const FILE_BYTES = 8 * 1024 * 1024
const RESERVE_BYTES = 256 * 1024

/** Makes nothing yet: that is for `start`. */
export function createSpoolLog({ directory, writer, maxBytes, fileBytes = FILE_BYTES, clock, fs = nodeSpoolFs, ...told }: LogOptions): LogWriter {
  const pathOf = spoolPath(directory)
  let usedBytes = 0
  return createLogWriter({
    ...told,
    writer,
    fs,
    pathOf: file => pathOf(writer, file),
    reservePath: reservePath(directory),
    firstFileBytes: FIRST_FILE_BYTES,
    fileBytes,
    reserveBytes: RESERVE_BYTES,
    mayGrow: bytes => {
      // The count only grows; what the shipper has removed is seen when it matters.
      if (usedBytes === 0 || usedBytes + bytes > maxBytes) usedBytes = spoolFileBytes(directory)
      return usedBytes + bytes <= maxBytes
    },
    onGrow: bytes => {
      usedBytes += bytes
    },
    random: Math.random,
    monotonic: clock.monotonic,
  })
}

/** 26 characters, sorting by time: 10 of milliseconds and 16 of randomness, in Crockford's base 32 (as a ULID). */
export function newWriterId(nowMs: number): string {
  const digits = '0123456789abcdefghjkmnpqrstvwxyz'
  let id = ''
  for (let left = nowMs, i = 0; i < 10; i++, left = Math.floor(left / 32)) id = (digits[left % 32] ?? '0') + id
  for (const byte of randomBytes(16)) id += digits[byte % 32] ?? '0'
  return id
}
