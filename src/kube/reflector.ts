/**
 * A copy of one kind of objects, kept up to date by list and watch. It never stops: whatever happens to connection, token or API server, it tries
 * again, and says how long it was blind. Reads are from memory; a gap in the watch means old data, never none.
 */

import { setTimeout as wait } from 'node:timers/promises'

import { StenoError } from '../errors.ts'
import type { Clock } from '../platform/clock.ts'
import type { Log } from '../platform/log.ts'
import { numberAt, objectAt, objectsAt, textAt } from '../policy/json.ts'
import type { JsonObject } from '../policy/json.ts'
import { KubeError } from './client.ts'
import type { KubeClient } from './client.ts'

export interface ReflectorOptions<T> {
  readonly client: KubeClient
  /** Of the collection, such as `/api/v1/namespaces`. */
  readonly path: string
  /** Only objects with these labels, such as `app=web`. */
  readonly labelSelector?: string
  /** What is kept of an object; undefined keeps nothing. Must not throw. */
  readonly keep: (object: JsonObject) => T | undefined
  /** Called when what is kept of an object may have changed: it came, went, was written, or a list was taken anew. Must not throw. */
  readonly onChange?: (change: Change<T>) => void
  readonly clock: Clock
  readonly log: Log
  /** 0 to 1, for jitter. */
  readonly random: () => number
  /** A watch that brings nothing for so long, bookmarks included, is taken for dead. */
  readonly quietMs?: number
  /** Longest wait between two attempts. */
  readonly maxWaitMs?: number
}

export interface Change<T> {
  /** `namespace/name`, or `name` for what has no namespace. */
  readonly key: string
  readonly before: T | undefined
  readonly after: T | undefined
}

export interface Reflector<T> {
  start(): void
  stop(): Promise<void>
  /** Resolves when the first list is in. */
  readonly synced: Promise<void>
  readonly isSynced: boolean
  /** By `namespace/name`, or `name` for what has no namespace. */
  get(key: string): T | undefined
  all(): IterableIterator<T>
  /** ms since what is here was last known to be current; 0 while the watch runs. */
  readonly blindMs: number
}

/** The API server sends bookmarks about once a minute. */
const QUIET_MS = 120_000
/** Small: a page is in memory as bytes, as text and as objects, and several kinds are listed at once. */
const PAGE = 100
/** The server ends a watch after so many seconds, and a random part more, so that not all come back at once. */
const WATCH_SECONDS = 240
const WATCH_JITTER_SECONDS = 60
const FIRST_WAIT_MS = 800
const MAX_WAIT_MS = 30_000
/** Longest wait that a server may ask for. */
const MAX_ASKED_MS = 60_000
/** Blindness that is worth a line when it is over. */
const WORTH_SAYING_MS = 1000

