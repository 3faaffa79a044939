/**
 * Server-sent events out of a byte stream, without changing it: the pieces, in order, are exactly the bytes that came.
 * Line ends, fields and dispatch follow https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation.
 * Holds at most about `maxEventBytes` twice (bytes and data); every byte is searched once.
 */

import { ByteStore } from './byte-store.ts'

export type SsePiece =
  /** A complete event with data. `data` is its data lines joined with LF. */
  | { readonly kind: 'event'; readonly bytes: Uint8Array; readonly data: Uint8Array; readonly id?: string; readonly event?: string }
  /** Nothing to record: comments, blank lines, events without data (`priming`). May go out at once. */
  | { readonly kind: 'quiet'; readonly bytes: Uint8Array; readonly comments: number; readonly priming: number }
  /**
   * An event larger than `maxEventBytes`, in parts. `id` and `event` are what was known by then.
   * `cut`: the stream ended inside the event, so this is no message; it is there so that what was begun gets its end.
   */
  | { readonly kind: 'part'; readonly bytes: Uint8Array; readonly data: Uint8Array; readonly first: boolean; readonly last: boolean; readonly cut?: true; readonly id?: string; readonly event?: string }
  /** The unterminated rest at the end of a stream: no message. */
  | { readonly kind: 'tail'; readonly bytes: Uint8Array }

export interface SseTap {
  /** @returns pieces that are complete by now; the rest is held until more comes */
  push(chunk: Uint8Array): readonly SsePiece[]
  /** The stream has ended. */
  end(): readonly SsePiece[]
}

/** @param options.maxEventBytes events with more bytes than this come out in parts of about this size */
export function createSseTap(options: { readonly maxEventBytes: number }): SseTap {
  if (!(options.maxEventBytes >= 1)) throw new TypeError('maxEventBytes must be at least 1')
  return new Tap(Math.floor(options.maxEventBytes))
}

const LF = 0x0a
const CR = 0x0d
const SPACE = 0x20
const COLON = 0x3a
const BOM = [0xef, 0xbb, 0xbf]
const EMPTY = new Uint8Array(0)
// Not streaming, so it keeps nothing from one call to the next.
const LENIENT = new TextDecoder('utf-8', { ignoreBOM: true })
const JOIN = new Uint8Array([LF])
/** Longest field name that means something is `event`, `retry`. */
const MAX_FIELD_NAME = 5
/** Bytes of an id or an event type that are kept. */
const MAX_FIELD_VALUE = 512

/** Where in its line the next byte stands. */
type Place = 'start' | 'name' | 'space' | 'value'
type Field = 'data' | 'event' | 'id' | 'retry' | 'comment' | 'other'

class Tap implements SseTap {
  private readonly max: number
  /** Bytes of this block that came in earlier chunks. */
  private readonly held = new ByteStore()
  /** Data of this block from earlier chunks, or of earlier lines. */
  private readonly stored = new ByteStore()
  /** The only data so far, still within its chunk: most events come whole and need no copy. */
  private single: Uint8Array | undefined
  private bomBytes = 0
  private place: Place = 'start'
  private field: Field = 'other'
  private name = ''
  private value: number[] = []
  private valueCut = false
  private afterCr = false
  // Of the block, which is what stands between two blank lines.
  private hasFields = false
  private dataLines = 0
  private id: string | undefined
  private event: string | undefined
  private inParts = false
  // Of the chunk.
  private chunk: Uint8Array = EMPTY
  /** From here on nothing of the chunk has been given out. */
  private from = 0
  private quietFrom = 0
  private out: SsePiece[] = []

  constructor(max: number) {
    this.max = max
  }

  push(chunk: Uint8Array): readonly SsePiece[] {
    const out: SsePiece[] = []
    this.out = out
    this.chunk = chunk
    this.from = 0
    let nextLf = -1
    let nextCr = -1
    let pos = 0
    while (pos < chunk.length) {
      // Stop where the held bytes reach the limit, wherever that is in a line.
      const stop = Math.min(chunk.length, this.from + this.max - this.held.length)
      if (this.afterCr) {
        this.afterCr = false
        if (chunk[pos] === LF) {
          pos++
          if (!this.hasFields && !this.inParts) this.emitQuiet(pos, 0, 0)
          else this.emitFull(pos)
          continue
        }
      }
      if (nextLf < pos) nextLf = orEnd(chunk.indexOf(LF, pos), chunk)
      if (nextCr < pos) nextCr = orEnd(chunk.indexOf(CR, pos), chunk)
      const lineEnd = Math.min(nextLf, nextCr)
      this.content(pos, Math.min(lineEnd, stop))
      if (lineEnd >= stop) {
        pos = stop
        this.emitFull(pos)
        continue
      }
      pos = lineEnd + 1
      if (lineEnd === nextCr) {
        if (pos >= stop) this.afterCr = true
        else if (chunk[pos] === LF) pos++
      }
      this.endLine(pos)
      this.emitFull(pos)
    }
    this.held.append(chunk.subarray(this.from))
    if (this.single !== undefined) this.store(EMPTY)
    this.chunk = EMPTY
    this.out = []
    return out
  }

  end(): readonly SsePiece[] {
    this.from = 0
    const bytes = this.held.take()
    if (this.inParts) {
      const piece: SsePiece = { kind: 'part', bytes, data: this.takeData(), first: false, last: true, cut: true, ...this.known() }
      this.resetBlock()
      return [piece]
    }
    this.takeData()
    this.resetBlock()
    return bytes.length === 0 ? [] : [{ kind: 'tail', bytes }]
  }

