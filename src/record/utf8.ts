/** Bytes to text and back only where nothing is lost: what is not valid UTF-8 stays bytes. */

import { ByteStore } from './byte-store.ts'

// Not streaming, so it keeps nothing from one call to the next.
const EXACT = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Text that encodes to exactly these bytes (a BOM stays), or undefined when they are not UTF-8. */
export function decodeExact(bytes: Uint8Array): string | undefined {
  try {
    return EXACT.decode(bytes)
  } catch {
    return undefined
  }
}

/** A stretch of a body: `text` when its bytes are valid UTF-8, else `bytes`. `size` is in bytes. */
export type Utf8Part = { readonly text: string; readonly size: number } | { readonly bytes: Uint8Array; readonly size: number }

export interface Utf8Parts {
  /** @returns parts of about `partBytes` that are complete by now */
  push(chunk: Uint8Array): readonly Utf8Part[]
  /** What is held, except for the beginning of a code point (at most 3 bytes). */
  flush(): readonly Utf8Part[]
  /** What is held, all of it. */
  end(): readonly Utf8Part[]
}

/** Cuts a body into parts, never inside a code point. @param options.partBytes largest part, at least 4 */
export function createUtf8Parts(options: { readonly partBytes: number }): Utf8Parts {
  const partBytes = Math.floor(options.partBytes)
  // A code point has up to 4 bytes: with less room no cut could fall between two of them.
  if (!(partBytes >= 4)) throw new TypeError('partBytes must be at least 4')
  const held = new ByteStore()

  return {
    push(chunk) {
      const parts: Utf8Part[] = []
      let pos = 0
      while (held.length + chunk.length - pos > partBytes) {
        const room = partBytes - held.length
        const full = gather(held, chunk.subarray(pos, pos + room))
        pos += room
        const cut = boundary(full)
        parts.push(toPart(full.subarray(0, cut)))
        held.append(full.subarray(cut))
      }
      held.append(chunk.subarray(pos))
      return parts
    },
    flush() {
      const all = held.take()
      const cut = boundary(all)
      held.append(all.subarray(cut))
      return cut === 0 ? [] : [toPart(all.subarray(0, cut))]
    },
    end() {
      const all = held.take()
      return all.length === 0 ? [] : [toPart(all)]
    },
  }
}

function gather(held: ByteStore, more: Uint8Array): Uint8Array {
  if (held.length === 0) return more
  held.append(more)
  return held.take()
}

function toPart(bytes: Uint8Array): Utf8Part {
  const text = decodeExact(bytes)
  return text === undefined ? { bytes, size: bytes.length } : { text, size: bytes.length }
}

/** Where to cut so that a code point that is still incomplete at the end stays whole: the length, or up to 3 less. */
function boundary(bytes: Uint8Array): number {
  for (let back = 1; back <= 3 && back <= bytes.length; back++) {
    const byte = bytes[bytes.length - back] ?? 0
    if (byte < 0x80) break
    if (byte < 0xc0) continue
    const needed = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2
    // 0xf8 and above begin nothing: the part is not text anyway.
    return needed > back && byte < 0xf8 ? bytes.length - back : bytes.length
  }
  return bytes.length
}
