/**
 * An object of an archive, part by part: gzip members (ours and foreign), or a plain file in pieces of whole lines.
 * Every part was checked (CRC-32, length) before it is given out. Damage costs the damaged member only: it becomes a finding,
 * and reading goes on at the next member.
 */

import { MAX_HEADER_BYTES, readMemberHeader } from '../record/member.ts'
import type { MemberIndex } from '../record/member.ts'
import { MAX_LINE_LENGTH, parseLine } from '../record/parse-line.ts'
import type { Finding, FindingReason, ObjectReader } from './archive.ts'
import { deflateOffset } from './gzip-header.ts'
import { checkMember, payloadPieces } from './inflate.ts'
import type { DeflatePlace } from './inflate.ts'
import { wholeLines } from './whole-lines.ts'

const WINDOW_BYTES = 2 * 1024 * 1024
const PLAIN_BYTES = 1024 * 1024

/** Whole lines of one member, or of one piece of a plain file. A large member comes in several parts. */
export interface Part {
  readonly kind: 'part'
  readonly offset: number
  /** Offset after the member or piece. */
  readonly end: number
  readonly plain: boolean
  readonly index?: MemberIndex
  /** The member length that the index claims, when it is not the true one. */
  readonly claimedLength?: number
  /** Where `bytes` start in the payload. */
  readonly payloadOffset: number
  readonly bytes: Buffer
  readonly last: boolean
}

export interface MemberPlace {
  readonly offset: number
  /** Offset after it. Where a plain piece ends is not told by its bytes: the file may have grown since. */
  readonly end: number
  readonly plain: boolean
}

/** Parts of an object from a member's offset on. `name` is for findings. */
export async function* readParts(name: string, reader: ObjectReader, from = 0): AsyncGenerator<Part | Finding> {
  if (from >= reader.size) return
  if (await holdsMembers(reader)) yield* readMembers(name, reader, from)
  else yield* readPlain(name, reader, from, reader.size)
}

/** Whether an object holds gzip members, not plain lines. Damage to its first bytes hides no member that follows: the first of ours lies in the first window. */
async function holdsMembers(reader: ObjectReader): Promise<boolean> {
  const start = await reader.read(0, 2)
  if (start[0] === 0x1f && (start[1] === 0x8b || start.length === 1)) return true
  if (start[0] === OPENING_BRACE) return false
  const window = new Window(reader)
  return (await nextMember(window, 0, WINDOW_BYTES)) < Math.min(WINDOW_BYTES, reader.size)
}

/** The parts of one member or piece again, by its place. */
export async function* readPartsAt(name: string, reader: ObjectReader, place: MemberPlace): AsyncGenerator<Part | Finding> {
  for await (const part of place.plain ? readPlain(name, reader, place.offset, Math.min(place.end, reader.size)) : readMembers(name, reader, place.offset)) {
    yield part
    if (part.kind !== 'part' || part.last) return
  }
}

async function* readMembers(name: string, reader: ObjectReader, from: number): AsyncGenerator<Part | Finding> {
  const window = new Window(reader)
  for (let at = from; at < reader.size; ) {
    const ahead = await window.from(at, MAX_HEADER_BYTES)
    const header = readMemberHeader(ahead)
    const dataOffset = deflateOffset(ahead)
    const ours = typeof header === 'object' ? header : undefined
    if (dataOffset === 'short' || dataOffset === 'invalid') {
      const next = await nextMember(window, at + 1)
      // A header that claims to be longer than the object is damage too when another member follows.
      const cut = dataOffset === 'short' && next >= reader.size
      yield cut ? finding(name, at, 'cut', 'the file ends within the header of a member') : finding(name, at, 'damaged', 'no member starts here')
      at = next
      continue
    }
    const whole = await window.from(at, Math.max(MAX_HEADER_BYTES, Math.min(ours?.memberLength ?? 0, WINDOW_BYTES)))
    const place: DeflatePlace = { reader, start: at + dataOffset, ahead: whole.subarray(dataOffset), atEnd: at + whole.length >= reader.size }
    const checked = await checkMember(place)
    if (typeof checked === 'string') {
      const next = await nextMember(window, at + 1)
      // A member that was cut off and then followed by others is damage; only at the end of the object may it still be growing.
      const reason = checked === 'cut' && next < reader.size ? 'damaged' : checked
      yield finding(name, at, reason, DETAILS[reason], ours?.index)
      at = next
      continue
    }
    const base = { kind: 'part', offset: at, end: checked.end, plain: false, ...indexOf(ours, checked.end - at) } as const
    if (checked.payload !== undefined) yield { ...base, payloadOffset: 0, bytes: checked.payload, last: true }
    else for await (const piece of wholeLines(payloadPieces(place), MAX_LINE_LENGTH)) yield { ...base, ...piece }
    at = checked.end
  }
}

const DETAILS = {
  cut: 'the file ends within a member',
  damaged: 'a member cannot be inflated, or its CRC-32 or length does not fit',
  oversize: 'a member inflates to far more than a recording would',
} as const

