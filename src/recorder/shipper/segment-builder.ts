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

/** A segment that grows: compressed blocks, and what its trailer and index will say. */
interface Growing {
  readonly firstSeq: number
  readonly deflated: Buffer[]
  /** The last of the payload so far: what follows may repeat it. */
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

export function sha256(bytes: Uint8Array): Uint8Array {
  return hash('sha256', bytes, 'buffer')
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

  const deflate = (raw: Buffer, window: Buffer, finishFlush = constants.Z_SYNC_FLUSH): Buffer => deflateRawSync(raw, { level, finishFlush, ...(window.length === 0 ? {} : { dictionary: window }) })
  const begin = (end: Position): Growing => {
    const firstSeq = before.seq + 1
    const line: SegmentLine = { kind: 'segment', format: FORMAT_VERSION, writer, firstSeq, previous: before.head }
    const first = Buffer.from(`${JSON.stringify(line)}\n`)
    return { firstSeq, deflated: [deflate(first, NO_BYTES)], window: first, sessions: new Set(), dataBytes: 0, payloadBytes: first.length, crc: crc32(first), frames: 0, end }
  }
  const pack = (): Packed | undefined => {
    if (growing === undefined) return undefined
    const { firstSeq, deflated, window, sessions, frames, end } = growing
    const line: SealLine = { kind: 'seal', writer, lastSeq: end.seq, frames, head: end.head }
    const seal = Buffer.from(`${JSON.stringify(line)}\n`)
    const index = { writer, firstSeq, lastSeq: end.seq, frames, sessions: sessions.size > MAX_SESSIONS ? ('any' as const) : [...sessions].sort() }
    const bytes = encodeMember({
      index,
      deflated: [...deflated, deflate(seal, window, constants.Z_FINISH)],
      crc32: crc32(seal, growing.crc),
      payloadBytes: growing.payloadBytes + seal.length,
    })
    before = end
    growing = undefined
    return { segment: { index, bytes }, end }
  }
  /** Compresses the lines gathered and takes them into the segment, or into the next one when they do not fit: then the full one is given. */
  const closeBlock = (): Packed | undefined => {
    if (last === undefined || lines === 0) return undefined
    const raw = block.subarray(0, blockBytes)
    const frames = lines
    const sessions = lineSessions
    const { file, start, offset, seq } = last
    const end: Position = { file, start, offset, seq, head: head?.toString('hex') ?? null }
    lines = 0
    blockBytes = 0
    lineSessions = new Set()
    growing ??= begin(end)
    let deflated = deflate(raw, growing.window)
    const fits = growing.frames === 0 || (growing.dataBytes + deflated.length <= MAX_DATA_BYTES && growing.payloadBytes + raw.length <= MAX_PAYLOAD_BYTES)
    const full = fits ? undefined : pack()
    if (!fits) {
      growing = begin(end)
      deflated = deflate(raw, growing.window)
    }
    growing.deflated.push(deflated)
    growing.window = raw.length < WINDOW_BYTES ? Buffer.concat([growing.window, raw]).subarray(-WINDOW_BYTES) : Buffer.from(raw.subarray(-WINDOW_BYTES))
    growing.dataBytes += deflated.length
    growing.payloadBytes += raw.length
    growing.crc = crc32(raw, growing.crc)
    growing.frames += frames
    growing.end = end
    for (const session of sessions) growing.sessions.add(session)
    return full
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
    finish: () => closeBlock() ?? pack(),
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
