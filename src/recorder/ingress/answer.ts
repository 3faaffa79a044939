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
import { PlainFeed } from './plain-feed.ts'
import { ReleaseQueue } from './release-queue.ts'

export interface AnswerOptions extends TapOptions {
  readonly res: ServerResponse
  readonly requestMethod: string
  readonly status: number
  readonly statusText: string
  readonly raw: readonly string[]
  /** Runs a function once all that was recorded so far is durable; never, when the exchange has ended otherwise. */
  readonly whenDurable: (then: () => void) => void
  /** Whoever sends the bytes. */
  readonly sender: { pause(): void; resume(): void }
  /** The sender is paused while more than this waits for the log. Must be above `inspectBytes`. */
  readonly maxWaitingBytes: number
  /** Something is released, so many seconds after it was recorded. */
  readonly onReleased: (seconds: number) => void
  /** Records the end of the exchange, before the last bytes are released. Called once. */
  readonly recordEnd: (outcome: Outcome) => void
  /** The last bytes are about to be released; nothing more is recorded. */
  readonly onOver: () => void
}

// A class, as one is made for each call: its functions are made once.
export class Answer {
  /** The bytes on the wire are plain text, so that an event of our own can follow. */
  readonly cleartext: boolean
  /** So far. */
  bytes = 0
  readonly #options: AnswerOptions
  readonly #isStream: boolean
  readonly #counts: EventCounts = { events: 0, comments: 0 }
  readonly #feed: PlainFeed
  readonly #queue: ReleaseQueue
  #paused = false
  #completing = false
  /** Something will be released soon, and the head goes with it: one send instead of two. */
  #releasing = false

  constructor(options: AnswerOptions) {
    const { res, context } = options
    const encoding = headerValue(options.raw, 'content-encoding')
    this.#options = options
    this.cleartext = encoding === undefined || encoding === '' || encoding.toLowerCase() === 'identity'
    this.#isStream = /^text\/event-stream\b/i.test(context.contentType ?? '')
    this.#queue = new ReleaseQueue(chunk => this.#release(chunk), this.cleartext)
    this.#feed = new PlainFeed({
      encoding,
      tap: this.cleartext || isKnownEncoding(encoding) ? this.#tap() : opaqueTap(context),
      opaque: () => opaqueTap(context),
      whenRoom: context.journal.whenRoom,
      taken: chunk => this.#taken(chunk),
    })
    res.on('drain', () => this.#goOn())
  }

  /** Undefined when this is no stream of events. */
  get events(): number | undefined {
    return this.#isStream ? this.#counts.events : undefined
  }

  get comments(): number {
    return this.#counts.comments
  }

  start(): void {
    const { res, requestMethod } = this.#options
    if (!this.#isStream || requestMethod === 'HEAD') return
    // What came in the same read as the head has been taken by then.
    setImmediate(() => {
      if (this.#releasing || this.#completing || res.headersSent) return
      this.#sendHead()
      res.flushHeaders()
    })
  }

  data(chunk: Buffer): void {
    this.bytes += chunk.length
    this.#feed.push(chunk)
    if (this.#feed.waiting > 0 || (this.#queue.waitingBytes > this.#options.maxWaitingBytes && this.#feed.recorded > 0)) this.#hold()
  }

  finish(trailers: readonly string[]): void {
    const { res, status } = this.#options
    this.#complete(status >= 400 ? 'error' : 'ok', () => {
      if (trailers.length > 0 && res.chunkedEncoding) res.addTrailers(pairs(trailers))
      res.end()
    })
  }

  /** The upstream died in the middle: what came is recorded and released, then the client sees the cut. */
  cut(): void {
    const { res } = this.#options
    this.#complete('cut', () => {
      res.flushHeaders()
      // Not res.end(): the client must see what it would have seen, an answer that breaks off. A pipelined one has no socket yet and breaks off when its turn comes.
      if (res.socket === null) res.destroy()
      else res.socket.destroySoon()
    })
  }

  /** The client has gone: record what is held, release nothing. */
  abandon(): void {
    this.#completing = true
    this.#feed.end(true)
  }

  #tap(): Tap {
    const { context } = this.#options
    if (this.#isStream) return sseTap(this.#options, this.#counts)
    return /^application\/(?:[\w.+-]+\+)?json\b/i.test(context.contentType ?? '') ? jsonTap(this.#options) : opaqueTap(context)
  }

  /** The tap has all that a chunk carries. */
  #taken(chunk: Buffer): void {
    this.#queue.push(chunk, this.#feed.plainBytes)
    if (this.#feed.recorded > 0) this.#releaseRecorded()
    else this.#goOn()
  }

  #releaseRecorded(): void {
    const upTo = this.#feed.recorded
    this.#releasing = true
    this.#whenReleasable(() => {
      this.#releasing = false
      this.#queue.recordedTo(upTo)
      this.#goOn()
    })
  }

  /** Once all has been taken: the last frames, then the last bytes, then `last`. */
  #complete(outcome: Outcome, last: () => void): void {
    if (this.#completing) return
    this.#completing = true
    const { recordEnd, onOver, context } = this.#options
    const end = (): void => {
      this.#feed.end(outcome === 'cut')
      recordEnd(outcome)
      this.#whenReleasable(() => {
        onOver()
        this.#queue.recordedTo(Infinity)
        this.#sendHead()
        last()
      })
    }
    this.#feed.whenTaken(() => context.journal.whenRoom(end))
  }

  #whenReleasable(then: () => void): void {
    const { whenDurable, onReleased, context } = this.#options
    const since = context.journal.elapsedUs()
    whenDurable(() => {
      onReleased((context.journal.elapsedUs() - since) / 1e6)
      then()
    })
  }

  #sendHead(): void {
    const { res, status, statusText, raw } = this.#options
    if (res.headersSent || res.destroyed) return
    res.writeHead(status, statusText, endToEnd(raw, { trailers: true }))
  }

  #release(chunk: Buffer): void {
    const { res } = this.#options
    this.#sendHead()
    if (!res.destroyed && !res.write(chunk)) this.#hold()
  }

  #hold(): void {
    if (this.#paused) return
    this.#paused = true
    this.#options.sender.pause()
  }

  #goOn(): void {
    const { res, maxWaitingBytes, sender } = this.#options
    if (!this.#paused || res.writableNeedDrain || this.#queue.waitingBytes > maxWaitingBytes || this.#feed.waiting > 0) return
    this.#paused = false
    sender.resume()
  }
}

function pairs(raw: readonly string[]): [string, string][] {
  const list: [string, string][] = []
  for (let i = 0; i + 1 < raw.length; i += 2) list.push([raw[i] ?? '', raw[i + 1] ?? ''])
  return list
}
