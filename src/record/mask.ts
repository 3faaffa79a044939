/**
 * Takes values out of JSON text before it is recorded. What stands in their place is a JSON string, so the text stays JSON.
 * The stream masker works on the text alone: it needs neither valid JSON nor the whole of it, and holds no value.
 */

export interface StreamMasker {
  /** The text so far with the values of the keys masked. Gives out everything but a value that has not ended. */
  push(text: string): string
  /** The text has ended. A value that had not is masked up to here. */
  flush(): string
}

/** In place of a value. */
const MASK = '"steno:masked"'

/**
 * Masks the values (strings, objects, arrays) of keys wherever they stand, also inside damaged JSON, also cut anywhere.
 * @param options.keys names of keys; they may be written with escapes in the text
 */
export function createStreamMasker(options: { readonly keys: readonly string[] }): StreamMasker {
  return new Masker(options.keys)
}

/**
 * text: anything. key: after a quote that may open one of the keys. colon, value: after such a key. inside: in a value that is masked.
 */
type State = 'text' | 'key' | 'colon' | 'value' | 'inside'

class Masker implements StreamMasker {
  private readonly keys: readonly string[]
  private readonly maxKey: number
  private readonly firsts: readonly number[]
  private state: State = 'text'
  /** The character before was a backslash that escapes the next. */
  private escape = false
  private candidate = ''
  /** The masked value is an object or an array; then its open brackets, and whether a string in it is open. */
  private structure = false
  private depth = 0
  private inString = false

  constructor(keys: readonly string[]) {
    this.keys = keys
    // Every character may be written as \uXXXX.
    this.maxKey = Math.max(0, ...keys.map(key => key.length)) * 6
    this.firsts = keys.map(key => key.charCodeAt(0))
  }

  push(text: string): string {
    let out = ''
    let from = 0
    let pos = 0
    while (pos < text.length) {
      switch (this.state) {
        case 'text':
          pos = this.passToQuote(text, pos)
          break
        case 'key':
          pos = this.passKey(text, pos)
          break
        case 'colon':
        case 'value': {
          const code = text.charCodeAt(pos)
          if (code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09) {
            pos++
          } else if (this.state === 'colon' && code === 0x3a) {
            this.state = 'value'
            pos++
          } else if (this.state === 'value' && (code === 0x22 || code === 0x7b || code === 0x5b)) {
            out += text.slice(from, pos)
            pos = this.beginValue(text, pos)
            from = pos
          } else {
            this.state = 'text'
          }
          break
        }
        case 'inside': {
          const end = this.passValue(text, pos)
          pos = end ?? text.length
          from = pos
          if (end !== undefined) out += this.endValue()
          break
        }
      }
    }
    return this.state === 'inside' ? out : out + text.slice(from)
  }

  flush(): string {
    const out = this.state === 'inside' ? this.endValue() : ''
    this.state = 'text'
    this.escape = false
    return out
  }

  private passToQuote(text: string, start: number): number {
    const quote = nextPlainQuote(text, start, this.escape)
    this.escape = quote.escape
    if (quote.at < 0) return text.length
    this.state = 'key'
    this.candidate = ''
    return quote.at + 1
  }

  /** Any quote may open a key: in damaged text nobody knows which ones do. */
  private passKey(text: string, start: number): number {
    let pos = start
    for (; pos < text.length; pos++) {
      const code = text.charCodeAt(pos)
      if (this.escape) {
        this.escape = false
      } else if (code === 0x5c) {
        this.escape = true
      } else if (code === 0x22) {
        if (this.matches()) this.state = 'colon'
        this.candidate = ''
        return pos + 1
      } else if (this.candidate === '' && !this.firsts.includes(code)) {
        this.state = 'text'
        return pos
      }
      this.candidate += text[pos]
      if (this.candidate.length > this.maxKey) {
        this.state = 'text'
        this.candidate = ''
        return pos + 1
      }
    }
    return pos
  }

  private matches(): boolean {
    const { candidate } = this
    if (!candidate.includes('\\')) return this.keys.includes(candidate)
    try {
      return this.keys.includes(String(JSON.parse(`"${candidate}"`)))
    } catch {
      return false
    }
  }

  private beginValue(text: string, pos: number): number {
    this.state = 'inside'
    this.structure = text.charCodeAt(pos) !== 0x22
    this.depth = 0
    this.inString = false
    // An object's bracket is counted by passValue.
    return this.structure ? pos : pos + 1
  }

  /** @returns position after the value, undefined when it goes on */
  private passValue(text: string, start: number): number | undefined {
    if (!this.structure) {
      const quote = nextPlainQuote(text, start, this.escape)
      this.escape = quote.escape
      return quote.at < 0 ? undefined : quote.at + 1
    }
    for (let pos = start; pos < text.length; pos++) {
      if (this.inString) {
        const quote = nextPlainQuote(text, pos, this.escape)
        this.escape = quote.escape
        if (quote.at < 0) return undefined
        pos = quote.at
        this.inString = false
        continue
      }
      const code = text.charCodeAt(pos)
      if (code === 0x22) this.inString = true
      else if (code === 0x7b || code === 0x5b) this.depth++
      else if ((code === 0x7d || code === 0x5d) && --this.depth === 0) return pos + 1
    }
    return undefined
  }

  private endValue(): string {
    this.state = 'text'
    this.escape = false
    return MASK
  }
}

/** Next quote that no backslash escapes; `escape` says whether the character before `start`, and the last one of the text, is an escaping backslash. */
function nextPlainQuote(text: string, start: number, escape: boolean): { readonly at: number; readonly escape: boolean } {
  let from = start
  if (escape && from < text.length) from++
  for (;;) {
    const at = text.indexOf('"', from)
    const end = at < 0 ? text.length : at
    let slashes = 0
    while (end - slashes > from && text.charCodeAt(end - slashes - 1) === 0x5c) slashes++
    const escaped = slashes % 2 === 1
    if (at < 0) return { at: -1, escape: start >= text.length ? escape : escaped }
    if (!escaped) return { at, escape: false }
    from = at + 1
  }
}
