/** Bytes to exact text, whole or in parts. Text only where it gives the same bytes back. */

export type Utf8Part = { readonly text: string; readonly bytes?: never } | { readonly bytes: Uint8Array; readonly text?: never }

/** The text of bytes, BOM included, or undefined when they are not valid UTF-8. */
export function decodeExact(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return undefined
  }
}

export interface Utf8Parts {
  /** Takes bytes and gives the parts that are complete: each at most `partBytes` long and never ending inside a code point. */
  push(chunk: Uint8Array): Utf8Part[]
  /** All that can be decoded now; up to 3 bytes of an unfinished code point stay. */
  flush(): Utf8Part[]
  /** The rest, whatever it is. */
  end(): Utf8Part[]
  /** Bytes taken but not given out. */
  readonly held: number
}

export function createUtf8Parts(options: { readonly partBytes: number }): Utf8Parts {
  let pending: Uint8Array = new Uint8Array(0)

  const emit = (bytes: Uint8Array): Utf8Part => {
    const text = decodeExact(bytes)
    return text === undefined ? { bytes } : { text }
  }
  const take = (all: boolean): Utf8Part[] => {
    const parts: Utf8Part[] = []
    while (pending.length > 0) {
      const limit = Math.min(pending.length, options.partBytes)
      const cut = limit < pending.length || !all ? limit - unfinished(pending, limit) : limit
      // Only an unfinished sequence is left. It cannot grow past 3 bytes, so the next call decides.
      if (cut === 0) break
      parts.push(emit(pending.subarray(0, cut)))
      pending = pending.subarray(cut)
    }
    return parts
  }
  return {
    push: chunk => {
      pending = pending.length === 0 ? chunk : join(pending, chunk)
      const parts: Utf8Part[] = []
      while (pending.length >= options.partBytes) {
        const cut = options.partBytes - unfinished(pending, options.partBytes)
        parts.push(emit(pending.subarray(0, cut)))
        pending = pending.subarray(cut)
      }
      return parts
    },
    flush: () => take(false),
    end: () => take(true),
    get held() {
      return pending.length
    },
  }
}

function join(a: Uint8Array, b: Uint8Array): Uint8Array {
  const both = new Uint8Array(a.length + b.length)
  both.set(a)
  both.set(b, a.length)
  return both
}

/** How many bytes before `end` begin a code point that `end` cuts: 0 to 3. */
function unfinished(bytes: Uint8Array, end: number): number {
  for (let back = 1; back <= 3 && back <= end; back++) {
    const byte = bytes[end - back] ?? 0
    if ((byte & 0xc0) === 0x80) continue
    const needs = byte >= 0xf0 && byte < 0xf8 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1
    return byte < 0xf8 && needs > back ? back : 0
  }
  return 0
}
