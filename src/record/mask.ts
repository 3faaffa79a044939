/** Takes values out of a message's text before it is recorded. The message itself passes untouched. */

/** Replaces ranges (a JSON string with its quotes each, ascending) by a JSON string. */
export function maskText(text: string, ranges: readonly { readonly start: number; readonly end: number }[], replacement: string): string {
  let masked = ''
  let at = 0
  for (const { start, end } of ranges) {
    masked += text.slice(at, start) + JSON.stringify(replacement)
    at = end
  }
  return masked + text.slice(at)
}

export interface StreamMasker {
  push(text: string): string
  /** What was held back because it could have been the beginning of a key. */
  flush(): string
}

/** What stands in the place of a value masked in a stream. */
export const STREAM_MASK = '"steno:masked"'

/**
 * Masks the string values of some keys in JSON text that passes in parts, at any depth. Lexical: it knows strings and escapes, not structure,
 * which errs towards masking. Holds back at most a key's length and the white space after it.
 */
export function createStreamMasker(options: { readonly keys: readonly string[] }): StreamMasker {
  const quoted = options.keys.map(key => JSON.stringify(key))
  const longest = Math.max(...quoted.map(key => key.length))
  let held = ''
  let inside = false
  let escaped = false

  /** Skips the rest of a masked value; gives the index after its closing quote, or -1 when the text ends inside. */
  const skipValue = (text: string, from: number): number => {
    for (let i = from; i < text.length; i++) {
      const code = text.charCodeAt(i)
      if (escaped) escaped = false
      else if (code === 0x5c) escaped = true
      else if (code === 0x22) return i + 1
    }
    return -1
  }
  const pass = (text: string, final: boolean): string => {
    let out = ''
    let at = 0
    while (at < text.length) {
      if (inside) {
        const end = skipValue(text, at)
        if (end < 0) return out
        inside = false
        at = end
        continue
      }
      const next = nearest(text, at, quoted)
      if (next === undefined) {
        const keep = final ? text.length : Math.max(at, text.length - longest)
        out += text.slice(at, keep)
        held = text.slice(keep)
        return out
      }
      const value = /^\s{0,64}:\s{0,64}("?)/.exec(text.slice(next.end, next.end + 160))
      if (value === null || value[1] === '') {
        const undecided = !final && /^\s{0,64}(?::\s{0,64})?$/.test(text.slice(next.end))
        out += text.slice(at, undecided ? next.start : next.end)
        if (undecided) {
          held = text.slice(next.start)
          return out
        }
        at = next.end
        continue
      }
      out += text.slice(at, next.end + value[0].length - 1) + STREAM_MASK
      inside = true
      escaped = false
      at = next.end + value[0].length
    }
    return out
  }
  return {
    push: text => {
      const joined = held + text
      held = ''
      return pass(joined, false)
    },
    flush: () => {
      const rest = held
      held = ''
      return pass(rest, true)
    },
  }
}

function nearest(text: string, from: number, needles: readonly string[]): { start: number; end: number } | undefined {
  let best: { start: number; end: number } | undefined
  for (const needle of needles) {
    const start = text.indexOf(needle, from)
    if (start >= 0 && (best === undefined || start < best.start)) best = { start, end: start + needle.length }
  }
  return best
}
