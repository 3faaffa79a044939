/**
 * Feeds a tap with the plain bytes of an answer. A compressed answer is inflated from a copy, one chunk at a time, in order;
 * what cannot be inflated (any further) is recorded as the bytes that pass.
 */

import type { Tap } from './answer-taps.ts'
import { createDecoder } from './decoder.ts'
import type { Decoder } from './decoder.ts'

/** Inflated to compressed: JSON seldom passes 20, zeros reach 1,000. */
const MAX_RATIO = 200
/** Compressed bytes at a time. */
const MAX_INFLATE_BYTES = 4 * 1024

export interface PlainFeedOptions {
  readonly encoding: string | undefined
  readonly tap: Tap
  /** Makes the tap for bytes that turn out not to be what their encoding says. */
  readonly opaque: () => Tap
  /** As `Spool.whenRoom`. */
  readonly whenRoom: (then: () => void) => void
  /** The tap has all that a chunk carries. */
  readonly taken: (chunk: Buffer) => void
}

export class PlainFeed {
  readonly #options: PlainFeedOptions
  #decoder: Decoder | undefined
  #tap: Tap
  /** Where the bytes of the tap begin. */
  #tapFrom = 0
  #plainBytes = 0
  /** A chunk waits for room, or is being inflated. */
  #busy = false
  #ended = false
  #onTaken: (() => void) | undefined
  readonly #waiting: Buffer[] = []

  constructor(options: PlainFeedOptions) {
    this.#options = options
    this.#decoder = createDecoder(options.encoding, MAX_RATIO)
    this.#tap = options.tap
  }

  /** Chunks that wait to be inflated. */
  get waiting(): number {
    return this.#waiting.length
  }

  /** Plain bytes so far. */
  get plainBytes(): number {
    return this.#plainBytes
  }

  /** Of them, those that are in frames. */
  get recorded(): number {
    return this.#tapFrom + this.#tap.recorded
  }

  /** `taken` is called once the tap has the chunk: at once, unless it has to wait for room or to be inflated. */
  push(chunk: Buffer): void {
    this.#waiting.push(chunk)
    this.#pump()
  }

  /** Calls back once every chunk has been taken: at once, when none waits. To be called last. */
  whenTaken(then: () => void): void {
    if (this.#busy || this.#waiting.length > 0) this.#onTaken = then
    else then()
  }

  /** @param cut the body broke off */
  end(cut: boolean): void {
    if (this.#ended) return
    this.#ended = true
    this.#decoder?.close()
    this.#tap.end(cut)
  }

  #pump(): void {
    if (this.#busy || this.#ended) return
    const next = this.#waiting.shift()
    if (next === undefined) {
      this.#onTaken?.()
      return
    }
    this.#busy = true
    this.#options.whenRoom(() => this.#takeChunk(next, 0))
  }

  /** Takes what of a chunk begins at `from`. Piece by piece: a few KiB may become a thousand times as much, and each asks for room. */
  #takeChunk(chunk: Buffer, from: number): void {
    if (this.#ended) return
    if (this.#decoder === undefined) {
      this.#take(from === 0 ? chunk : chunk.subarray(from))
      this.#tookChunk(chunk)
      return
    }
    const piece = chunk.subarray(from, from + MAX_INFLATE_BYTES)
    this.#decoder.push(piece, plain => this.#take(plain), error => {
      if (this.#ended) return
      if (error !== undefined) this.#giveUp(piece)
      const next = from + piece.length
      if (next < chunk.length) this.#options.whenRoom(() => this.#takeChunk(chunk, next))
      else this.#tookChunk(chunk)
    })
  }

  #tookChunk(chunk: Buffer): void {
    this.#busy = false
    this.#options.taken(chunk)
    this.#pump()
  }

  #take(plain: Buffer): void {
    if (this.#ended) return
    this.#tap.push(plain)
    this.#plainBytes += plain.length
  }

  /** From here on the bytes are recorded as they pass. */
  #giveUp(piece: Buffer): void {
    this.#decoder?.close()
    this.#decoder = undefined
    this.#tap.end(true)
    this.#tap = this.#options.opaque()
    this.#tapFrom = this.#plainBytes
    this.#take(piece)
  }
}
