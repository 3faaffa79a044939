/** Inflates a copy of a compressed answer for recording. The compressed bytes pass untouched. */

import { brotliDecompressSync, createBrotliDecompress, createGunzip, createInflate, createZstdDecompress, gunzipSync, inflateSync, zstdDecompressSync } from 'node:zlib'

export interface Decoder {
  /** Feeds one chunk; `plain` is called for each inflated piece, then `done` once. An error means: this cannot be inflated (any further). */
  push(chunk: Buffer, plain: (piece: Buffer) => void, done: (error?: Error) => void): void
  close(): void
}

/** A decoder for a Content-Encoding, or undefined when there is nothing to decode or it is not known. */
export function createDecoder(encoding: string | undefined, maxRatio: number): Decoder | undefined {
  const stream = decompressor(encoding?.trim().toLowerCase())
  if (stream === undefined) return undefined
  let onPlain: (piece: Buffer) => void = () => {}
  let onDone: ((error?: Error) => void) | undefined
  let broken: Error | undefined
  let consumed = 0
  let inflated = 0
  const settle = (error?: Error): void => {
    broken ??= error
    const done = onDone
    onDone = undefined
    done?.(broken)
  }
  stream.on('data', (piece: Buffer) => {
    if (broken !== undefined) return
    inflated += piece.length
    // A bomb: what is recorded would outgrow what passes by far more than any text does.
    if (inflated > BOMB_FLOOR_BYTES && inflated > consumed * maxRatio) {
      stream.destroy()
      settle(new Error('expands too much'))
      return
    }
    onPlain(piece)
  })
  stream.on('error', settle)
  return {
    push: (chunk, plain, done) => {
      if (broken !== undefined) {
        done(broken)
        return
      }
      consumed += chunk.length
      onPlain = plain
      onDone = done
      stream.write(chunk, () => setImmediate(() => settle()))
    },
    close: () => stream.destroy(),
  }
}

/** Inflates a body that is held whole; undefined when it is not compressed as far as we know, cannot be inflated, or would be larger than `maxBytes`. */
export function inflateWhole(encoding: string | undefined, body: Buffer, maxBytes: number): Buffer | undefined {
  const inflate = whole(encoding?.trim().toLowerCase())
  if (inflate === undefined) return undefined
  try {
    return inflate(body, { maxOutputLength: maxBytes })
  } catch {
    return undefined
  }
}

function whole(encoding: string | undefined): ((body: Buffer, options: { maxOutputLength: number }) => Buffer) | undefined {
  switch (encoding) {
    case 'gzip':
    case 'x-gzip':
      return gunzipSync
    case 'deflate':
      return inflateSync
    case 'br':
      return brotliDecompressSync
    case 'zstd':
      return zstdDecompressSync
    default:
      return undefined
  }
}

const BOMB_FLOOR_BYTES = 16 * 1024 * 1024

function decompressor(encoding: string | undefined): ReturnType<typeof createGunzip> | ReturnType<typeof createBrotliDecompress> | undefined {
  switch (encoding) {
    case 'gzip':
    case 'x-gzip':
      return createGunzip()
    case 'deflate':
      return createInflate()
    case 'br':
      return createBrotliDecompress()
    case 'zstd':
      return createZstdDecompress()
    default:
      return undefined
  }
}
