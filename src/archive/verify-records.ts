/**
 * A member's lines as records for checking: what each frame's leaf is, and what segment, seal and index lines claim.
 * Parses every line: one that no reader understands is missing from what is shown, wherever it stands in the chain.
 */

import { hash } from 'node:crypto'

import { StenoError } from '../errors.ts'
import type { Frame } from '../record/frame.ts'
import type { MemberIndex } from '../record/member.ts'
import { MAX_HEAD_LENGTH, MAX_LINE_LENGTH, parseLine, readHead } from '../record/parse-line.ts'
import type { ExportLine, LineHead, ParsedLine } from '../record/parse-line.ts'
import type { Ordered } from './in-order.ts'
import type { Part } from './members.ts'
import { scanLines } from './scan-lines.ts'

/**
 * A hash as 32 characters of one byte each: `crypto.hash` gives strings faster than buffers, and they compare with `===`.
 */
export type Digest = string

export type CheckRecord = Ordered & { readonly writer: string } & (
    | { readonly type: 'segment'; readonly previous: Digest | null }
    | { readonly type: 'frame'; readonly leaf: Digest; readonly shown: 'exact' | 'cleaned' | 'leaf'; readonly time: string | undefined; readonly session: string | undefined; readonly frame: Frame | undefined }
    | { readonly type: 'seal'; readonly head: Digest | null }
    | { readonly type: 'fault'; readonly reason: string }
  )

/** Kinds whose fields say something of the chain or of a session's end. The others are let go. */
const SAYING: ReadonlySet<string> = new Set(['gap', 'writer.start', 'writer.stop', 'session.end'])

/** What a member turned out to hold, to be compared with its index. */
export interface MemberFacts {
  readonly writers: Set<string>
  first: number
  last: number
  frames: number
  readonly sessions: Set<string>
  /** Lines that no reader understands. */
  unknown: number
  unknownReason: string
  future: string | undefined
}

/**
 * Reads one member's or piece's parts in turn.
 * Leaves and cleaned lines vouch for what is not shown, so they count only in an export: in an archive they could stand in for what was removed.
 */
export class MemberScan {
  readonly facts: MemberFacts = { writers: new Set(), first: Infinity, last: -1, frames: 0, sessions: new Set(), unknown: 0, unknownReason: '', future: undefined }
  /** The header of an export: claims about each writer's run. */
  exported: ExportLine | undefined
  readonly #mayBeExport: boolean
  #segment: { readonly writer: string; readonly firstSeq: number } | undefined
  /** Next seq that the open segment must hold. */
  #next = 0
  #faulty = false
  // Neighbours mostly agree, and a set costs more than a comparison.
  #lastWriter = ''
  #lastSession = ''

  constructor(options: { readonly mayBeExport: boolean }) {
    this.#mayBeExport = options.mayBeExport
  }

  scan(part: Part): CheckRecord[] {
    const records: CheckRecord[] = []
    scanLines(part.bytes, (text, start, end) => {
      // The rest of a newer recording is not to be guessed at.
      if (this.facts.future === undefined) this.#line(part.bytes.subarray(start, end), text, records)
    })
    return records
  }

  /** The member ended. A segment without its seal lost its end. */
  close(records: CheckRecord[]): void {
    if (this.#segment !== undefined) this.#fault(records, this.#next, 'the segment has lost its seal')
  }

  /** @param text undefined when the line is not UTF-8 */
  #line(line: Buffer, text: string | undefined, records: CheckRecord[]): void {
    const parsed = this.#parse(line, text)
    switch (parsed?.kind) {
      case 'frame':
        return this.#frame(line, parsed.frame, parsed.frame, records)
      case 'segment': {
        const { writer, firstSeq, previous } = parsed.segment
        this.close(records)
        this.#segment = { writer, firstSeq }
        this.#next = firstSeq
        this.#faulty = false
        records.push({ type: 'segment', writer, seq: firstSeq, rank: 0, previous: previous === null ? null : digestOf(previous) })
        break
      }
      case 'seal':
        this.#seal(parsed.seal, records)
        break
      case 'export':
        this.exported ??= parsed.header
        break
      case 'leaves':
        for (const [at, leaf] of parsed.leaves.sha256.entries()) {
          records.push({ type: 'frame', writer: parsed.leaves.writer, seq: parsed.leaves.fromSeq + at, rank: 1, leaf: digestOf(leaf), shown: 'leaf', time: undefined, session: undefined, frame: undefined })
        }
        break
      case 'cleaned': {
        const { frame, leaf } = parsed
        this.facts.writers.add(frame.writer)
        records.push({ type: 'frame', writer: frame.writer, seq: frame.seq, rank: 1, leaf: digestOf(leaf), shown: 'cleaned', time: frame.time, session: frame.session, frame })
        break
      }
      default: {
        if (parsed !== undefined) this.#unknown(parsed.reason)
        // Its fields cannot be read, but its head says where it stands in the chain.
        const head = line[2] === 0x77 ? readHead(line.toString('latin1', 0, MAX_HEAD_LENGTH)) : undefined
        if (head !== undefined) this.#frame(line, head, undefined, records)
      }
    }
  }

