/** Keys of the player. Reads them one at a time, with a limit on the wait, and gives the terminal back as it was. */

import type { CliIo } from './io.ts'

export type Key = 'pause' | 'quit' | 'back' | 'forward' | 'far-back' | 'far-forward' | 'slower' | 'faster' | 'skip'

const KEYS: Readonly<Record<string, Key>> = {
  ' ': 'pause',
  q: 'quit',
  // In raw mode Ctrl-C is a key and no signal.
  '\u0003': 'quit',
  '\u001b[D': 'back',
  '\u001b[C': 'forward',
  '\u001b[1;2D': 'far-back',
  '\u001b[1;2C': 'far-forward',
  '<': 'slower',
  '>': 'faster',
  s: 'skip',
}
// oxlint-disable-next-line no-control-regex
const SEQUENCE = /\u001b\[[0-9;]*[A-Za-z]|[^]/gu

export interface Keys {
  /** The next key, or undefined when none came in time or the signal did. */
  next(waitMs: number): Promise<Key | undefined>
  close(): void
}

export function readKeys(io: CliIo): Keys {
  const { stdin, signal } = io
  const pressed: Key[] = []
  let wake: () => void = () => {}
  const take = (data: Buffer | string): void => {
    for (const sequence of data.toString().match(SEQUENCE) ?? []) {
      const key = KEYS[sequence]
      if (key !== undefined) pressed.push(key)
    }
    wake()
  }
  const listens = stdin.isTTY === true && stdin.setRawMode !== undefined
  if (listens) {
    stdin.setRawMode?.(true)
    stdin.on('data', take)
    stdin.resume()
  }
  return {
    next: async waitMs => {
      if (pressed.length === 0 && !signal.aborted) await wait(waitMs, signal, woken => (wake = woken))
      return pressed.shift()
    },
    close: () => {
      if (!listens) return
      stdin.off('data', take)
      stdin.pause()
      stdin.setRawMode?.(false)
    },
  }
}

function wait(ms: number, signal: AbortSignal, onWake: (woken: () => void) => void): Promise<void> {
  return new Promise(resolve => {
    const done = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal.addEventListener('abort', done, { once: true })
    onWake(done)
  })
}
