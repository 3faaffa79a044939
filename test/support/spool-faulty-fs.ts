/** The real file system, with faults on demand: writes and creations that fail, are cut short or wait. Counts what is open. */

import { nodeSpoolFs } from '../../src/recorder/spool/spool-fs.ts'
import type { SpoolFs } from '../../src/recorder/spool/spool-fs.ts'

export interface FaultyFs {
  readonly fs: SpoolFs
  /** The next `count` writes fail, after `written` bytes went to the file. Headers are writes too. */
  failWrites(count: number, code: string, written?: number): void
  /** The next `count` creations fail and leave nothing, as the contract says. */
  failCreates(count: number, code: string): void
  /** The next `count` writes succeed, but the disk keeps something else. Headers are writes too. */
  damageWrites(count: number): void
  /** No write takes more than this. */
  limitWrites(bytes: number): void
  /** Each write waits until it is let go. */
  hold(): void
  /** Lets one write go; waits until there is one. */
  letGo(): Promise<void>
  /** Writes that stand and wait. */
  readonly waiting: number
  /** Lets all go, now and later. */
  release(): void
  heal(): void
  /** Files that are open. */
  readonly open: number
  /** Writes that were asked for. */
  readonly writes: readonly { readonly position: number; readonly length: number }[]
  /** Most writes that were under way at once. */
  readonly mostAtOnce: number
}

export function faultyFs(): FaultyFs {
  const open = new Set<number>()
  const writes: { position: number; length: number }[] = []
  let failing: { left: number; code: string; written: number } | undefined
  let failingCreates: { left: number; code: string } | undefined
  let damaging = 0
  let limit = Infinity
  let holding = false
  let atOnce = 0
  let mostAtOnce = 0
  const held: (() => void)[] = []
  let onHeld: (() => void) | undefined

  const broken = (code: string): NodeJS.ErrnoException => Object.assign(new Error(`${code}: broken by the test`), { code })
  const opened = (fd: number): number => {
    open.add(fd)
    return fd
  }
  const write: SpoolFs['write'] = (fd, buffer, offset, length, position, done) => {
    writes.push({ position, length })
    mostAtOnce = Math.max(mostAtOnce, ++atOnce)
    const finish: typeof done = (error, written) => {
      atOnce--
      done(error, written)
    }
    if (damaging > 0) {
      damaging--
      nodeSpoolFs.write(fd, buffer.subarray(offset, offset + length).map(byte => byte ^ 1) as Buffer, 0, length, position, finish)
      return
    }
    if (failing === undefined || failing.left <= 0) {
      nodeSpoolFs.write(fd, buffer, offset, Math.min(length, limit), position, finish)
      return
    }
    const { code, written } = failing
    failing.left--
    if (written === 0) setImmediate(() => finish(broken(code), 0))
    else nodeSpoolFs.write(fd, buffer, offset, Math.min(length, written), position, () => finish(broken(code), 0))
  }
  return {
    fs: {
      ...nodeSpoolFs,
      createLog: async (path, bytes) => {
        if (failingCreates !== undefined && failingCreates.left > 0) {
          failingCreates.left--
          throw broken(failingCreates.code)
        }
        return opened(await nodeSpoolFs.createLog(path, bytes))
      },
      openLog: async path => opened(await nodeSpoolFs.openLog(path)),
      close: async fd => {
        open.delete(fd)
        await nodeSpoolFs.close(fd)
      },
      write: (...call) => {
        if (!holding) {
          write(...call)
          return
        }
        held.push(() => write(...call))
        onHeld?.()
      },
    },
    failWrites: (count, code, written = 0) => {
      failing = { left: count, code, written }
    },
    failCreates: (count, code) => {
      failingCreates = { left: count, code }
    },
    damageWrites: count => {
      damaging = count
    },
    limitWrites: bytes => {
      limit = bytes
    },
    hold: () => {
      holding = true
    },
    letGo: async () => {
      while (held.length === 0) await new Promise<void>(resolve => (onHeld = resolve))
      held.shift()?.()
    },
    release: () => {
      holding = false
      for (const go of held.splice(0)) go()
    },
    heal: () => {
      failing = undefined
      failingCreates = undefined
      limit = Infinity
    },
    get waiting() {
      return held.length
    },
    get open() {
      return open.size
    },
    writes,
    get mostAtOnce() {
      return mostAtOnce
    },
  }
}