  /** Reads the bytes of one line, or of as much of it as is there. */
  private content(start: number, stop: number): void {
    const { chunk } = this
    let pos = start
    while (pos < stop) {
      const byte = chunk[pos] ?? 0
      switch (this.place) {
        case 'start':
          if (this.bomBytes < BOM.length && byte === BOM[this.bomBytes]) {
            this.bomBytes++
            pos++
            break
          }
          if (this.bomBytes > 0 && this.bomBytes < BOM.length) this.name = '\ufffd'
          this.bomBytes = BOM.length
          this.place = 'name'
          break
        case 'name':
          pos++
          if (byte === COLON) this.beginValue()
          else if (this.name.length <= MAX_FIELD_NAME) this.name += String.fromCharCode(byte)
          break
        case 'space':
          if (byte === SPACE) pos++
          this.place = 'value'
          break
        case 'value':
          if (this.field === 'data') this.addData(chunk.subarray(pos, stop))
          else if (this.field !== 'comment' && this.field !== 'other') this.addValue(pos, stop)
          pos = stop
          break
      }
    }
  }

  private beginValue(): void {
    this.field = this.name === '' ? 'comment' : isField(this.name) ? this.name : 'other'
    this.place = 'space'
    this.value = []
    this.valueCut = false
    if (this.field !== 'comment') this.hasFields = true
    if (this.field === 'data' && this.dataLines++ > 0) this.addData(JOIN)
  }

  private addValue(start: number, stop: number): void {
    const room = MAX_FIELD_VALUE - this.value.length
    for (let pos = start; pos < Math.min(stop, start + room); pos++) this.value.push(this.chunk[pos] ?? 0)
    if (stop - start > room) this.valueCut = true
  }

  private addData(bytes: Uint8Array): void {
    if (this.single === undefined && this.stored.length === 0) this.single = bytes
    else this.store(bytes)
  }

  private store(bytes: Uint8Array): void {
    if (this.single !== undefined) this.stored.append(this.single)
    this.single = undefined
    this.stored.append(bytes)
  }

  private takeData(): Uint8Array {
    const data = this.single ?? this.stored.take()
    this.single = undefined
    return data
  }

  /** The line is over; `to` is where the next one begins. */
  private endLine(to: number): void {
    const halfBom = this.bomBytes > 0 && this.bomBytes < BOM.length
    this.bomBytes = BOM.length
    if (halfBom) this.name = '\ufffd'
    const blank = this.place === 'start' && !halfBom
    if (blank) {
      this.endBlock(to)
      return
    }
    // A line without a colon is a field with an empty value.
    if (this.place === 'start' || this.place === 'name') this.beginValue()
    const { field } = this
    this.place = 'start'
    this.name = ''
    switch (field) {
      case 'comment':
        // Between events it can go at once; inside an event it stays where it stood.
        if (!this.hasFields && !this.inParts) this.emitQuiet(to, 1, 0)
        break
      case 'event':
        this.event = this.text()
        break
      case 'id':
        if (!this.value.includes(0)) this.id = this.text()
        break
      case 'retry':
      case 'data':
      case 'other':
        break
    }
    this.value = []
  }

  private text(): string {
    if (this.value.length === 0) return ''
    const text = LENIENT.decode(new Uint8Array(this.value))
    return this.valueCut ? `${text}…` : text
  }

  private endBlock(to: number): void {
    if (this.inParts) {
      this.out.push({ kind: 'part', bytes: this.takeBytes(to), data: this.takeData(), first: false, last: true, ...this.known() })
    } else if (!this.hasFields) {
      this.emitQuiet(to, 0, 0)
    } else {
      const data = this.takeData()
      if (data.length === 0) this.emitQuiet(to, 0, 1)
      else this.out.push({ kind: 'event', bytes: this.takeBytes(to), data, ...this.known() })
    }
    this.resetBlock()
  }

  private resetBlock(): void {
    this.hasFields = false
    this.dataLines = 0
    this.id = undefined
    this.event = undefined
    this.inParts = false
  }

  private known(): { readonly id?: string; readonly event?: string } {
    return { ...(this.id === undefined ? {} : { id: this.id }), ...(this.event === undefined ? {} : { event: this.event }) }
  }

  /** Gives out what is held when it has reached the limit. */
  private emitFull(to: number): void {
    if (this.held.length + to - this.from < this.max) return
    if (!this.inParts && !this.hasFields && this.place !== 'start' && this.place !== 'name' && this.field === 'comment') {
      // A comment of any length needs no recording, so it need not be held to its end.
      this.emitQuiet(to, 0, 0)
      return
    }
    const first = !this.inParts
    this.inParts = true
    this.out.push({ kind: 'part', bytes: this.takeBytes(to), data: this.takeData(), first, last: false, ...this.known() })
  }

  private emitQuiet(to: number, comments: number, priming: number): void {
    const before = this.out.at(-1)
    if (before?.kind === 'quiet' && this.held.length === 0 && this.quietFrom >= 0) {
      const bytes = this.chunk.subarray(this.quietFrom, to)
      this.out[this.out.length - 1] = { kind: 'quiet', bytes, comments: before.comments + comments, priming: before.priming + priming }
      this.from = to
      return
    }
    // Only a piece that lies within this chunk can be made longer by the next one.
    this.quietFrom = this.held.length === 0 ? this.from : -1
    this.out.push({ kind: 'quiet', bytes: this.takeBytes(to), comments, priming })
  }

  private takeBytes(to: number): Uint8Array {
    const rest = this.chunk.subarray(this.from, to)
    this.from = to
    if (this.held.length === 0) return rest
    this.held.append(rest)
    return this.held.take()
  }
}

function isField(name: string): name is 'data' | 'event' | 'id' | 'retry' {
  return name === 'data' || name === 'event' || name === 'id' || name === 'retry'
}

function orEnd(index: number, chunk: Uint8Array): number {
  return index < 0 ? chunk.length : index
}
