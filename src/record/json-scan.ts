/**
 * Strict RFC 8259 over a string, without building values: positions, keys and the few strings somebody asks for.
 * Reads each character once, keeps its own stack (hostile nesting costs a fault, never the call stack), allocates for keys only.
 */

/** Deepest nesting that is read. */
export const MAX_JSON_DEPTH = 1000

export type JsonFault = 'malformed' | 'too-deep'

/** Longest text kept of a name that somebody else chose. */
const MAX_NAME_LENGTH = 512

const QUOTE = 0x22
const BACKSLASH = 0x5c
const COMMA = 0x2c
const COLON = 0x3a
const OPEN_OBJECT = 0x7b
const CLOSE_OBJECT = 0x7d
const OPEN_ARRAY = 0x5b
const CLOSE_ARRAY = 0x5d
const MINUS = 0x2d
const ZERO = 0x30
const NINE = 0x39

/** Beyond this many plain characters a regular expression finds the end faster than a loop does. */
const LONG_RUN = 48
// Finds the next quote, backslash or control character, so it never looks past the closing quote: each character is looked at once.
const SPECIAL = /[^ !#-[\]-\uffff]/g

/** Slices of a longer text than this are copied, so that a name kept for hours does not keep a body of many MB. */
const COPY_ABOVE = 4096

/**
 * A cursor over one JSON text. `firstKey`/`nextKey` walk an object, `firstElement`/`nextElement` an array; what nobody looks into goes
 * through `skipValue`. After any fault all of them say "no more", and `fault` says why.
 */
export class JsonCursor {
  readonly text: string
  pos: number
  fault: JsonFault | undefined
  /** The string read last, without its quotes, and whether it has escapes. */
  private from: number
  private to: number
  private escaped: boolean
  private readonly closers: Uint8Array

  constructor(text: string, start = 0) {
    this.text = text
    this.pos = start
    this.fault = undefined
    this.from = 0
    this.to = 0
    this.escaped = false
    this.closers = STACK
  }

  /** Character code at the cursor, -1 at the end. */
  peek(): number {
    return this.pos < this.text.length ? this.text.charCodeAt(this.pos) : -1
  }

  space(): void {
    const text = this.text
    let pos = this.pos
    for (; pos < text.length; pos++) {
      const code = text.charCodeAt(pos)
      if (code > 0x20 || (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09)) break
    }
    this.pos = pos
  }

  atObject(): boolean {
    return this.peek() === OPEN_OBJECT
  }

  atArray(): boolean {
    return this.peek() === OPEN_ARRAY
  }

  atString(): boolean {
    return this.peek() === QUOTE
  }

  atNumber(): boolean {
    const code = this.peek()
    return code === MINUS || (code >= ZERO && code <= NINE)
  }

  /** Enters the object at the cursor. Leaves the cursor at the value of the key that it gives; undefined: no (more) keys, or a fault. */
  firstKey(): string | undefined {
    this.pos++
    this.space()
    if (this.peek() === CLOSE_OBJECT) {
      this.pos++
      return undefined
    }
    return this.key()
  }

  nextKey(): string | undefined {
    return this.another(CLOSE_OBJECT) ? this.key() : undefined
  }

  /** Enters the array at the cursor. True: the cursor is at an element. */
  firstElement(): boolean {
    this.pos++
    this.space()
    if (this.peek() !== CLOSE_ARRAY) return true
    this.pos++
    return false
  }

  nextElement(): boolean {
    if (!this.another(CLOSE_ARRAY)) return false
    this.space()
    return true
  }

  /** The string at the cursor, whole; undefined for any other value, which is skipped. */
  string(): string | undefined {
    if (!this.atString()) {
      this.skipValue()
      return undefined
    }
    return this.readString() ? this.decoded() : undefined
  }

  /** The string at the cursor, at most `limit` characters of it and `…` when it is longer; undefined for any other value. */
  name(limit = MAX_NAME_LENGTH): string | undefined {
    if (!this.atString()) {
      this.skipValue()
      return undefined
    }
    if (!this.readString()) return undefined
    return this.kept(this.escaped ? this.decodedStart(limit) : cut(this.text, this.from, this.to, limit))
  }

  /** Source text of the value at the cursor, at most `limit` characters of it; undefined at a fault. */
  source(limit = MAX_NAME_LENGTH): string | undefined {
    const start = this.pos
    return this.skipValue() ? this.kept(cut(this.text, start, this.pos, limit)) : undefined
  }

  /** True when the value at the cursor is the literal `true`. */
  isTrue(): boolean {
    const start = this.pos
    return this.skipValue() && this.text.charCodeAt(start) === 0x74
  }

  /** Checks and passes the value at the cursor, whatever it holds. */
  skipValue(): boolean {
    if (this.fault !== undefined) return false
    const closers = this.closers
    let depth = 0
    for (;;) {
      const code = this.peek()
      let complete = true
      if (code === QUOTE) {
        if (!this.readString()) return false
      } else if (code === OPEN_OBJECT || code === OPEN_ARRAY) {
        if (depth === MAX_JSON_DEPTH) return this.fail('too-deep')
        const closer = code === OPEN_OBJECT ? CLOSE_OBJECT : CLOSE_ARRAY
        this.pos++
        this.space()
        if (this.peek() === closer) {
          this.pos++
        } else {
          closers[depth++] = closer
          complete = false
          if (closer === CLOSE_OBJECT && !this.passKey()) return false
        }
      } else if (!this.readScalar(code)) {
        return false
      }
      while (complete) {
        if (depth === 0) return true
        const closer = closers[depth - 1] ?? 0
        this.space()
        const next = this.peek()
        this.pos++
        if (next === COMMA) {
          this.space()
          if (closer === CLOSE_OBJECT && !this.passKey()) return false
          complete = false
        } else if (next === closer) {
          depth--
        } else {
          return this.fail('malformed')
        }
      }
    }
  }

  fail(fault: JsonFault): false {
    this.fault ??= fault
    return false
  }

  private another(closer: number): boolean {
    if (this.fault !== undefined) return false
    this.space()
    const code = this.peek()
    this.pos++
    if (code === COMMA) return true
    return code === closer ? false : this.fail('malformed')
  }

  private key(): string | undefined {
    this.space()
    return this.passKey() ? this.decoded() : undefined
  }

  /** Passes key and colon; the key stays readable through `decoded`. */
  private passKey(): boolean {
    if (this.peek() !== QUOTE) return this.fail('malformed')
    if (!this.readString()) return false
    this.space()
    if (this.peek() !== COLON) return this.fail('malformed')
    this.pos++
    this.space()
    return true
  }

  /** Passes the string whose opening quote is at the cursor. */
  private readString(): boolean {
    const text = this.text
    const from = this.pos + 1
    let escaped = false
    let pos = from
    let run = from
    for (;;) {
      if (pos >= text.length) return this.fail('malformed')
      const code = text.charCodeAt(pos)
      if (code === QUOTE) break
      if (code < 0x20) return this.fail('malformed')
      if (code === BACKSLASH) {
        const length = escapeLength(text, pos)
        if (length === 0) return this.fail('malformed')
        escaped = true
        pos += length
        run = pos
      } else {
        pos++
        if (pos - run > LONG_RUN) {
          pos = nextSpecial(text, pos)
          run = pos
        }
      }
    }
    this.from = from
    this.to = pos
    this.escaped = escaped
    this.pos = pos + 1
    return true
  }

  private readScalar(code: number): boolean {
    if (code === MINUS || (code >= ZERO && code <= NINE)) return this.readNumber()
    const word = code === 0x74 ? 'true' : code === 0x66 ? 'false' : code === 0x6e ? 'null' : undefined
    if (word === undefined || !this.text.startsWith(word, this.pos)) return this.fail('malformed')
    this.pos += word.length
    return true
  }

  private readNumber(): boolean {
    if (this.peek() === MINUS) this.pos++
    if (this.peek() === ZERO) this.pos++
    else if (!this.digits()) return this.fail('malformed')
    if (this.peek() === 0x2e) {
      this.pos++
      if (!this.digits()) return this.fail('malformed')
    }
    if ((this.peek() | 0x20) === 0x65) {
      this.pos++
      const sign = this.peek()
      if (sign === 0x2b || sign === MINUS) this.pos++
      if (!this.digits()) return this.fail('malformed')
    }
    return true
  }

  private digits(): boolean {
    const text = this.text
    const start = this.pos
    let pos = start
    for (; pos < text.length; pos++) {
      const code = text.charCodeAt(pos)
      if (code < ZERO || code > NINE) break
    }
    this.pos = pos
    return pos > start
  }

  private decoded(): string {
    return this.escaped ? unescaped(this.text.slice(this.from - 1, this.to + 1)) : this.text.slice(this.from, this.to)
  }

  private decodedStart(limit: number): string {
    const { text, to } = this
    let pos = this.from
    // One character more than the limit shows whether there is more.
    for (let count = 0; pos < to && count <= limit; count++) pos += text.charCodeAt(pos) === BACKSLASH ? escapeLength(text, pos) : 1
    const start = unescaped(`${text.slice(this.from - 1, pos)}"`)
    return cut(start, 0, start.length, limit)
  }

  private kept(value: string): string {
    // Concatenating and slicing again makes the engine copy: a plain slice would keep the whole text alive.
    return this.text.length > COPY_ABOVE ? ` ${value}`.slice(1) : value
  }
}

// One stack for all cursors: skipValue neither yields nor calls back, so it is never in use twice.
const STACK = new Uint8Array(MAX_JSON_DEPTH)

/** `text` from `from` to `to`, at most `limit` characters and then `…`. Never half a surrogate pair. */
function cut(text: string, from: number, to: number, limit: number): string {
  if (to - from <= limit) return text.slice(from, to)
  const last = text.charCodeAt(from + limit - 1)
  return `${text.slice(from, from + limit - (last >= 0xd800 && last < 0xdc00 ? 1 : 0))}…`
}

/** Decodes a JSON string that was checked already. */
function unescaped(quoted: string): string {
  const value: unknown = JSON.parse(quoted)
  return typeof value === 'string' ? value : ''
}

function nextSpecial(text: string, from: number): number {
  SPECIAL.lastIndex = from
  return SPECIAL.test(text) ? SPECIAL.lastIndex - 1 : text.length
}

/** Length of the escape at `pos`, 0 when it is none. */
function escapeLength(text: string, pos: number): number {
  if (pos + 1 >= text.length) return 0
  switch (text.charCodeAt(pos + 1)) {
    case QUOTE:
    case BACKSLASH:
    case 0x2f: // /
    case 0x62: // b
    case 0x66: // f
    case 0x6e: // n
    case 0x72: // r
    case 0x74: // t
      return 2
    case 0x75: // u
      return isHex(text, pos + 2) && isHex(text, pos + 3) && isHex(text, pos + 4) && isHex(text, pos + 5) ? 6 : 0
    default:
      return 0
  }
}

function isHex(text: string, pos: number): boolean {
  if (pos >= text.length) return false
  const code = text.charCodeAt(pos)
  return (code >= ZERO && code <= NINE) || ((code | 0x20) >= 0x61 && (code | 0x20) <= 0x66)
}
