/**
 * The upstream's answer: recorded from a copy, released as it came. Three ways, chosen by its head:
 * - a stream of events: each event is a frame before its bytes go out; comments and the head go out at once
 * - JSON: held up to `inspectBytes`, so that it is recorded as whole messages; larger ones pass in parts
 * - anything else: passes in parts as it comes
 * Writes frames through the body context; the only writer to the client's response.
 */

import type { ServerResponse } from 'node:http'
import type { Outcome } from '../../record/frame.ts'
import type { Scan } from '../../record/jsonrpc.ts'
import { sessionIdOfTarget } from '../../record/session.ts'
import { createSseTap } from '../../record/sse.ts'
import type { SsePiece } from '../../record/sse.ts'
import { decodeExact } from '../../record/utf8.ts'
import { createStreamedBody, recordWhole, scanBody } from './body-frames.ts'
import type { BodyContext, SseMark, StreamedBody } from './body-frames.ts'
import { createDecoder } from './decoder.ts'
import type { Decoder } from './decoder.ts'
import { endToEnd, headerValue } from './headers.ts'
import { createReleaseQueue } from './release-queue.ts'

export interface AnswerOptions {
  readonly res: ServerResponse
  readonly requestMethod: string
  readonly status: number
  readonly statusText: string
  readonly raw: readonly string[]
  readonly context: BodyContext
  /** Runs a function once all that was recorded so far is durable; never, when the exchange has ended otherwise. */
  readonly whenDurable: (then: () => void) => void
  readonly elapsedUs: () => number
  readonly pause: () => void
  readonly resume: () => void
  readonly maxWaitingBytes: number
  readonly inspectBytes: number
  readonly onScanned: (scan: Scan | undefined) => void
  /** An HTTP+SSE `endpoint` event named the session. */
  readonly onEndpoint: (session: string) => void
  readonly onReleased: (seconds: number) => void
  /** Records the end of the exchange. Called once. */
  readonly end: (outcome: Outcome) => void
  /** All is released; the exchange is over. */
  readonly over: () => void
}

export interface Answer {
  start(): void
  data(chunk: Buffer): void
  finish(trailers: readonly string[]): void
  /** The upstream died in the middle: what came is recorded and released, then the client sees the cut. */
  cut(): void
  /** The client has gone: record what is held, release nothing. */
  abandon(): void
  readonly bytes: number
  /** Undefined when this is no stream of events. */
  readonly events: number | undefined
  readonly comments: number
  /** The bytes on the wire are plain text, so that an event of our own can follow. */
  readonly cleartext: boolean
}

/** An event larger than this is recorded and released in parts. */
const MAX_EVENT_BYTES = 1024 * 1024
/** Inflated to compressed: JSON seldom passes 20, zeros reach 1,000. */
const MAX_RATIO = 200

/** What a kind of body does with plain bytes. `recorded` is the offset up to which they are in frames. */
interface Tap {
  push(plain: Buffer): void
  end(cut: boolean): void
  readonly recorded: number
}

