/** Requests to an API server: JSON in and out, errors with their status, streams of events. Retries nothing: callers know what may be repeated. */

import { Pool } from 'undici'
import type { Dispatcher } from 'undici'

import { StenoError } from '../errors.ts'
import { isObject, numberAt, textAt } from '../policy/json.ts'
import type { Json, JsonObject } from '../policy/json.ts'
import type { Cluster } from './cluster.ts'
import { lines } from './lines.ts'

/** A request that the API server refused, or that did not reach it (`status` 0). */
export class KubeError extends StenoError {
  readonly status: number
  /** The API's own word for it, such as `Expired` or `AlreadyExists`. */
  readonly reason: string
  readonly retryAfterMs: number | undefined

  constructor(status: number, reason: string, message: string, options: { readonly retryAfterMs?: number | undefined; readonly cause?: unknown } = {}) {
    super('kube.request', message, options)
    this.status = status
    this.reason = reason
    this.retryAfterMs = options.retryAfterMs
  }
}

export interface RequestOptions {
  readonly method?: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  readonly body?: Json
  readonly contentType?: string
  /** What a success answers is not needed: it is let pass unread, and is `{}` for the caller. */
  readonly forget?: boolean
  readonly signal?: AbortSignal
}

export interface KubeClient {
  /** Rejects with a KubeError. */
  request(path: string, options?: RequestOptions): Promise<JsonObject>
  /** The events of a watch, one JSON object each, until the server ends it, the signal aborts or nothing came for `quietMs`. Throws a KubeError. */
  watch(path: string, options: { readonly quietMs: number; readonly signal: AbortSignal; readonly onOpen?: () => void }): AsyncGenerator<JsonObject>
  close(): Promise<void>
}

const CONNECT_MS = 10_000
/** A list of a large cluster takes its time; one that hangs must not. */
const ANSWER_MS = 30_000
/** Objects in etcd are at most 1.5 MiB; an event holds one. */
const MAX_EVENT_BYTES = 8 * 1024 * 1024
const MAX_ANSWER_BYTES = 256 * 1024 * 1024

export function createKubeClient(cluster: Cluster): KubeClient {
  const { ca, cert, key } = cluster
  const pool = new Pool(cluster.server.origin, {
    connect: { timeout: CONNECT_MS, ...(ca === undefined ? {} : { ca }), ...(cert === undefined ? {} : { cert }), ...(key === undefined ? {} : { key }) },
  })
  const base = cluster.server.pathname.replace(/\/$/, '')

  const send = async (path: string, options: RequestOptions, silenceMs = ANSWER_MS): Promise<Dispatcher.ResponseData> => {
    // A program that gives credentials may think for long.
    const token = await (options.signal === undefined ? cluster.token() : unlessAborted(cluster.token(), options.signal))
    const headers: Record<string, string> = { accept: 'application/json', 'user-agent': 'steno' }
    if (token !== undefined) headers['authorization'] = `Bearer ${token}`
    if (options.body !== undefined) headers['content-type'] = options.contentType ?? 'application/json'
    try {
      const answer = pool.request({
        method: options.method ?? 'GET',
        path: `${base}${path}`,
        headers,
        headersTimeout: silenceMs,
        bodyTimeout: silenceMs,
        ...(options.body === undefined ? {} : { body: JSON.stringify(options.body) }),
        ...(options.signal === undefined ? {} : { signal: options.signal }),
      })
      return await (options.signal === undefined ? answer : unlessAborted(answer, options.signal, ({ body }) => body.destroy()))
    } catch (cause) {
      throw unreached(cause)
    }
  }

  return {
    request: async (path, options = {}) => {
      const answer = await send(path, options)
      if (options.forget === true && answer.statusCode < 300) {
        // Read to its end, so that its connection can be used again; a success that is cut is one all the same.
        await answer.body.dump({ limit: MAX_ANSWER_BYTES })
        return {}
      }
      const document = await read(answer)
      if (answer.statusCode >= 300) throw refused(answer, document)
      return document
    },
    async *watch(path, { quietMs, signal, onOpen }) {
      // undici counts silence from one piece to the next.
      const answer = await send(path, { signal }, quietMs)
      if (answer.statusCode >= 300) throw refused(answer, await read(answer))
      onOpen?.()
      try {
        for await (const line of lines(answer.body, MAX_EVENT_BYTES)) {
          const event: unknown = JSON.parse(line)
          if (!isObject(event)) throw new KubeError(0, 'Unreadable', 'the API server sent an event that is no object')
          yield event
        }
      } catch (cause) {
        throw cause instanceof KubeError ? cause : unreached(cause)
      } finally {
        answer.body.destroy()
      }
    },
    close: async () => await pool.destroy(),
  }
}

/** undici tells a request of its signal only once there is a connection, which may take as long as connecting may. @param forget what comes too late */
async function unlessAborted<T>(answer: Promise<T>, signal: AbortSignal, forget: (answer: T) => void = () => {}): Promise<T> {
  const aborted = Promise.withResolvers<never>()
  const abort = (): void => aborted.reject(signal.reason)
  if (signal.aborted) abort()
  signal.addEventListener('abort', abort, { once: true })
  try {
    return await Promise.race([answer, aborted.promise])
  } finally {
    signal.removeEventListener('abort', abort)
    // The one that lost: nobody reads it any more.
    aborted.promise.catch(() => {})
    answer.then(came => signal.aborted && forget(came), () => {})
  }
}

function unreached(cause: unknown): KubeError {
  return new KubeError(0, 'Unreached', `the API server cannot be reached: ${cause instanceof Error ? cause.message : String(cause)}`, { cause })
}

function refused({ statusCode, headers }: Dispatcher.ResponseData, document: JsonObject): KubeError {
  const seconds = Number(headers['retry-after'])
  const retryAfterMs = headers['retry-after'] === undefined || !Number.isFinite(seconds) ? undefined : seconds * 1000
  const status = numberAt(document, 'code') ?? statusCode
  return new KubeError(status, textAt(document, 'reason') ?? '', `the API server answers ${status}: ${(textAt(document, 'message') ?? 'without a reason').slice(0, 1000)}`, { retryAfterMs })
}

async function read(answer: Dispatcher.ResponseData): Promise<JsonObject> {
  const chunks: Buffer[] = []
  let bytes = 0
  try {
    for await (const chunk of answer.body as AsyncIterable<Buffer>) {
      bytes += chunk.length
      if (bytes > MAX_ANSWER_BYTES) throw new Error(`more than ${MAX_ANSWER_BYTES} bytes`)
      chunks.push(chunk)
    }
    const document: unknown = JSON.parse(Buffer.concat(chunks).toString())
    return isObject(document) ? document : {}
  } catch (cause) {
    // A refusal need not be JSON; its status says enough.
    if (answer.statusCode >= 300 && cause instanceof SyntaxError) return {}
    throw unreached(cause)
  }
}
