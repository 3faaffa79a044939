/**
 * Packs the lines of one writer into segments. Compresses in blocks that each end on a byte border, so the size of the
 * member is known while it grows and no block is compressed twice. Keeps the chain; borders of segments never enter it.
 */

import { hash } from 'node:crypto'
import { constants, crc32, deflateRawSync } from 'node:zlib'
import { chainNext } from '../../record/chain.ts'
import { FORMAT_VERSION } from '../../record/frame.ts'
import type { SealLine, SegmentLine } from '../../record/frame.ts'
import { encodeMember } from '../../record/member.ts'
import type { Segment } from '../../sink/sink.ts'

/** Firehose takes records of 1,000 KiB (1,024,000 B); header with the index and the two own lines need room beside the data. */
const MAX_DATA_BYTES = 1_024_000 - 65_536 - 4_096
const BLOCK_BYTES = 128 * 1024
const LEVEL = 3
/** More sessions than this in one segment are flagged as "any". */
const MAX_SESSIONS = 2_000

/** Where in the spool a record ends, and the chain there: what a restarted shipper needs to go on. */
export interface Position {
  readonly file: number
  readonly offset: number
  /** Last seq that is packed; -1 before the first. */
  readonly seq: number
  /** Chain head after it, hex; null when it is not known. */
  readonly head: string | null
}

export interface Packed {
  readonly segment: Segment
  readonly end: Position
}

interface Block {
  readonly raw: Buffer
  readonly deflated: Buffer
  readonly frames: number
  readonly sessions: readonly string[]
  readonly end: Position
}

export interface SegmentBuilder {
  /** Adds a line; gives a segment when one is full. */
  add(line: Buffer, about: { readonly seq: number; readonly session: string | undefined; readonly file: number; readonly offset: number }): Packed | undefined
  /** Closes the segment being built, if there is one. To be called before a hole, at the linger's end, and at the end. */
  finish(): Packed | undefined
  /** The chain goes on unknown: frames after `position` were lost. */
  lose(position: Position): void
  /** Lines wait in here. */
  readonly pending: boolean
}

export function sha256(bytes: Uint8Array): Uint8Array {
  return hash('sha256', bytes, 'buffer')
}

export function createSegmentBuilder(writer: string, from: Position): SegmentBuilder {
  let head = from.head === null ? undefined : Buffer.from(from.head, 'hex')
  let end: Position = from
  /** What the segment being built follows. */
  let start: Position = from
  let blocks: Block[] = []
  let dataBytes = 0
  let lines: Buffer[] = []
  let lineBytes = 0
  let lineSessions = new Set<string>()

  const closeBlock = (): Block | undefined => {
    if (lines.length === 0) return undefined
    const raw = Buffer.concat(lines, lineBytes)
    const block = { raw, deflated: deflateRawSync(raw, { level: LEVEL, finishFlush: constants.Z_SYNC_FLUSH }), frames: lines.length / 2, sessions: [...lineSessions], end }
    lines = []
    lineBytes = 0
    lineSessions = new Set()
    return block
  }
  const pack = (): Packed | undefined => {
    const last = blocks.at(-1)
    if (last === undefined) return undefined
    const firstSeq = start.seq + 1
    const frames = blocks.reduce((sum, block) => sum + block.frames, 0)
    const segmentLine: SegmentLine = { kind: 'segment', format: FORMAT_VERSION, writer, firstSeq, previous: start.head }
    const sealLine: SealLine = { kind: 'seal', writer, lastSeq: last.end.seq, frames, head: last.end.head }
    const first = Buffer.from(`${JSON.stringify(segmentLine)}\n`)
    const seal = Buffer.from(`${JSON.stringify(sealLine)}\n`)
    const sessions = new Set(blocks.flatMap(block => block.sessions))
    let crc = crc32(first)
    for (const block of blocks) crc = crc32(block.raw, crc)
    const bytes = encodeMember({
      index: { writer, firstSeq, lastSeq: last.end.seq, frames, sessions: sessions.size > MAX_SESSIONS ? 'any' : [...sessions].sort() },
      deflated: [deflateRawSync(first, { level: LEVEL, finishFlush: constants.Z_SYNC_FLUSH }), ...blocks.map(block => block.deflated), deflateRawSync(seal, { level: LEVEL })],
      crc32: crc32(seal, crc),
      payloadBytes: first.length + seal.length + blocks.reduce((sum, block) => sum + block.raw.length, 0),
    })
    const index = { writer, firstSeq, lastSeq: last.end.seq, frames, sessions: [...sessions] }
    start = last.end
    blocks = []
    dataBytes = 0
    return { segment: { index, bytes }, end: last.end }
  }
  const keep = (block: Block): void => {
    blocks.push(block)
    dataBytes += block.deflated.length
  }

  return {
    add: (line, { seq, session, file, offset }) => {
      if (head !== undefined) head = Buffer.from(chainNext(sha256, head, sha256(line)))
      lines.push(line, NEWLINE)
      lineBytes += line.length + 1
      if (session !== undefined) lineSessions.add(session)
      end = { file, offset, seq, head: head?.toString('hex') ?? null }
      if (lineBytes < BLOCK_BYTES) return undefined
      const block = closeBlock()
      if (block === undefined) return undefined
      const full = dataBytes + block.deflated.length > MAX_DATA_BYTES ? pack() : undefined
      keep(block)
      return full
    },
    finish: () => {
      const block = closeBlock()
      if (block === undefined) return pack()
      if (dataBytes + block.deflated.length > MAX_DATA_BYTES) {
        // Both do not fit: the caller calls again until nothing is left.
        const full = pack()
        keep(block)
        return full
      }
      keep(block)
      return pack()
    },
    lose: position => {
      head = undefined
      end = position
      start = position
    },
    get pending() {
      return lines.length > 0 || blocks.length > 0
    },
  }
}

const NEWLINE = Buffer.from('\n')
