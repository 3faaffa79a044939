/** Opens the spool: takes the lock, looks through what earlier writers left, starts this boot's log and the shipper. */

import { randomBytes } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { StenoError } from '../../errors.ts'
import type { Clock } from '../../platform/clock.ts'
import type { Log } from '../../platform/log.ts'
import type { RecoveredWriter } from '../../record/frame.ts'
import type { SinkConfig } from '../../sink/create-sink.ts'
import { startShipper } from '../shipper/shipper.ts'
import type { ShippedEvent, Shipper } from '../shipper/shipper.ts'
import { adoptSpool, spoolPath } from './adopt.ts'
import type { SpoolFinding } from './adopt.ts'
import { lockSpool } from './lock.ts'
import { createLogWriter } from './log-writer.ts'
import { makeDirectory, nodeSpoolFs } from './spool-fs.ts'
import type { SpoolFs } from './spool-fs.ts'
import type { Spool, SpoolState } from './spool.ts'

export interface OpenSpoolOptions {
  readonly directory: string
  /** What all files of the spool may take together. */
  readonly maxBytes: number
  readonly fileBytes?: number
  readonly sink: SinkConfig
  readonly lingerMs: number
  readonly clock: Clock
  readonly log: Log
  readonly fs?: SpoolFs
  readonly onStateChange: (state: SpoolState, error?: StenoError) => void
  /** Recording is about to stop: what is appended now goes into the reserve. */
  readonly onLastWords: (error: StenoError) => void
  readonly onSync: (seconds: number) => void
  readonly onShipped: (event: ShippedEvent) => void
}

/** Small, so that a start is quick; later files are larger. */
const FIRST_FILE_BYTES = 1024 * 1024
const FILE_BYTES = 8 * 1024 * 1024
const RESERVE_BYTES = 256 * 1024
/** Resolution of "oldest unshipped". */
const MARK_MS = 100

export async function openSpool(options: OpenSpoolOptions): Promise<{ readonly spool: Spool; readonly recovered: readonly RecoveredWriter[]; readonly findings: readonly SpoolFinding[] }> {
  const { directory, clock, log } = options
  const unlock = await takeDirectory(directory)
  try {
    const pathOf = spoolPath(directory)
    const reservePath = join(directory, 'reserve')
    await rm(reservePath, { force: true })
    const adopted = adoptSpool(directory, pathOf)
    const writer = newWriterId(clock.now())
    let fileBytes = adopted.fileBytes
    /** Bytes of records, written and accepted; what earlier writers left counts as written. */
    let written = adopted.recordBytes
    let accepted = 0
    const marks: { readonly at: number; readonly ms: number }[] = adopted.recordBytes > 0 ? [{ at: adopted.recordBytes, ms: clock.now() }] : []
    let shipper: Shipper | undefined

    const logWriter = createLogWriter({
      writer,
      fs: options.fs ?? nodeSpoolFs,
      pathOf: file => pathOf(writer, file),
      reservePath,
      firstFileBytes: FIRST_FILE_BYTES,
      fileBytes: options.fileBytes ?? FILE_BYTES,
      reserveBytes: RESERVE_BYTES,
      mayGrow: bytes => fileBytes + bytes <= options.maxBytes,
      random: Math.random,
      monotonic: clock.monotonic,
      onState: options.onStateChange,
      onLastWords: options.onLastWords,
      onSync: options.onSync,
      onFile: (_file, bytes) => {
        fileBytes += bytes
      },
      onDurable: (file, offset, bytes) => {
        written += bytes
        const now = clock.now()
        const last = marks.at(-1)
        if (last === undefined || now - last.ms >= MARK_MS) marks.push({ at: written, ms: now })
        else marks[marks.length - 1] = { at: written, ms: last.ms }
        shipper?.durable(file, offset)
      },
    })
    await logWriter.start()
    shipper = startShipper({
      directory,
      writer,
      sink: options.sink,
      lingerMs: options.lingerMs,
      log,
      random: Math.random,
      onShipped: options.onShipped,
      onAccepted: (spoolBytes, freedBytes) => {
        accepted = Math.min(written, accepted + spoolBytes)
        fileBytes = Math.max(0, fileBytes - freedBytes)
        while (marks[0] !== undefined && marks[0].at <= accepted) marks.shift()
      },
    })
    const shipping = shipper
    const spool: Spool = {
      writer,
      get state() {
        return logWriter.state
      },
      append: line => logWriter.append(line),
      commit: done => logWriter.commit(done),
      get unshippedBytes() {
        return Math.max(0, written - accepted)
      },
      get oldestUnshippedMs() {
        return marks[0]?.ms
      },
      close: async deadlineMs => {
        await logWriter.close()
        const complete = await shipping.close(deadlineMs)
        unlock()
        return { unshippedBytes: complete ? 0 : Math.max(1, written - accepted) }
      },
    }
    return { spool, recovered: adopted.recovered, findings: adopted.findings }
  } catch (error) {
    unlock()
    throw asStenoError(error, directory)
  }
}

async function takeDirectory(directory: string): Promise<() => void> {
  try {
    await makeDirectory(directory)
    return lockSpool(directory, process.pid)
  } catch (error) {
    throw asStenoError(error, directory)
  }
}

function asStenoError(error: unknown, directory: string): StenoError {
  if (error instanceof StenoError) return error
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  if (code === 'ENOSPC' || code === 'EDQUOT') return new StenoError('spool.full', `no room for the spool in ${directory}; free space or choose another directory with --spool`, { cause: error })
  return new StenoError('spool.io', `the spool directory ${directory} cannot be used (${code === '' ? 'unknown error' : code}); it must be a directory that this user may write, choose another with --spool`, { cause: error })
}

/** 26 characters, sorting by time: 10 of milliseconds and 16 of randomness, in Crockford's base 32 (as a ULID). */
function newWriterId(nowMs: number): string {
  const digits = '0123456789abcdefghjkmnpqrstvwxyz'
  let id = ''
  for (let left = nowMs, i = 0; i < 10; i++, left = Math.floor(left / 32)) id = (digits[left % 32] ?? '0') + id
  for (const byte of randomBytes(16)) id += digits[byte % 32] ?? '0'
  return id
}