export function createAnswer(options: AnswerOptions): Answer {
  const { res, context, whenDurable } = options
  const encoding = headerValue(options.raw, 'content-encoding')
  const identityEncoding = encoding === undefined || encoding === '' || encoding.toLowerCase() === 'identity'
  const contentType = context.contentType ?? ''
  const isStream = /^text\/event-stream\b/i.test(contentType)
  const isJson = /^application\/(?:[\w.+-]+\+)?json\b/i.test(contentType)
  let decoder: Decoder | undefined = createDecoder(encoding, MAX_RATIO)
  const counts = { events: 0, comments: 0 }
  let tap: Tap = decoder === undefined && !identityEncoding ? opaqueTap(context) : isStream ? sseTap(context, counts, options) : isJson ? jsonTap(context, options) : opaqueTap(context)

  let bytes = 0
  let plainBytes = 0
  let paused = false
  let ended: { readonly trailers: readonly string[]; readonly cut: boolean } | undefined
  let finishing = false
  /** Chunks that wait for the decoder. */
  const undecoded: Buffer[] = []
  let decoding = false

  const sendHead = (): void => {
    if (res.headersSent || res.destroyed) return
    res.writeHead(options.status, options.statusText, endToEnd(options.raw, { trailers: true }))
  }
  const queue = createReleaseQueue(chunk => {
    sendHead()
    if (!res.destroyed && !res.write(chunk)) hold()
  }, identityEncoding)

  const hold = (): void => {
    if (paused) return
    paused = true
    options.pause()
  }
  const goOn = (): void => {
    if (!paused || res.writableNeedDrain || queue.waitingBytes > options.maxWaitingBytes || undecoded.length > 0) return
    paused = false
    options.resume()
  }
  res.on('drain', goOn)

  const releaseRecorded = (): void => {
    const upTo = tap.recorded
    const since = options.elapsedUs()
    whenDurable(() => {
      queue.recordedTo(upTo)
      options.onReleased((options.elapsedUs() - since) / 1e6)
      goOn()
    })
  }
  const take = (chunk: Buffer): void => {
    tap.push(chunk)
    plainBytes += chunk.length
  }
  const pump = (): void => {
    if (decoding) return
    const chunk = undecoded.shift()
    if (chunk === undefined) {
      if (ended !== undefined) complete()
      else goOn()
      return
    }
    const active = decoder
    if (active === undefined) {
      take(chunk)
      queue.push(chunk, plainBytes)
      releaseRecorded()
      pump()
      return
    }
    decoding = true
    active.push(chunk, take, error => {
      decoding = false
      if (error !== undefined) {
        // It cannot be read as what it says: from here on the bytes are recorded as they pass.
        active.close()
        decoder = undefined
        tap.end(true)
        tap = after(plainBytes, opaqueTap(context))
        take(chunk)
      }
      queue.push(chunk, plainBytes)
      releaseRecorded()
      pump()
    })
  }
  const complete = (): void => {
    if (finishing || ended === undefined) return
    finishing = true
    const { trailers, cut } = ended
    decoder?.close()
    tap.end(cut)
    options.end(cut ? 'cut' : options.status >= 400 ? 'error' : 'ok')
    const since = options.elapsedUs()
    whenDurable(() => {
      options.over()
      options.onReleased((options.elapsedUs() - since) / 1e6)
      queue.recordedTo(Infinity)
      if (cut) {
        // Not res.end(): the client must see what it would have seen, an answer that breaks off.
        sendHead()
        res.flushHeaders()
        // A pipelined answer has no socket yet: then it breaks off as soon as its turn comes.
        if (res.socket === null) res.destroy()
        else res.socket.destroySoon()
        return
      }
      sendHead()
      if (trailers.length > 0 && res.chunkedEncoding) res.addTrailers(pairs(trailers))
      res.end()
    })
  }

  return {
    start: () => {
      if (isStream && options.requestMethod !== 'HEAD') {
        sendHead()
        res.flushHeaders()
      }
    },
    data: chunk => {
      bytes += chunk.length
      if (decoder === undefined && undecoded.length === 0) {
        take(chunk)
        queue.push(chunk, plainBytes)
        if (tap.recorded > 0) releaseRecorded()
      } else {
        undecoded.push(chunk)
        if (undecoded.length > 1) hold()
        pump()
      }
      if (queue.waitingBytes > options.maxWaitingBytes && tap.recorded > 0) hold()
    },
    finish: trailers => {
      ended ??= { trailers, cut: false }
      if (!decoding && undecoded.length === 0) complete()
    },
    cut: () => {
      ended ??= { trailers: [], cut: true }
      if (!decoding && undecoded.length === 0) complete()
    },
    abandon: () => {
      decoder?.close()
      if (!finishing) tap.end(true)
      finishing = true
    },
    get bytes() {
      return bytes
    },
    get events() {
      return isStream ? counts.events : undefined
    },
    get comments() {
      return counts.comments
    },
    cleartext: identityEncoding,
  }
}

/** A tap whose offsets go on from where another one stopped. */
function after(offset: number, tap: Tap): Tap {
  return {
    push: plain => tap.push(plain),
    end: cut => tap.end(cut),
    get recorded() {
      return offset + tap.recorded
    },
  }
}

