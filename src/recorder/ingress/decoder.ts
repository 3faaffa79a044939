/** Inflates a copy of a compressed answer for recording. The compressed bytes pass untouched. */

import { brotliDecompressSync, createBrotliDecompress, createGunzip, createInflate, createZstdDecompress, gunzipSync, inflateSync, zstdDecompressSync } from 'node:zlib'

export interface Decoder {
  /** Feeds one chunk; `plain` is called for each inflated piece, then `done` once. An error means: this cannot be inflated (any further). */
  push(chunk: Buffer, plain: (piece: Buffer) => void, done: (error?: Error) => void): void
  close(): void
}

/** A decoder for a Content-Encoding, or undefined when there is nothing to decode or it is not known. */
export function createDecoder(encoding: string | undefined, maxRatio: number): Decoder | undefined {
  const stream = codecOf(encoding)?.stream()
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
      // The write's callback may come before the last piece of this chunk has been read out: pieces are emitted from the same turn of the loop.
      stream.write(chunk, () => setImmediate(() => settle()))
    },
    close: () => stream.destroy(),
  }
}

/** Inflates a body that is held whole; undefined when it is not compressed as far as we know, cannot be inflated, or would be larger than `maxBytes`. */
export function inflateWhole(encoding: string | undefined, body: Buffer, maxBytes: number): Buffer | undefined {
  const codec = codecOf(encoding)
  if (codec === undefined) return undefined
  try {
    return codec.whole(body, { maxOutputLength: maxBytes })
  } catch {
    // What it is not, the recording shows as it came.
    return undefined
  }
}

const BOMB_FLOOR_BYTES = 16 * 1024 * 1024

interface Codec {
  readonly stream: () => ReturnType<typeof createGunzip> | ReturnType<typeof createBrotliDecompress> | ReturnType<typeof createZstdDecompress>
  readonly whole: (body: Buffer, options: { readonly maxOutputLength: number }) => Buffer
}

const GZIP: Codec = { stream: createGunzip, whole: gunzipSync }
/** Content codings of RFC 9110 (8.4.1), RFC 7932 and RFC 8878. */
const CODECS: ReadonlyMap<string, Codec> = new Map([
  ['gzip', GZIP],
  ['x-gzip', GZIP],
  ['deflate', { stream: createInflate, whole: inflateSync }],
  ['br', { stream: createBrotliDecompress, whole: brotliDecompressSync }],
  ['zstd', { stream: createZstdDecompress, whole: zstdDecompressSync }],
])

function codecOf(encoding: string | undefined): Codec | undefined {
  return encoding === undefined ? undefined : CODECS.get(encoding.trim().toLowerCase())
}

/** Whether a Content-Encoding can be inflated here. */
export function isKnownEncoding(encoding: string | undefined): boolean {
  return codecOf(encoding) !== undefined
}
