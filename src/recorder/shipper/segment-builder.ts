/**
 * Packs the lines of one writer into segments. Compresses in blocks that each end on a byte border, so the size of the
 * member is known while it grows; only a block that no longer fits is compressed again. Keeps the chain; borders of segments never enter it.
 */

import { hash } from 'node:crypto'
import { constants, crc32, deflateRawSync } from 'node:zlib'
import { chainNext } from '../../record/chain.ts'
import { FORMAT_VERSION } from '../../record/frame.ts'
import type { SealLine, SegmentLine } from '../../record/frame.ts'
import { encodeMember } from '../../record/member.ts'
import type { Segment } from '../../sink/sink.ts'
import type { Position } from '../spool/position-file.ts'

/** What Firehose takes as one record. */
export const MAX_SEGMENT_BYTES = 1_024_000
/** Header with the index and the two own lines need room beside the data. */
const MAX_DATA_BYTES = MAX_SEGMENT_BYTES - 65_536 - 4_096
/** Lines that compress a hundredfold must not make a segment that no reader wants to inflate. */
const MAX_PAYLOAD_BYTES = 32 * 1024 * 1024
const BLOCK_BYTES = 128 * 1024
/** As far as deflate looks back. */
const WINDOW_BYTES = 32 * 1024
/** JSON-RPC: 5 to 7 times. */
const USUAL_RATIO = 6
/** More sessions than this in one segment are flagged as "any". */
const MAX_SESSIONS = 2_000

export interface Packed {
  readonly segment: Segment
  readonly end: Position
}

/** Where a line lies in the spool and what its beginning says. */
export interface AboutLine {
  readonly seq: number
  readonly session: string | undefined
  readonly file: number
  readonly start: number
  readonly offset: number
}

/** Lines that are compressed together. */
interface Block {
  readonly raw: Buffer
  readonly frames: number
  readonly sessions: ReadonlySet<string>
  readonly end: Position
}

/** A segment that grows: compressed blocks, and what its trailer and index will say. */
interface Growing {
  readonly firstSeq: number
  /** Its own first line, which is compressed with the first block. */
  readonly first: Buffer
  readonly deflated: Buffer[]
  /** The last of what is compressed: what follows may refer to it. */
  window: Buffer
  readonly sessions: Set<string>
  dataBytes: number
  payloadBytes: number
  crc: number
  frames: number
  end: Position
}

export interface SegmentBuilder {
  /** Adds a line, of which it keeps a copy; gives a segment when one is full. */
  add(line: Buffer, about: AboutLine): Packed | undefined
  /** Closes the segment being built, if there is one. What does not fit into it stays: call again until it gives nothing. */
  finish(): Packed | undefined
  /** Frames up to before `seq` were lost: the chain goes on unknown. Only when nothing is pending. */
  lose(seq: number): void
  /** Lines wait in here. */
  readonly pending: boolean
  /** About what they will take in a segment. */
  readonly pendingBytes: number
}

export function sha256(bytes: Uint8Array): Buffer {
  // By way of text: a digest that is given as bytes has memory of its own, and costs twice as much.
  return Buffer.from(hash('sha256', bytes, 'binary'), 'latin1')
}

