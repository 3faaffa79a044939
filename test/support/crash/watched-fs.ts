/**
 * Loaded into the program under test before anything else (`node --import`): writes down every operation that changes files below
 * one folder, before it begins and when it has ended, and kills the process in front of or behind the one that it is told.
 * What is written down outlives the process, not the machine: `machine-crash.ts` makes of it what a machine that stops would have left.
 * An operation that is not known here must not pass unseen, so it ends the process with a message.
 */

import fs from 'node:fs'
import type { FileHandle } from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { resolve, sep } from 'node:path'
import { isMainThread } from 'node:worker_threads'

import type { FsEvent } from './fs-events.ts'

const { STENO_CRASH_ROOT: root = '', STENO_CRASH_LOG: log = '', STENO_CRASH_AT: at = '', STENO_CRASH_WHERE: where = '' } = process.env
const original = { ...fs }
const promises = { ...fs.promises }
const logFile = original.openSync(log, 'a', 0o600)
/** Files below the root that are open, by descriptor: whether every write to them is synced. */
const open = new Map<number, { readonly path: string; readonly synced: boolean }>()
let left = at === '' ? Infinity : Number(at)

function below(path: unknown): path is string {
  return typeof path === 'string' && `${resolve(path)}${sep}`.startsWith(`${root}${sep}`)
}
function note(event: FsEvent): void {
  original.writeSync(logFile, `${JSON.stringify(event)}\n`)
}
/** Counts down to the moment of the kill. */
function moment(path: string): void {
  if (path.includes(where) && left-- <= 0) {
    // All threads end here, whatever they do.
    process.kill(process.pid, 'SIGKILL')
  }
}
let operations = 0
/** What surrounds an operation: `end` is for when it has ended well. */
function begin(event: DistributiveOmit<Extract<FsEvent, { readonly step: 'begin' }>, 'step' | 'op'>, path: string): { end(fd?: number): void } {
  const op = `${isMainThread ? 'm' : 'w'}${operations++}`
  note({ ...event, step: 'begin', op } as FsEvent)
  moment(path)
  return {
    end: fd => {
      note(fd === undefined ? { step: 'end', op } : { step: 'end', op, fd })
      moment(path)
    },
  }
}
type DistributiveOmit<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never

function dataOf(bytes: Uint8Array): { readonly zeros: number } | { readonly data: string } {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  return buffer.every(byte => byte === 0) ? { zeros: buffer.length } : { data: buffer.toString('base64') }
}

interface OpenFlags {
  readonly create: boolean
  readonly truncate: boolean
  readonly synced: boolean
  readonly writes: boolean
}
function readFlags(flags: unknown): OpenFlags {
  const { O_WRONLY, O_RDWR, O_CREAT, O_TRUNC, O_DSYNC, O_SYNC, O_EXCL } = fs.constants
  const names: Readonly<Record<string, number>> = { r: 0, 'r+': O_RDWR, w: O_WRONLY | O_CREAT | O_TRUNC, wx: O_WRONLY | O_CREAT | O_EXCL, 'w+': O_RDWR | O_CREAT | O_TRUNC }
  const bits = typeof flags === 'number' ? flags : names[String(flags ?? 'r')]
  if (bits === undefined) return unknown(`open with flags ${String(flags)}`)
  return { create: (bits & O_CREAT) !== 0, truncate: (bits & O_TRUNC) !== 0, synced: (bits & (O_DSYNC | O_SYNC)) !== 0, writes: (bits & (O_WRONLY | O_RDWR)) !== 0 }
}
function unknown(what: string): never {
  original.writeSync(2, `watched-fs: ${what} is not known here; teach it to test/support/crash\n`)
  process.exit(70)
}