function indexOf(header: { index: MemberIndex; memberLength: number } | undefined, length: number): { index?: MemberIndex; claimedLength?: number } {
  if (header === undefined) return {}
  return header.memberLength === length ? { index: header.index } : { index: header.index, claimedLength: header.memberLength }
}

async function* readPlain(name: string, reader: ObjectReader, from: number, until: number): AsyncGenerator<Part | Finding> {
  for (let at = from; at < until; ) {
    let bytes = Buffer.from(await reader.read(at, Math.min(PLAIN_BYTES, until - at)))
    let length = bytes.lastIndexOf(10) + 1
    while (length === 0 && at + bytes.length < until && bytes.length <= MAX_LINE_LENGTH) {
      bytes = Buffer.from(await reader.read(at, Math.min(bytes.length * 2, until - at)))
      length = bytes.lastIndexOf(10) + 1
    }
    if (length === 0 && bytes.length > MAX_LINE_LENGTH) {
      yield finding(name, at, 'oversize', 'a line is longer than a reader accepts')
      at = await afterNewline(reader, at + bytes.length)
      continue
    }
    // With the lines before it, so that a seal is compared with its segment.
    if (length < bytes.length && at + bytes.length >= until && isWholeLine(bytes.subarray(length))) length = bytes.length
    if (length === 0) {
      yield finding(name, at, 'cut', 'the last line is not whole')
      return
    }
    yield { kind: 'part', offset: at, end: at + length, plain: true, payloadOffset: 0, bytes: bytes.subarray(0, length), last: true }
    at += length
  }
}

/** A last line without its newline counts when it is whole: people cut files by hand. */
function isWholeLine(bytes: Buffer): boolean {
  try {
    return parseLine(bytes.toString('utf8')).kind !== 'unknown'
  } catch {
    return true
  }
}

async function afterNewline(reader: ObjectReader, from: number): Promise<number> {
  for (let at = from; at < reader.size; at += PLAIN_BYTES) {
    const found = (await reader.read(at, PLAIN_BYTES)).indexOf(10)
    if (found >= 0) return at + found + 1
  }
  return reader.size
}

/** Offset of the next member that carries our index, or `limit`, or the end of the object. Foreign members are too easily seen in noise. */
async function nextMember(window: Window, from: number, limit = Infinity): Promise<number> {
  for (let at = from; at < Math.min(limit, window.size); ) {
    const ahead = await window.from(at, MAX_HEADER_BYTES)
    const found = ahead.indexOf(MAGIC)
    if (found < 0) {
      at += Math.max(1, ahead.length - MAGIC.length + 1)
      continue
    }
    const candidate = await window.from(at + found, MAX_HEADER_BYTES)
    if (typeof readMemberHeader(candidate) === 'object') return at + found
    at += found + 1
  }
  return Math.min(limit, window.size)
}

const OPENING_BRACE = 0x7b
const MAGIC = Uint8Array.of(0x1f, 0x8b, 8, 4) as Buffer

export interface Hop {
  readonly kind: 'hop'
  readonly offset: number
  readonly end: number
  readonly index: MemberIndex
}

/** Hops over members by their index, inflating nothing. Ends with a finding where a member carries none. Claims, not facts. */
export async function* hopMembers(name: string, reader: ObjectReader, from = 0): AsyncGenerator<Hop | Finding> {
  // Large members are not read, only hopped over.
  const window = new Window(reader, MAX_HEADER_BYTES)
  for (let at = from; at < reader.size; ) {
    const header = readMemberHeader(await window.from(at, MAX_HEADER_BYTES))
    if (typeof header === 'string' || at + header.memberLength > reader.size) {
      yield finding(name, at, header === 'short' || typeof header === 'object' ? 'cut' : 'damaged', 'no index to hop by')
      return
    }
    yield { kind: 'hop', offset: at, end: at + header.memberLength, index: header.index }
    at += header.memberLength
  }
}

function finding(object: string, offset: number, reason: FindingReason, detail: string, index?: MemberIndex): Finding {
  const base = { kind: 'finding', object, offset, reason, detail } as const
  return index === undefined ? base : { ...base, claims: { writer: index.writer, firstSeq: index.firstSeq, lastSeq: index.lastSeq } }
}

/** Reads ahead, so that many small members cost few reads. */
class Window {
  readonly #reader: ObjectReader
  readonly #aheadBytes: number
  #start = 0
  #bytes: Buffer = Buffer.alloc(0)

  constructor(reader: ObjectReader, aheadBytes = WINDOW_BYTES) {
    this.#reader = reader
    this.#aheadBytes = aheadBytes
  }

  get size(): number {
    return this.#reader.size
  }

  /** Bytes from `at`: at least `wanted`, or up to the end of the object. */
  async from(at: number, wanted: number): Promise<Buffer> {
    const end = this.#start + this.#bytes.length
    if (at < this.#start || (at + wanted > end && end < this.#reader.size)) {
      const read = await this.#reader.read(at, Math.max(wanted, this.#aheadBytes))
      this.#bytes = Buffer.from(read.buffer, read.byteOffset, read.length)
      this.#start = at
    }
    return this.#bytes.subarray(Math.min(at - this.#start, this.#bytes.length))
  }
}
