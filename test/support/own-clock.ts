/** Programs with a clock of their own, which a test moves: libfaketime, when the machine has it. Sleeps and time-outs follow it. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { globSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

export interface OwnClock {
  /** What a program needs to live by this clock. */
  readonly env: Readonly<Record<string, string>>
  /**
   * Lets that much time pass, every tick of it, a thousand times as fast as it is.
   * @param wake makes each program do something: one that sleeps has slept off to the old pace
   */
  pass(seconds: number, wake: () => Promise<unknown>): Promise<void>
}

const LIBRARY = '/usr/lib/*/faketime/libfaketimeMT.so.1'
/** Further than a pass that took long on a busy machine; a clock must never go back. */
const FAR_S = 10_000_000
/** Ends when its argument, in ms, has passed; never sleeps long. */
const HOURGLASS = "const end = Date.now() + Number(process.argv[1]); setInterval(() => { if (Date.now() >= end) process.exit() }, 5); console.log('turned')"

/**
 * @param folder where its file may lie
 * @returns undefined when libfaketime is not installed
 */
export function createOwnClock(folder: string): OwnClock | undefined {
  const [library] = globSync(LIBRARY)
  if (library === undefined) return undefined
  const file = join(folder, 'clock')
  let passed = 0
  const set = (text: string): void => {
    // In one step: a file that is read half written is no time at all.
    writeFileSync(`${file}.new`, `${text}\n`)
    renameSync(`${file}.new`, file)
  }
  set('+0')
  const env = { LD_PRELOAD: library, FAKETIME_TIMESTAMP_FILE: file, FAKETIME_NO_CACHE: '1' }
  return {
    env,
    pass: async (seconds, wake) => {
      const hourglass = spawn(process.execPath, ['-e', HOURGLASS, String(seconds * 1000)], { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'ignore'] })
      const run = once(hourglass, 'exit')
      await once(hourglass.stdout, 'data')
      set(`+${passed * FAR_S} x1000`)
      await wake()
      await run
      passed++
      // The library keeps a rate until another is named.
      set(`+${passed * FAR_S} x1`)
    },
  }
}
