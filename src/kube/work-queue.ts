/**
 * Keys of things to look at. A key is looked at by one worker at a time, once however often it was added meanwhile, and again later when that fails.
 * A key says what may have changed, never how: whoever looks at it looks at everything.
 */

import type { Clock } from '../platform/clock.ts'
import type { Log } from '../platform/log.ts'
import { errorCode } from '../platform/error-code.ts'
import { KubeError } from './client.ts'

/** Looks at a key. @returns when to look again without being told; rejects to be asked again soon */
export type Reconcile = (key: string, signal: AbortSignal) => Promise<{ readonly againMs?: number }>

export type WorkResult = 'success' | 'requeue_after' | 'error'

export interface WorkQueueMetrics {
  added(queue: string): void
  retried(queue: string): void
  started(queue: string, queuedSeconds: number): void
  ended(queue: string, result: WorkResult, seconds: number): void
}

export interface WorkQueueOptions {
  readonly name: string
  readonly reconcile: Reconcile
  readonly workers?: number
  readonly clock: Clock
  readonly log: Log
  /** 0 to 1, for jitter. */
  readonly random: () => number
  readonly metrics?: WorkQueueMetrics
  /** Calls back after so many ms. @returns what takes that back */
  readonly after?: (ms: number, run: () => void) => () => void
  /** How long work that is under way may go on after `stop()`; then its signal aborts. */
  readonly drainMs?: number
}

export interface WorkQueue {
  add(key: string): void
  start(): void
  /** Waits for what is under way. */
  stop(): Promise<void>
  /** Keys that wait for a worker. */
  readonly depth: number
  /** Keys that failed when they were last looked at. */
  readonly failing: number
  /** Seconds that the work under way has taken so far: of all, and of the longest. */
  readonly unfinished: { readonly sum: number; readonly longest: number }
}

const WORKERS = 4
/** As controller-runtime: 5 ms, doubling, for one key; all retries together at most 10 in a second after a burst of 100. */
const FIRST_RETRY_MS = 5
const LAST_RETRY_MS = 1_000_000
const RETRIES_PER_MS = 10 / 1000
const RETRY_BURST = 100
const DRAIN_MS = 30_000

export function createWorkQueue(options: WorkQueueOptions): WorkQueue {
  const { name, clock, log, metrics } = options
  const after = options.after ?? afterTimeout
  const most = options.workers ?? WORKERS
  /** In order; the time is that of the first add. */
  const waiting = new Map<string, number>()
  const running = new Map<string, number>()
  /** Added while it was being looked at. */
  const again = new Set<string>()
  const later = new Map<string, { readonly dueMs: number; readonly cancel: () => void }>()
  const failures = new Map<string, number>()
  const ending = new AbortController()
  let tokens = RETRY_BURST
  let filledMs = clock.monotonic()
  let state: 'idle' | 'running' | 'stopped' = 'idle'
  let idle: (() => void) | undefined

  const forgetLater = (key: string): void => {
    later.get(key)?.cancel()
    later.delete(key)
  }

  const add = (key: string): void => {
    if (state === 'stopped') return
    metrics?.added(name)
    // Whoever looks now need not look again at the time that was set before.
    forgetLater(key)
    if (running.has(key)) again.add(key)
    else if (!waiting.has(key)) waiting.set(key, clock.monotonic())
    work()
  }

  const addLater = (key: string, ms: number): void => {
    const dueMs = clock.monotonic() + ms
    const set = later.get(key)
    if (state === 'stopped' || again.has(key) || (set !== undefined && set.dueMs <= dueMs)) return
    forgetLater(key)
    later.set(key, { dueMs, cancel: after(ms, () => add(key)) })
  }

  /** How long a retry waits for the bucket. */
  const reserve = (): number => {
    const now = clock.monotonic()
    tokens = Math.min(RETRY_BURST, tokens + (now - filledMs) * RETRIES_PER_MS) - 1
    filledMs = now
    return tokens >= 0 ? 0 : -tokens / RETRIES_PER_MS
  }

  const failed = (key: string, error: unknown): void => {
    const count = failures.get(key) ?? 0
    failures.set(key, count + 1)
    const backOffMs = Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(count, 40)) * (0.8 + 0.2 * options.random())
    const ms = Math.max(backOffMs, reserve(), error instanceof KubeError ? (error.retryAfterMs ?? 0) : 0)
    metrics?.retried(name)
    log.warn('a reconcile failed and is tried again', { controller: name, key, code: errorCode(error) ?? 'unknown', reason: error instanceof Error ? error.message : String(error), failures: count + 1, retryMs: Math.round(ms) })
    addLater(key, ms)
  }

  const look = async (key: string): Promise<void> => {
    const started = clock.monotonic()
    let result: WorkResult
    try {
      const { againMs } = await options.reconcile(key, ending.signal)
      failures.delete(key)
      if (againMs !== undefined) addLater(key, againMs)
      result = againMs === undefined ? 'success' : 'requeue_after'
    } catch (error) {
      if (!ending.signal.aborted) failed(key, error)
      result = 'error'
    }
    metrics?.ended(name, result, (clock.monotonic() - started) / 1000)
    running.delete(key)
    if (again.delete(key) && state !== 'stopped') waiting.set(key, clock.monotonic())
    if (running.size === 0) idle?.()
    work()
  }

  const work = (): void => {
    while (state === 'running' && running.size < most) {
      const next = waiting.entries().next()
      if (next.done === true) return
      const [key, since] = next.value
      waiting.delete(key)
      const now = clock.monotonic()
      running.set(key, now)
      metrics?.started(name, (now - since) / 1000)
      void look(key)
    }
  }

  return {
    add,
    start: () => {
      if (state === 'idle') state = 'running'
      work()
    },
    stop: async () => {
      state = 'stopped'
      for (const key of later.keys()) forgetLater(key)
      waiting.clear()
      if (running.size === 0) return
      const cancel = after(options.drainMs ?? DRAIN_MS, () => ending.abort())
      await new Promise<void>(resolve => (idle = resolve))
      cancel()
    },
    get depth() {
      return waiting.size
    },
    get failing() {
      return failures.size
    },
    get unfinished() {
      const now = clock.monotonic()
      const seconds = [...running.values()].map(started => (now - started) / 1000)
      return { sum: seconds.reduce((sum, each) => sum + each, 0), longest: Math.max(0, ...seconds) }
    },
  }
}

/**
 * The longest that a timer of Node's can wait is 24.8 days; nothing here waits longer than half a day. Not unref()ed: Node would keep something for each
 * length of such a timer that was taken back, until that much time has passed.
 */
function afterTimeout(ms: number, run: () => void): () => void {
  const timer = setTimeout(run, ms)
  return () => clearTimeout(timer)
}