function beginOpen(path: string, flags: unknown): { opened(fd: number): void } {
  const { create, truncate, synced } = readFlags(flags)
  const operation = begin({ does: 'open', path: resolve(path), create, truncate }, path)
  return {
    opened: fd => {
      open.set(fd, { path, synced })
      operation.end(fd)
    },
  }
}
function beginWrite(fd: number, bytes: Uint8Array, position: number): { end(): void } | undefined {
  const file = open.get(fd)
  return file === undefined ? undefined : begin({ does: 'write', fd, position, synced: file.synced, ...dataOf(bytes) }, file.path)
}
function beginSync(fd: number): { end(): void } | undefined {
  const file = open.get(fd)
  return file === undefined ? undefined : begin({ does: 'sync', fd }, file.path)
}
function forget(fd: number): void {
  if (open.delete(fd)) note({ step: 'close', fd })
}

type Callback = (error: NodeJS.ErrnoException | null, result?: number) => void

/** Each replacement has the signature of what it replaces, as far as the program uses it. */
function install(): void {
  const replace = (target: object, name: string, replacement: (...args: never[]) => unknown): void => void Object.defineProperty(target, name, { value: replacement, writable: true, configurable: true })

  replace(fs, 'open', (path: string, flags: string | number, ...rest: unknown[]) => {
    const done = rest.pop() as Callback
    const operation = below(path) && readFlags(flags).writes ? beginOpen(path, flags) : undefined
    const mode = rest[0] as number | undefined
    original.open(path, flags, mode ?? 0o666, (error, fd) => {
      if (error === null) operation?.opened(fd)
      done(error, fd)
    })
  })
  replace(fs, 'write', (fd: number, buffer: Buffer, offset: number, length: number, position: number, done: Callback) => {
    const operation = beginWrite(fd, buffer.subarray(offset, offset + length), position)
    original.write(fd, buffer, offset, length, position, (error, written) => {
      if (error === null && written === length) operation?.end()
      done(error, written)
    })
  })
  replace(fs, 'writeSync', (fd: number, buffer: Buffer, offset: number, length: number, position: number) => {
    const operation = beginWrite(fd, buffer.subarray(offset, offset + length), position)
    const written = original.writeSync(fd, buffer, offset, length, position)
    if (written === length) operation?.end()
    return written
  })
  replace(fs, 'close', (fd: number, done: Callback) => {
    forget(fd)
    original.close(fd, done)
  })
  replace(fs, 'closeSync', (fd: number) => {
    forget(fd)
    original.closeSync(fd)
  })
  replace(fs, 'writeFileSync', (path: string, text: string, options: { readonly mode: number }) => {
    if (!below(path)) return original.writeFileSync(path, text, options)
    const opening = beginOpen(path, 'w')
    const fd = original.openSync(path, 'w', options.mode)
    opening.opened(fd)
    const writing = beginWrite(fd, Buffer.from(text), 0)
    original.writeSync(fd, text)
    writing?.end()
    forget(fd)
    original.closeSync(fd)
  })
  const sync = (name: 'linkSync' | 'renameSync', does: 'link' | 'rename'): void =>
    replace(fs, name, (from: string, to: string) => {
      const operation = below(to) ? begin({ does, from: resolve(from), to: resolve(to) }, to) : undefined
      original[name](from, to)
      operation?.end()
    })
  sync('linkSync', 'link')
  sync('renameSync', 'rename')
  // Of files only: what removes folders calls other functions of this module.
  replace(fs, 'rmSync', (path: string, options: fs.RmOptions) => {
    if (!below(path)) return original.rmSync(path, options)
    if (options.force === true && !original.existsSync(path)) return
    const operation = begin({ does: 'unlink', path: resolve(path) }, path)
    original.unlinkSync(path)
    operation.end()
  })

  replace(fs.promises, 'open', async (path: string, flags?: string | number, mode?: number) => {
    if (!below(path)) return await promises.open(path, flags, mode)
    const operation = beginOpen(path, flags)
    const file = await promises.open(path, flags, mode)
    operation.opened(file.fd)
    return watchHandle(file)
  })
  replace(fs.promises, 'rename', async (from: string, to: string) => {
    const operation = below(to) ? begin({ does: 'rename', from: resolve(from), to: resolve(to) }, to) : undefined
    await promises.rename(from, to)
    operation?.end()
  })
  const remove = async (path: string): Promise<void> => {
    const operation = below(path) && original.existsSync(path) ? begin({ does: 'unlink', path: resolve(path) }, path) : undefined
    await promises.unlink(path)
    operation?.end()
  }
  replace(fs.promises, 'unlink', remove)
  replace(fs.promises, 'rm', async (path: string, options: fs.RmOptions) => {
    if (!below(path)) return await promises.rm(path, options)
    if (options.force !== true || original.existsSync(path)) await remove(path)
  })
  replace(fs.promises, 'mkdir', async (path: string, options: fs.MakeDirectoryOptions & { readonly recursive: true }) => {
    const operation = below(path) ? begin({ does: 'mkdir', path: resolve(path) }, path) : undefined
    const made = await promises.mkdir(path, options)
    operation?.end()
    return made
  })
  replace(fs, 'openSync', (path: string, flags?: string | number, mode?: number) => (below(path) && readFlags(flags).writes ? unknown('fs.openSync for writing') : original.openSync(path, flags ?? 'r', mode)))
  const strangers = ['appendFile', 'appendFileSync', 'copyFile', 'copyFileSync', 'cp', 'ftruncate', 'ftruncateSync', 'link', 'mkdirSync', 'rename', 'rm', 'rmdir', 'symlink', 'symlinkSync', 'truncate', 'truncateSync', 'unlink', 'unlinkSync', 'writeFile'] as const
  for (const name of strangers) {
    const known = original[name] as (...args: unknown[]) => unknown
    replace(fs, name, (...args: unknown[]) => (args.some(below) ? unknown(`fs.${name}`) : known(...args)))
  }
  // What changes an open file by its descriptor.
  for (const name of ['writev', 'writevSync', 'fsync', 'fsyncSync', 'fdatasync', 'fdatasyncSync'] as const) {
    const known = original[name] as (...args: unknown[]) => unknown
    replace(fs, name, (...args: unknown[]) => (typeof args[0] === 'number' && open.has(args[0]) ? unknown(`fs.${name}`) : known(...args)))
  }
  for (const name of ['appendFile', 'copyFile', 'cp', 'link', 'rmdir', 'symlink', 'truncate', 'writeFile'] as const) {
    const known = promises[name] as (...args: unknown[]) => unknown
    replace(fs.promises, name, (...args: unknown[]) => (args.some(below) ? unknown(`fs.promises.${name}`) : known(...args)))
  }
}