/** @param level of deflate, 1 (fast) to 9 (small) */
export function createSegmentBuilder(writer: string, from: Pick<Position, 'seq' | 'head'>, level: number): SegmentBuilder {
  let head = from.head === null ? undefined : Buffer.from(from.head, 'hex')
  /** What the next segment follows. */
  let before: Pick<Position, 'seq' | 'head'> = from
  let growing: Growing | undefined
  /** Lines that wait to be compressed, each with its newline. */
  let block: Buffer = NO_BYTES
  let blockBytes = 0
  let lines = 0
  let lineSessions = new Set<string>()
  let last: AboutLine | undefined

  const begin = (end: Position): Growing => {
    const firstSeq = before.seq + 1
    const line: SegmentLine = { kind: 'segment', format: FORMAT_VERSION, writer, firstSeq, previous: before.head }
    const first = Buffer.from(`${JSON.stringify(line)}\n`)
    return { firstSeq, first, deflated: [], window: NO_BYTES, sessions: new Set(), dataBytes: 0, payloadBytes: first.length, crc: crc32(first), frames: 0, end }
  }
  const deflate = ({ first, deflated, window }: Growing, raw: Buffer, finishFlush = constants.Z_SYNC_FLUSH): Buffer => {
    if (deflated.length === 0) return deflateRawSync(Buffer.concat([first, raw]), { level, finishFlush })
    return deflateRawSync(raw, { level, finishFlush, dictionary: window })
  }
  const count = (into: Growing, { raw, frames, sessions, end }: Block): void => {
    into.payloadBytes += raw.length
    into.crc = crc32(raw, into.crc)
    into.frames += frames
    into.end = end
    for (const session of sessions) into.sessions.add(session)
  }
  /** @param tail lines that are counted and not compressed yet: that costs less together with the seal */
  const pack = (whole: Growing, tail: Buffer = NO_BYTES): Packed => {
    const { firstSeq, deflated, sessions, frames, end } = whole
    const line: SealLine = { kind: 'seal', writer, lastSeq: end.seq, frames, head: end.head }
    const seal = Buffer.from(`${JSON.stringify(line)}\n`)
    const index = { writer, firstSeq, lastSeq: end.seq, frames, sessions: sessions.size > MAX_SESSIONS ? ('any' as const) : [...sessions].sort() }
    const bytes = encodeMember({
      index,
      deflated: [...deflated, deflate(whole, Buffer.concat([tail, seal]), constants.Z_FINISH)],
      crc32: crc32(seal, whole.crc),
      payloadBytes: whole.payloadBytes + seal.length,
    })
    before = end
    growing = undefined
    return { segment: { index, bytes }, end }
  }
  /** The lines gathered; what they lie in is written over by the next one. */
  const takeBlock = (): Block | undefined => {
    if (last === undefined || lines === 0) return undefined
    const { file, start, offset, seq } = last
    const taken = { raw: block.subarray(0, blockBytes), frames: lines, sessions: lineSessions, end: { file, start, offset, seq, head: head?.toString('hex') ?? null } }
    lines = 0
    blockBytes = 0
    lineSessions = new Set()
    return taken
  }
  /** Compresses the lines gathered and takes them into the segment, or into the next one when they do not fit: then the full one is given. */
  const closeBlock = (): Packed | undefined => {
    const taken = takeBlock()
    if (taken === undefined) return undefined
    const { raw } = taken
    growing ??= begin(taken.end)
    let deflated = deflate(growing, raw)
    const fits = growing.frames === 0 || (growing.dataBytes + deflated.length <= MAX_DATA_BYTES && growing.payloadBytes + raw.length <= MAX_PAYLOAD_BYTES)
    const full = fits ? undefined : pack(growing)
    if (full !== undefined) {
      growing = begin(taken.end)
      deflated = deflate(growing, raw)
    }
    growing.deflated.push(deflated)
    growing.window = raw.length < WINDOW_BYTES ? Buffer.concat([growing.window, raw]).subarray(-WINDOW_BYTES) : Buffer.from(raw.subarray(-WINDOW_BYTES))
    growing.dataBytes += deflated.length
    count(growing, taken)
    return full
  }
  const finish = (): Packed | undefined => {
    if (growing !== undefined) return closeBlock() ?? pack(growing)
    const only = takeBlock()
    if (only === undefined) return undefined
    const whole = begin(only.end)
    count(whole, only)
    return pack(whole, only.raw)
  }

  return {
    add: (line, about) => {
      // Before the line, not after it: so a block is one line or no larger than BLOCK_BYTES, and always fits a segment.
      const full = lines > 0 && blockBytes + line.length >= BLOCK_BYTES ? closeBlock() : undefined
      if (line.length >= block.length) block = Buffer.allocUnsafeSlow(Math.max(BLOCK_BYTES, line.length + 1))
      if (head !== undefined) head = Buffer.from(chainNext(sha256, head, sha256(line)))
      blockBytes += line.copy(block, blockBytes)
      block[blockBytes++] = NEWLINE
      lines++
      if (about.session !== undefined) lineSessions.add(about.session)
      last = about
      return full
    },
    finish,
    lose: seq => {
      if (growing !== undefined || lines > 0) throw new TypeError('lines from before the hole are still to be packed')
      head = undefined
      before = { seq: seq - 1, head: null }
    },
    get pending() {
      return lines > 0 || growing !== undefined
    },
    get pendingBytes() {
      return (growing?.dataBytes ?? 0) + blockBytes / USUAL_RATIO
    },
  }
}

const NEWLINE = 0x0a
/** In place of a block, of which many earlier writers would need one each, and of a window. */
const NO_BYTES = Buffer.alloc(0)
