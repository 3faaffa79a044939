/** What the main thread has asked of the shipper: to look again, to finish, to give up. */

import type { ToWorker } from './protocol.ts'

export interface Orders {
  /** All that is durable shall go out, then no more. */
  readonly closing: boolean
  /** Aborted when no time is left. */
  readonly signal: AbortSignal
  /** Rejects when no time is left, for a race with what may hang. */
  readonly outOfTime: Promise<never>
  /** Sleeps for so long, or until the main thread says anything. */
  sleep(ms: number): Promise<void>
  /** Ends the sleep. What comes while nobody sleeps ends the next one. */
  wake(): void
}

export function createOrders(onMessage: (listener: (message: ToWorker) => void) => void): Orders {
  const abort = new AbortController()
  const outOfTime = new Promise<never>((_resolve, reject) => {
    abort.signal.addEventListener('abort', () => reject(new Error('no time is left')), { once: true })
  })
  // Only a race looks at it.
  outOfTime.catch(() => {})
  let closing = false
  let wakeUp: (() => void) | undefined
  let woken = false
  const wake = (): void => {
    woken = true
    wakeUp?.()
  }

  onMessage(message => {
    if (message.type === 'close') {
      closing = true
      setTimeout(() => {
        abort.abort()
        wake()
      }, message.deadlineMs).unref()
    }
    wake()
  })
  return {
    get closing() {
      return closing
    },
    signal: abort.signal,
    outOfTime,
    sleep: async ms => {
      if (!woken) {
        await new Promise<void>(resolve => {
          const timer = setTimeout(resolve, ms)
          wakeUp = () => {
            clearTimeout(timer)
            resolve()
          }
        })
        wakeUp = undefined
      }
      woken = false
    },
    wake,
  }
}