export function createReflector<T>(options: ReflectorOptions<T>): Reflector<T> {
  const { client, path, keep, clock, log } = options
  const quietMs = options.quietMs ?? QUIET_MS
  const maxWaitMs = options.maxWaitMs ?? MAX_WAIT_MS
  const labels = options.labelSelector === undefined ? '' : `&labelSelector=${encodeURIComponent(options.labelSelector)}`
  const items = new Map<string, T>()
  const stopping = new AbortController()
  const first = Promise.withResolvers<void>()
  let isSynced = false
  let running: Promise<void> | undefined
  /** When the copy was last known to be current, while the watch does not run. */
  let blindSince: number | undefined = clock.monotonic()

  const see = (): void => {
    const ms = blindSince === undefined ? 0 : clock.monotonic() - blindSince
    blindSince = undefined
    if (isSynced && ms > WORTH_SAYING_MS) log.warn('the copy is current again', { path, blindMs: Math.round(ms) })
  }

  const put = (key: string, after: T | undefined): void => {
    const before = items.get(key)
    if (after === undefined) items.delete(key)
    else items.set(key, after)
    if (before !== undefined || after !== undefined) options.onChange?.({ key, before, after })
  }

  /** In pages, and so not from the API server's cache, which would answer all at once: that is in memory several times over, as bytes, text and objects. @returns the resourceVersion of the list */
  const list = async (): Promise<string> => {
    const next = new Map<string, T>()
    let version = ''
    let page: string | undefined
    do {
      const query = `?limit=${PAGE}${page === undefined ? '' : `&continue=${encodeURIComponent(page)}`}`
      const answer = await client.request(`${path}${query}${labels}`, { signal: stopping.signal })
      version = textAt(answer['metadata'], 'resourceVersion') ?? ''
      page = textAt(answer['metadata'], 'continue')
      for (const object of objectsAt(answer, 'items')) {
        const kept = keep(object)
        if (kept !== undefined) next.set(keyOf(object), kept)
      }
    } while (page !== undefined && page !== '')
    for (const key of items.keys()) if (!next.has(key)) put(key, undefined)
    for (const [key, value] of next) put(key, value)
    return version
  }

  /** Follows changes until the server ends the watch. @returns the version to go on from; undefined when it is too old */
  const follow = async (from: string): Promise<string | undefined> => {
    let version = from
    const seconds = WATCH_SECONDS + Math.floor(options.random() * WATCH_JITTER_SECONDS)
    const query = `?watch=1&allowWatchBookmarks=true&timeoutSeconds=${seconds}&resourceVersion=${encodeURIComponent(version)}${labels}`
    for await (const event of client.watch(`${path}${query}`, { quietMs, signal: stopping.signal, onOpen: see })) {
      const object = objectAt(event, 'object')
      const type = event['type']
      if (type === 'ERROR') {
        const code = numberAt(object, 'code') ?? 500
        if (code === 410) return undefined
        throw new KubeError(code, textAt(object, 'reason') ?? '', `the watch ends with ${code}: ${textAt(object, 'message') ?? ''}`)
      }
      version = textAt(object['metadata'], 'resourceVersion') ?? version
      if (type === 'DELETED') put(keyOf(object), undefined)
      else if (type === 'ADDED' || type === 'MODIFIED') put(keyOf(object), keep(object))
      resume = version
    }
    return version
  }

  /** Where a broken watch goes on. */
  let resume: string | undefined
  let failures = 0

  const round = async (): Promise<void> => {
    if (resume === undefined) {
      resume = await list()
      see()
      if (!isSynced) {
        isSynced = true
        first.resolve()
      }
    }
    const started = clock.monotonic()
    const isShort = (): boolean => clock.monotonic() - started < FIRST_WAIT_MS
    try {
      resume = await follow(resume)
    } finally {
      // A list alone proves nothing: where each watch is refused, lists must not follow one another without end.
      if (!isShort()) failures = 0
    }
    // A server that ends each watch at once must not be asked again at once.
    if (isShort()) throw new KubeError(0, 'TooShort', 'the watch ended as soon as it began')
  }

  const run = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      try {
        await round()
      } catch (error) {
        if (stopping.signal.aborted) return
        blindSince ??= clock.monotonic()
        failures++
        if (error instanceof KubeError && error.status === 410) resume = undefined
        const most = Math.min(maxWaitMs, FIRST_WAIT_MS * 2 ** Math.min(failures - 1, 10))
        const askedMs = error instanceof KubeError ? Math.min(error.retryAfterMs ?? 0, MAX_ASKED_MS) : 0
        const waitMs = Math.max(askedMs, most * (0.2 + 0.8 * options.random()))
        log.warn('cannot follow the API server; what is known stays', { path, code: error instanceof StenoError ? error.code : 'unknown', reason: error instanceof Error ? error.message : String(error), retryMs: Math.round(waitMs) })
        await wait(waitMs, undefined, { signal: stopping.signal }).catch(() => {})
      }
    }
  }

  return {
    start: () => {
      running ??= run()
    },
    stop: async () => {
      stopping.abort()
      await running
    },
    synced: first.promise,
    get isSynced() {
      return isSynced
    },
    get: key => items.get(key),
    all: () => items.values(),
    get blindMs() {
      return blindSince === undefined ? 0 : clock.monotonic() - blindSince
    },
  }
}

/** `namespace/name`, or `name` for what has no namespace. */
export function keyOf(object: JsonObject): string {
  const namespace = textAt(object['metadata'], 'namespace')
  const name = textAt(object['metadata'], 'name') ?? ''
  return namespace === undefined ? name : `${namespace}/${name}`
}
