/** The real file system behind a gate: while it is shut, writes wait; `fail` makes them fail. */

import { nodeSpoolFs } from '../../src/recorder/spool/spool-fs.ts'
import type { SpoolFs } from '../../src/recorder/spool/spool-fs.ts'

export interface GatedFs {
  readonly fs: SpoolFs
  shut(): void
  open(): void
  /** Every write and every new file fails with this code until `heal`. */
  fail(code: string): void
  heal(): void
  /** Resolves when a write stands before the shut gate. */
  waiting(): Promise<void>
}

export function gatedFs(): GatedFs {
  let isShut = false
  let failure: string | undefined
  const held: (() => void)[] = []
  let onWaiting: (() => void) | undefined
  const broken = (): NodeJS.ErrnoException => Object.assign(new Error(`${failure}: broken by the test`), { code: failure })
  const fs: SpoolFs = {
    ...nodeSpoolFs,
    createLog: async (path, bytes) => {
      if (failure !== undefined) throw broken()
      return await nodeSpoolFs.createLog(path, bytes)
    },
    openLog: async path => {
      if (failure !== undefined) throw broken()
      return await nodeSpoolFs.openLog(path)
    },
    write: (fd, buffer, offset, length, position, done) => {
      const go = (): void => {
        if (failure !== undefined) done(broken(), 0)
        else nodeSpoolFs.write(fd, buffer, offset, length, position, done)
      }
      if (!isShut) {
        go()
        return
      }
      held.push(go)
      onWaiting?.()
    },
  }
  return {
    fs,
    shut: () => {
      isShut = true
    },
    open: () => {
      isShut = false
      for (const go of held.splice(0)) go()
    },
    fail: code => {
      failure = code
    },
    heal: () => {
      failure = undefined
    },
    waiting: () =>
      new Promise(resolve => {
        if (held.length > 0) resolve()
        else onWaiting = resolve
      }),
  }
}
