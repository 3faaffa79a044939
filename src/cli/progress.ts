/** A word on long work, on a terminal only, gone when the work is done. */

import type { CliIo } from './io.ts'

const EVERY_MS = 250

export interface Progress {
  tick(): void
  done(): void
}

/** @param what plural noun of what is counted */
export function createProgress(what: string, io: CliIo): Progress {
  if (io.stderr.isTTY !== true) return { tick: () => {}, done: () => {} }
  let count = 0
  let shown = false
  let lastMs = performance.now()
  return {
    tick: () => {
      count += 1
      if (count % 256 !== 0 || performance.now() - lastMs < EVERY_MS) return
      lastMs = performance.now()
      shown = true
      io.stderr.write(`\r\u001b[2Kreading: ${count.toLocaleString('en')} ${what}`)
    },
    done: () => {
      if (shown) io.stderr.write('\r\u001b[2K')
      shown = false
    },
  }
}
