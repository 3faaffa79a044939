/**
 * One bucket for all calls to a control plane of AWS, whose quotas are low and belong to the whole account. When AWS throttles, the bucket fills at half
 * the speed, and then faster again bit by bit. Nothing is repeated here.
 */

import type { Clock } from '../clock.ts'
import { AwsFailure } from './failure.ts'

export interface CallLimiter {
  /** Waits for its turn, in order; rejects with the signal's reason, or with what `call` rejects with. */
  run<T>(signal: AbortSignal, call: () => Promise<T>): Promise<T>
  /** Calls in a second at the moment. */
  readonly rate: number
}

export interface CallLimiterOptions {
  readonly clock: Clock
  /** Calls in a second, when all is well. */
  readonly perSecond?: number
  /** Calls back after so many ms. @returns what takes that back */
  readonly after?: (ms: number, run: () => void) => () => void
}

const PER_SECOND = 4
/** An account's other programs may use up a quota for long: one call in 10 s still gets somewhere. */
const SLOWEST = 0.1
/** What is won back a second. */
const RECOVERY = 0.1

export function createCallLimiter({ clock, perSecond = PER_SECOND, after = afterTimeout }: CallLimiterOptions): CallLimiter {
  const burst = Math.max(1, perSecond)
  let tokens = burst
  let rate = perSecond
  let filledMs = clock.monotonic()
  const waiting: (() => void)[] = []
  let timer: (() => void) | undefined

  const fill = (): void => {
    const now = clock.monotonic()
    const seconds = Math.max(0, now - filledMs) / 1000
    filledMs = now
    tokens = Math.min(burst, tokens + seconds * rate)
    rate = Math.min(perSecond, rate + seconds * RECOVERY)
  }
  const serve = (): void => {
    timer?.()
    timer = undefined
    fill()
    while (tokens >= 1) {
      const next = waiting.shift()
      if (next === undefined) return
      tokens--
      next()
    }
    if (waiting.length > 0) timer = after(Math.ceil(((1 - tokens) / rate) * 1000), serve)
  }
  const turn = async (signal: AbortSignal): Promise<void> => {
    signal.throwIfAborted()
    await new Promise<void>((resolve, reject) => {
      const mine = (): void => {
        signal.removeEventListener('abort', leave)
        resolve()
      }
      const leave = (): void => {
        waiting.splice(waiting.indexOf(mine), 1)
        reject(signal.reason instanceof Error ? signal.reason : new Error('aborted'))
      }
      signal.addEventListener('abort', leave, { once: true })
      waiting.push(mine)
      serve()
    })
  }

  return {
    run: async (signal, call) => {
      await turn(signal)
      try {
        return await call()
      } catch (error) {
        if (error instanceof AwsFailure && error.problem === 'throttled') {
          fill()
          rate = Math.max(SLOWEST, rate / 2)
          tokens = 0
        }
        throw error
      }
    },
    get rate() {
      return rate
    },
  }
}

function afterTimeout(ms: number, run: () => void): () => void {
  const timer = setTimeout(run, ms)
  timer.unref()
  return () => clearTimeout(timer)
}
