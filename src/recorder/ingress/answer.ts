/**
 * The upstream's answer: recorded from a copy, released as it came. Three ways, chosen by its head:
 * - a stream of events: each event is a frame before its bytes go out; comments and the head go out at once, or with an event that came in the same read
 * - JSON: held up to `inspectBytes`, so that it is recorded as whole messages; larger ones pass in parts
 * - anything else: passes in parts as it comes
 * The only writer to the client's response.
 */

import type { ServerResponse } from 'node:http'
import type { Outcome } from '../../record/frame.ts'
import { jsonTap, opaqueTap, sseTap } from './answer-taps.ts'
import type { EventCounts, Tap, TapOptions } from './answer-taps.ts'
import { isKnownEncoding } from './decoder.ts'
import { endToEnd, headerValue } from './headers.ts'
import { createPlainFeed } from './plain-feed.ts'
import { createReleaseQueue } from './release-queue.ts'

export interface AnswerOptions extends TapOptions {
  readonly res: ServerResponse
  readonly requestMethod: string
  readonly status: number
  readonly statusText: string
  readonly raw: readonly string[]
  /** Runs a function once all that was recorded so far is durable; never, when the exchange has ended otherwise. */
  readonly whenDurable: (then: () => void) => void
  /** Microseconds, monotonic. */
  readonly elapsedUs: () => number
  readonly pause: () => void
  readonly resume: () => void
  /** The upstream is paused while more than this waits for the log. Must be above `inspectBytes`. */
  readonly maxWaitingBytes: number
  /** Something is released, so many seconds after it was recorded. */
  readonly onReleased: (seconds: number) => void
  /** Records the end of the exchange, before the last bytes are released. Called once. */
  readonly recordEnd: (outcome: Outcome) => void
  /** The last bytes are about to be released; nothing more is recorded. */
  readonly onOver: () => void
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

export function createAnswer(options: AnswerOptions): Answer {
  const { res, context, whenDurable } = options
  const encoding = headerValue(options.raw, 'content-encoding')
  const cleartext = encoding === undefined || encoding === '' || encoding.toLowerCase() === 'identity'
  const isStream = /^text\/event-stream\b/i.test(context.contentType ?? '')
  const counts: EventCounts = { events: 0, comments: 0 }
  const tap = (): Tap => {
    if (!cleartext && !isKnownEncoding(encoding)) return opaqueTap(context)
    if (isStream) return sseTap(options, counts)
    return /^application\/(?:[\w.+-]+\+)?json\b/i.test(context.contentType ?? '') ? jsonTap(options) : opaqueTap(context)
  }
  const { whenRoom } = context.journal
  const feed = createPlainFeed({ encoding, tap: tap(), opaque: () => opaqueTap(context), whenRoom })
  let bytes = 0
  let paused = false
  let completing = false
  /** Something will be released soon, and the head goes with it: one send instead of two. */
  let releasing = false

  const sendHead = (): void => {
    if (res.headersSent || res.destroyed) return
    res.writeHead(options.status, options.statusText, endToEnd(options.raw, { trailers: true }))
  }
  const queue = createReleaseQueue(chunk => {
    sendHead()
    if (!res.destroyed && !res.write(chunk)) hold()
  }, cleartext)
  const hold = (): void => {
    if (paused) return
    paused = true
    options.pause()
  }
  const goOn = (): void => {
    if (!paused || res.writableNeedDrain || queue.waitingBytes > options.maxWaitingBytes || feed.waiting > 0) return
    paused = false
    options.resume()
  }
  res.on('drain', goOn)

  const whenReleasable = (then: () => void): void => {
    const since = options.elapsedUs()
    whenDurable(() => {
      options.onReleased((options.elapsedUs() - since) / 1e6)
      then()
    })
  }
  const releaseRecorded = (): void => {
    const upTo = feed.recorded
    releasing = true
    whenReleasable(() => {
      releasing = false
      queue.recordedTo(upTo)
      goOn()
    })
  }
  /** Once all has been taken: the last frames, then the last bytes, then `last`. */
  const complete = (outcome: Outcome, last: () => void): void => {
    if (completing) return
    completing = true
    const end = (): void => {
      feed.end(outcome === 'cut')
      options.recordEnd(outcome)
      whenReleasable(() => {
        options.onOver()
        queue.recordedTo(Infinity)
        sendHead()
        last()
      })
    }
    feed.whenTaken(() => whenRoom(end))
  }
  return {
    start: () => {
      if (!isStream || options.requestMethod === 'HEAD') return
      // What came in the same read as the head has been taken by then.
      setImmediate(() => {
        if (releasing || completing || res.headersSent) return
        sendHead()
        res.flushHeaders()
      })
    },
    data: chunk => {
      bytes += chunk.length
      feed.push(chunk, () => {
        queue.push(chunk, feed.plainBytes)
        if (feed.recorded > 0) releaseRecorded()
        else goOn()
      })
      if (feed.waiting > 0 || (queue.waitingBytes > options.maxWaitingBytes && feed.recorded > 0)) hold()
    },
    finish: trailers => {
      complete(options.status >= 400 ? 'error' : 'ok', () => {
        if (trailers.length > 0 && res.chunkedEncoding) res.addTrailers(pairs(trailers))
        res.end()
      })
    },
    cut: () => {
      complete('cut', () => {
        res.flushHeaders()
        // Not res.end(): the client must see what it would have seen, an answer that breaks off. A pipelined one has no socket yet and breaks off when its turn comes.
        if (res.socket === null) res.destroy()
        else res.socket.destroySoon()
      })
    },
    abandon: () => {
      completing = true
      feed.end(true)
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
    cleartext,
  }
}

function pairs(raw: readonly string[]): [string, string][] {
  const list: [string, string][] = []
  for (let i = 0; i + 1 < raw.length; i += 2) list.push([raw[i] ?? '', raw[i + 1] ?? ''])
  return list
}
