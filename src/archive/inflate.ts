/**
 * Inflates one gzip member from an object, bounded. Small members at once; large ones in pieces and twice:
 * first to check CRC-32 and length, then to give the bytes out, so that nothing unchecked is ever believed.
 */

import { crc32, createInflateRaw, inflateRawSync } from 'node:zlib'

import type { ObjectReader } from './archive.ts'

/** A member whose payload is no larger is inflated in one go. */
const SMALL_PAYLOAD_BYTES = 8 * 1024 * 1024
const PIECE_BYTES = 256 * 1024
/** Beyond this, a payload that is also improbably dense is taken for a bomb. JSON lines deflate to a tenth, hardly to a hundredth. */
const SUSPECT_BYTES = 256 * 1024 * 1024
const SUSPECT_RATIO = 200

export type InflateProblem = 'cut' | 'damaged' | 'oversize'

export interface CheckedMember {
  /** Offset after the trailer. */
  readonly end: number
  readonly payloadBytes: number
  /** The payload, when it is small. */
  readonly payload?: Buffer
}

/** Where a member's deflate data lie, and bytes that were read already. */
export interface DeflatePlace {
  readonly reader: ObjectReader
  /** Offset of the first deflate byte in the object. */
  readonly start: number
  /** Bytes of the object from `start` on, as far as they are at hand. */
  readonly ahead: Uint8Array
  /** Whether `ahead` reaches the end of the object. */
  readonly atEnd: boolean
}

/** Inflates to the end of the member and checks its trailer. */
export async function checkMember(place: DeflatePlace): Promise<CheckedMember | InflateProblem> {
  const quick = inflateAtOnce(place)
  if (quick !== 'stream') return quick
  let crc = 0
  let bytes = 0
  const consumed = await inflateInPieces(place, piece => {
    crc = crc32(piece, crc)
    bytes += piece.length
    return true
  })
  if (typeof consumed === 'string') return consumed
  const trailer = await place.reader.read(place.start + consumed, 8)
  return checkTrailer(trailer, crc, bytes) ?? { end: place.start + consumed + 8, payloadBytes: bytes }
}

function inflateAtOnce(place: DeflatePlace): CheckedMember | InflateProblem | 'stream' {
  let inflated: { buffer: Buffer; engine: { bytesWritten: number } }
  try {
    // With `info` Node returns the engine too, which tells how much input it took; the types do not know that.
    inflated = inflateRawSync(place.ahead, { maxOutputLength: SMALL_PAYLOAD_BYTES, chunkSize: 64 * 1024, info: true }) as unknown as typeof inflated
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? cause.code : undefined
    if (code === 'ERR_BUFFER_TOO_LARGE') return 'stream'
    if (code === 'Z_BUF_ERROR') return place.atEnd ? 'cut' : 'stream'
    return 'damaged'
  }
  const consumed = inflated.engine.bytesWritten
  if (place.ahead.length < consumed + 8) return place.atEnd ? 'cut' : 'stream'
  const payload = inflated.buffer
  return checkTrailer(place.ahead.subarray(consumed, consumed + 8), crc32(payload), payload.length) ?? { end: place.start + consumed + 8, payloadBytes: payload.length, payload }
}

function checkTrailer(trailer: Uint8Array, crc: number, bytes: number): InflateProblem | undefined {
  if (trailer.length < 8) return 'cut'
  const view = new DataView(trailer.buffer, trailer.byteOffset, 8)
  return view.getUint32(0, true) === crc && view.getUint32(4, true) === bytes % 2 ** 32 ? undefined : 'damaged'
}

/**
 * Inflates in pieces. `take` returns false to stop early.
 * @returns deflate bytes consumed, or what is wrong
 */
async function inflateInPieces(place: DeflatePlace, take: (piece: Buffer) => boolean): Promise<number | InflateProblem> {
  const engine = createInflateRaw({ chunkSize: PIECE_BYTES })
  const feed = feedFrom(place, engine)
  let bytes = 0
  let problem: InflateProblem | undefined
  try {
    for await (const piece of engine) {
      const chunk = piece as Buffer
      bytes += chunk.length
      if (bytes > SUSPECT_BYTES && bytes > SUSPECT_RATIO * engine.bytesWritten) {
        problem = 'oversize'
        break
      }
      if (!take(chunk)) break
    }
  } catch (cause) {
    problem = cause instanceof Error && 'code' in cause && cause.code === 'Z_BUF_ERROR' ? 'cut' : 'damaged'
  } finally {
    engine.destroy()
  }
  await feed
  return problem ?? engine.bytesWritten
}

async function feedFrom(place: DeflatePlace, engine: ReturnType<typeof createInflateRaw>): Promise<void> {
  // A failed read must reach the reader of the pieces, so it destroys the engine.
  try {
    for (let at = place.start; !engine.destroyed && !engine.readableEnded; ) {
      const piece = await place.reader.read(at, PIECE_BYTES)
      at += piece.length
      if (piece.length === 0) {
        engine.end()
        return
      }
      await new Promise<void>(resolve => {
        const done = (): void => resolve()
        engine.once('close', done)
        engine.write(piece, () => {
          engine.off('close', done)
          resolve()
        })
      })
    }
  } catch (cause) {
    engine.destroy(cause instanceof Error ? cause : undefined)
  }
}

/** The payload of a large, checked member, in pieces of about `PIECE_BYTES`. */
export async function* payloadPieces(place: DeflatePlace): AsyncGenerator<Buffer> {
  const engine = createInflateRaw({ chunkSize: PIECE_BYTES })
  const feed = feedFrom(place, engine)
  try {
    for await (const piece of engine) yield piece as Buffer
  } finally {
    engine.destroy()
    await feed
  }
}
