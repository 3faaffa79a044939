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
import { adoptSpool } from './adopt.ts'
import type { SpoolFinding } from './adopt.ts'
import { createBacklog } from './backlog.ts'
import { RESERVE_NAME, spoolFileBytes, spoolPath } from './list-logs.ts'
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
/** How long a start waits for the shipper to make room in a spool that is full of what earlier writers left. */
const ROOM_WAIT_MS = 10_000

export async function openSpool(options: OpenSpoolOptions): Promise<{ readonly spool: Spool; readonly recovered: readonly RecoveredWriter[]; readonly findings: readonly SpoolFinding[] }> {
  const { directory, clock, log } = options
  const unlock = await takeDirectory(directory)
  let shipper: Shipper | undefined
  try {
    const { recovered, findings, left } = adoptSpool(directory)
    const reservePath = join(directory, RESERVE_NAME)
    await rm(reservePath, { force: true })
    const writer = newWriterId(clock.now())
    const pathOf = spoolPath(directory)
    const backlog = createBacklog()
    for (const { writer: earlier, ...run } of left) backlog.add(earlier, run)
    let fileBytes = 0
    let onRoom: (() => void) | undefined

    const logWriter = createLogWriter({
      writer,
      fs: options.fs ?? nodeSpoolFs,
      pathOf: file => pathOf(writer, file),
      reservePath,
      firstFileBytes: FIRST_FILE_BYTES,
      fileBytes: options.fileBytes ?? FILE_BYTES,
      reserveBytes: RESERVE_BYTES,
      mayGrow: bytes => {
        // The count only grows; what the shipper has removed is seen when it matters.
        if (fileBytes === 0 || fileBytes + bytes > options.maxBytes) fileBytes = spoolFileBytes(directory)
        return fileBytes + bytes <= options.maxBytes
      },
      random: Math.random,
      monotonic: clock.monotonic,
      onState: options.onStateChange,
      onLastWords: options.onLastWords,
      onSync: options.onSync,
      onGrow: bytes => {
        fileBytes += bytes
      },
      onDurable: (file, offset, bytes) => {
        backlog.add(writer, { file, begin: offset - bytes, end: offset, ms: clock.now() })
        shipper?.durable({ file, offset })
      },
    })
    // Before the log: in a full spool it is what makes room for one.
    const shipping = startShipper({
      directory,
      writer,
      sink: options.sink,
      lingerMs: options.lingerMs,
      log,
      random: Math.random,
      onShipped: options.onShipped,
      onAccepted: (of, place) => {
        backlog.accepted(of, place)
        onRoom?.()
      },
      onGone: of => {
        backlog.gone(of)
        onRoom?.()
      },
    })
    shipper = shipping
    for (const giveUp = clock.monotonic() + ROOM_WAIT_MS; ; ) {
      const error = await logWriter.start().then(() => undefined, (cause: unknown) => asStenoError(cause, directory))
      if (error === undefined) break
      const leftMs = giveUp - clock.monotonic()
      if (error.code !== 'spool.full' || recovered.length === 0 || leftMs <= 0) throw error
      log.warn('the spool is full; waiting for what earlier writers left to be shipped', { reason: error.message })
      await new Promise<void>(resolve => {
        const timer = setTimeout(resolve, leftMs)
        onRoom = () => {
          clearTimeout(timer)
          resolve()
        }
      })
      onRoom = undefined
    }
    let closing: Promise<{ readonly unshippedBytes: number }> | undefined
    const close = async (deadlineMs: number): Promise<{ readonly unshippedBytes: number }> => {
      try {
        await logWriter.close()
        const complete = await shipping.close(deadlineMs)
        return { unshippedBytes: complete ? 0 : Math.max(1, backlog.bytes) }
      } finally {
        unlock()
      }
    }
    const spool: Spool = {
      writer,
      get state() {
        return logWriter.state
      },
      append: line => logWriter.append(line),
      commit: done => logWriter.commit(done),
      get unshippedBytes() {
        return backlog.bytes
      },
      get oldestUnshippedMs() {
        return backlog.oldestMs
      },
      close: deadlineMs => (closing ??= close(deadlineMs)),
    }
    return { spool, recovered, findings }
  } catch (error) {
    await shipper?.close(0)
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