function opaqueTap(context: BodyContext): Tap {
  let body: StreamedBody | undefined
  return {
    push: plain => {
      body ??= createStreamedBody(context, { mcp: false })
      body.push(plain)
    },
    end: () => body?.end(),
    get recorded() {
      return body?.recorded ?? 0
    },
  }
}

function jsonTap(context: BodyContext, options: Pick<AnswerOptions, 'inspectBytes' | 'onScanned'>): Tap {
  let held: Buffer[] = []
  let bytes = 0
  let streamed: StreamedBody | undefined
  return {
    push: plain => {
      if (streamed !== undefined) {
        streamed.push(plain)
        return
      }
      held.push(plain)
      bytes += plain.length
      if (bytes <= options.inspectBytes) return
      streamed = createStreamedBody(context, { mcp: true })
      streamed.push(Buffer.concat(held))
      held = []
    },
    end: cut => {
      if (streamed !== undefined) {
        streamed.end()
        return
      }
      const body = held.length === 1 && held[0] !== undefined ? held[0] : Buffer.concat(held)
      held = []
      if (body.length === 0) return
      const scanned = scanBody(body)
      if (!cut) options.onScanned(scanned.scan)
      recordWhole(context, body, scanned)
    },
    get recorded() {
      return streamed?.recorded ?? 0
    },
  }
}

function sseTap(context: BodyContext, counts: { events: number; comments: number }, options: Pick<AnswerOptions, 'onScanned' | 'onEndpoint'>): Tap {
  const sse = createSseTap({ maxEventBytes: MAX_EVENT_BYTES })
  let large: StreamedBody | undefined
  let recorded = 0
  const take = (piece: SsePiece): void => {
    recorded += piece.bytes.length
    switch (piece.kind) {
      case 'quiet':
        counts.comments += piece.comments + piece.priming
        return
      case 'event': {
        counts.events++
        const mark = markOf(piece)
        if (piece.event === 'endpoint') {
          recordEndpoint(context, piece.data, mark, options.onEndpoint)
          return
        }
        const scanned = scanBody(piece.data)
        options.onScanned(scanned.scan)
        recordWhole(context, piece.data, scanned, mark)
        return
      }
      case 'part':
        if (piece.first) {
          counts.events++
          const mark = markOf(piece)
          large = createStreamedBody(context, { mcp: true, ...(mark === undefined ? {} : { event: mark }) })
        }
        large?.push(piece.data)
        if (piece.last) {
          large?.end()
          large = undefined
        }
        return
      case 'tail':
        recordWhole(context, piece.bytes, { text: decodeExact(piece.bytes), scan: undefined })
    }
  }
  return {
    push: plain => sse.push(plain).forEach(take),
    end: () => {
      sse.end().forEach(take)
      large?.end()
    },
    get recorded() {
      return recorded
    },
  }
}

function markOf(piece: { readonly id?: string; readonly event?: string }): SseMark | undefined {
  if (piece.id === undefined && piece.event === undefined) return undefined
  return { ...(piece.id === undefined ? {} : { id: piece.id }), ...(piece.event === undefined ? {} : { type: piece.event }) }
}

/** The `endpoint` event of HTTP+SSE (2024-11-05) carries the session id in a URL: recorded with the id hashed. */
function recordEndpoint(context: BodyContext, data: Uint8Array, mark: SseMark | undefined, onEndpoint: (session: string) => void): void {
  const text = Buffer.from(data.buffer, data.byteOffset, data.length).toString('utf8')
  const id = sessionIdOfTarget(text)
  if (id !== undefined) onEndpoint(id)
  const stored = text.replace(/([?&][^=&]{1,64}=)([^&]+)/g, (_all, name: string, value: string) => `${name}hmac:${context.keyedHash(value)}`)
  const at = { session: context.session(), exchange: context.exchange }
  if (context.journal.append({ kind: 'http', from: 'server', ...(mark === undefined ? {} : { event: mark }), body: stored, bytes: data.length }, at) === undefined) context.onMissed(data.length)
}

function pairs(raw: readonly string[]): [string, string][] {
  const list: [string, string][] = []
  for (let i = 0; i + 1 < raw.length; i += 2) list.push([raw[i] ?? '', raw[i + 1] ?? ''])
  return list
}