  /** @param frame undefined when its fields cannot be read */
  #frame(line: Buffer, head: LineHead, frame: Frame | undefined, records: CheckRecord[]): void {
    const { facts } = this
    const { writer, seq, time, session } = head
    if (writer !== this.#lastWriter) facts.writers.add((this.#lastWriter = writer))
    facts.frames++
    if (seq < facts.first) facts.first = seq
    if (seq > facts.last) facts.last = seq
    if (session !== undefined && session !== this.#lastSession) facts.sessions.add((this.#lastSession = session))
    this.#inSegment(writer, seq, records)
    records.push({ type: 'frame', writer, seq, rank: 1, leaf: hash('sha256', line, 'binary'), shown: 'exact', time, session, frame: frame !== undefined && SAYING.has(frame.kind) ? frame : undefined })
  }

  #unknown(reason: string): void {
    this.facts.unknown++
    if (this.facts.unknownReason === '') this.facts.unknownReason = reason
  }

  #seal(seal: { readonly writer: string; readonly lastSeq: number; readonly frames: number; readonly head: string | null }, records: CheckRecord[]): void {
    const segment = this.#segment
    if (segment !== undefined) {
      const fits = seal.writer === segment.writer && seal.lastSeq === this.#next - 1 && seal.frames === seal.lastSeq - segment.firstSeq + 1
      if (!fits) this.#fault(records, Math.min(this.#next, seal.lastSeq), 'the seal does not fit what the segment holds')
      this.#segment = undefined
    }
    records.push({ type: 'seal', writer: seal.writer, seq: seal.lastSeq, rank: 2, head: seal.head === null ? null : digestOf(seal.head) })
  }

  #inSegment(writer: string, seq: number, records: CheckRecord[]): void {
    if (this.#segment === undefined) return
    if (writer === this.#segment.writer && seq === this.#next) this.#next++
    else this.#fault(records, this.#next, 'altered, moved or follows a removed one', writer)
  }

  /** A segment counts as faulty once: what follows from the first fault is noise. */
  #fault(records: CheckRecord[], seq: number, reason: string, writer = this.#segment?.writer): void {
    if (this.#faulty || writer === undefined) return
    this.#faulty = true
    records.push({ type: 'fault', writer, seq, rank: 1, reason })
  }

  #parse(line: Buffer, text: string | undefined): ParsedLine | undefined {
    if (text === undefined) return { kind: 'unknown', reason: 'not UTF-8' }
    if (line.length > MAX_LINE_LENGTH) return { kind: 'unknown', reason: 'a line that is too long' }
    try {
      const parsed = parseLine(text)
      const ofExport = parsed.kind === 'export' || parsed.kind === 'leaves' || parsed.kind === 'cleaned'
      return ofExport && !this.#mayBeExport ? { kind: 'unknown', reason: 'a line of an export, which is not on its own' } : parsed
    } catch (cause) {
      if (!(cause instanceof StenoError)) throw cause
      this.facts.future = cause.message
      return undefined
    }
  }
}

/** What an index says that its member does not hold, or undefined. */
export function indexProblem(index: MemberIndex, facts: MemberFacts): string | undefined {
  if (facts.writers.size !== 1 || !facts.writers.has(index.writer)) return 'its index names another writer'
  if (index.firstSeq !== facts.first || index.lastSeq !== facts.last || index.frames !== facts.frames) return 'its index names other frames'
  if (index.sessions === 'any') return undefined
  const named = new Set(index.sessions)
  // Each once: one that stands twice would make up for one that is hidden.
  const same = named.size === index.sessions.length && named.size === facts.sessions.size && index.sessions.every(session => facts.sessions.has(session))
  return same ? undefined : 'its index names other sessions'
}

/** A hash from its hex form. */
export function digestOf(hex: string): Digest {
  return Buffer.from(hex, 'hex').toString('latin1')
}

export function hexOf(digest: Digest): string {
  return Buffer.from(digest, 'latin1').toString('hex')
}