function watchHandle(file: FileHandle): FileHandle {
  const { fd } = file
  const write = file.write.bind(file) as (buffer: Buffer, offset: number, length: number, position: number) => ReturnType<FileHandle['write']>
  const writeFile = file.writeFile.bind(file)
  const close = file.close.bind(file)
  const sync = (flush: () => Promise<void>) => async (): Promise<void> => {
    const operation = beginSync(fd)
    await flush()
    operation?.end()
  }
  return Object.assign(file, {
    write: async (buffer: Buffer, offset: number, length: number, position: number) => {
      if (typeof position !== 'number') unknown('FileHandle.write without a position')
      const operation = beginWrite(fd, buffer.subarray(offset, offset + length), position)
      const result = await write(buffer, offset, length, position)
      if (result.bytesWritten === length) operation?.end()
      return result
    },
    writeFile: async (bytes: Uint8Array) => {
      const operation = beginWrite(fd, bytes, 0)
      await writeFile(bytes)
      operation?.end()
    },
    sync: sync(file.sync.bind(file)),
    datasync: sync(file.datasync.bind(file)),
    close: async () => {
      forget(fd)
      await close()
    },
    appendFile: () => unknown('FileHandle.appendFile'),
    truncate: () => unknown('FileHandle.truncate'),
    writev: () => unknown('FileHandle.writev'),
  })
}

install()
syncBuiltinESMExports()
