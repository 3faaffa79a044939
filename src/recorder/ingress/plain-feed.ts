/**
 * Feeds a tap with the plain bytes of an answer. A compressed answer is inflated from a copy, one chunk at a time, in order;
 * what cannot be inflated (any further) is recorded as the bytes that pass.
 */

import type { Tap } from './answer-taps.ts'
import { createDecoder } from './decoder.ts'

/** Inflated to compressed: JSON seldom passes 20, zeros reach 1,000. */
const MAX_RATIO = 200
/** Compressed bytes at a time. */
const MAX_INFLATE_BYTES = 4 * 1024

export interface PlainFeed {
  /** `taken` is called once the tap has all that the chunk carries: at once, unless it has to wait for room or to be inflated. */
  push(chunk: Buffer, taken: () => void): void
  /** Calls back once every chunk has been taken: at once, when none waits. To be called last. */
  whenTaken(then: () => void): void
  /** @param cut the body broke off */
  end(cut: boolean): void
  /** Chunks that wait to be inflated. */
  readonly waiting: number
  /** Plain bytes so far. */
  readonly plainBytes: number
  /** Of them, those that are in frames. */
  readonly recorded: number
}

export interface PlainFeedOptions {
  readonly encoding: string | undefined
  readonly tap: Tap
  /** Makes the tap for bytes that turn out not to be what their encoding says. */
  readonly opaque: () => Tap
  /** As `Spool.whenRoom`. */
  readonly whenRoom: (then: () => void) => void
}

export function createPlainFeed({ encoding, tap: first, opaque, whenRoom }: PlainFeedOptions): PlainFeed {
  let decoder = createDecoder(encoding, MAX_RATIO)
  let tap = first
  /** Where the bytes of the tap begin. */
  let tapFrom = 0
  let plainBytes = 0
  /** A chunk waits for room, or is being inflated. */
  let busy = false
  let ended = false
  let onTaken: (() => void) | undefined
  const waiting: { readonly chunk: Buffer; readonly taken: () => void }[] = []

  const take = (plain: Buffer): void => {
    if (ended) return
    tap.push(plain)
    plainBytes += plain.length
  }
  const giveUp = (chunk: Buffer): void => {
    decoder?.close()
    decoder = undefined
    tap.end(true)
    tap = opaque()
    tapFrom = plainBytes
    take(chunk)
  }
  /** Takes all of a chunk, then calls back. */
  const takeChunk = (chunk: Buffer, taken: () => void): void => {
    whenRoom(() => {
      if (ended) return
      if (decoder === undefined) {
        take(chunk)
        taken()
        return
      }
      // Piece by piece: a few KiB may become a thousand times as much, and each asks for room.
      const piece = chunk.subarray(0, MAX_INFLATE_BYTES)
      decoder.push(piece, take, error => {
        if (ended) return
        if (error !== undefined) giveUp(piece)
        if (piece.length < chunk.length) takeChunk(chunk.subarray(piece.length), taken)
        else taken()
      })
    })
  }
  const pump = (): void => {
    if (busy || ended) return
    const next = waiting.shift()
    if (next === undefined) {
      onTaken?.()
      return
    }
    busy = true
    takeChunk(next.chunk, () => {
      busy = false
      next.taken()
      pump()
    })
  }
  return {
    push: (chunk, taken) => {
      waiting.push({ chunk, taken })
      pump()
    },
    whenTaken: then => {
      if (busy || waiting.length > 0) onTaken = then
      else then()
    },
    end: cut => {
      if (ended) return
      ended = true
      decoder?.close()
      tap.end(cut)
    },
    get waiting() {
      return waiting.length
    },
    get plainBytes() {
      return plainBytes
    },
    get recorded() {
      return tapFrom + tap.recorded
    },
  }
}
