/**
 * The chain of one writer, recomputed record by record, and what does not fit. Holds one head, never the frames.
 * After a hole the chain goes on from what the next segment claims; that is said by the hole itself.
 */

import { hash } from 'node:crypto'

import type { FrameOf } from '../record/frame.ts'
import type { ExportedWriter } from '../record/parse-line.ts'
import { digestOf, hexOf } from './verify-records.ts'
import type { CheckRecord, Digest } from './verify-records.ts'

/** Holes that are listed one by one; more are only counted. */
const MAX_LISTED = 1000

export interface Hole {
  readonly from: number
  readonly to: number
}

export interface AnchoredHead {
  readonly count: number
  readonly head: string
}

export class WriterCheck {
  readonly writer: string
  frames = 0
  cleaned = 0
  readonly cleanedSeqs: number[] = []
  firstSeq = -1
  lastSeq = -1
  stopped = false
  lastTime = ''
  holes: Hole[] = []
  missing = 0
  brokenAt: number | undefined
  brokenTo: number | undefined
  reason: string | undefined
  anchored: 'match' | 'differs' | 'beyond' | undefined
  /** Of the session that is asked about. */
  sessionFirst = -1
  sessionLast = -1
  readonly gaps: FrameOf<'gap'>[] = []
  readonly over: string[] = []
  /** The last frame of the session here is its end. */
  sessionEnded = false
  sessionLastTime = ''
  /** The run that an export claims to hold. */
  readonly #exported: ExportedWriter | undefined
  /** The head before the frame that was asked for. */
  markedHead: string | null = null
  readonly #mark: number | undefined
  readonly #session: string | undefined
  readonly #anchor: AnchoredHead | undefined
  readonly #pair = Buffer.alloc(64)
  #next = 0
  #head: Digest | null
  #resume: { readonly seq: number; readonly head: Digest | null } | undefined
  #lastLeaf: Digest | undefined
  /** Everything below is covered by a head that somebody claimed and that came out the same. */
  #settled = 0

  constructor(writer: string, options: { readonly session?: string | undefined; readonly anchor?: AnchoredHead | undefined; readonly exported?: ExportedWriter | undefined; readonly mark?: number }) {
    this.writer = writer
    this.#session = options.session
    this.#anchor = options.anchor
    this.#exported = options.exported
    this.#mark = options.mark
    this.#head = hash('sha256', `steno/1${writer}`, 'binary')
    if (this.#exported === undefined || this.#exported.firstSeq === 0) return
    // An export starts where its session does. What came before is a claim, which an anchor may prove.
    this.#head = digestOrNull(this.#exported.previous)
    this.#next = this.#exported.firstSeq
    this.#settled = this.#next
  }

  /** Head after the last frame, when the chain could be followed to it. */
  get head(): string | null {
    return this.brokenAt === undefined && this.#head !== null ? hexOf(this.#head) : null
  }

  /** Head after the last frame as it comes out, whether or not it fits what others claim. */
  get chainHead(): string | null {
    return this.#head === null ? null : hexOf(this.#head)
  }

  /** First frame that no seal, no next segment and no anchor confirms. */
  get unsealedFrom(): number | undefined {
    return this.#settled < this.#next ? this.#settled : undefined
  }

  take(record: CheckRecord): void {
    switch (record.type) {
      case 'segment':
        return this.#segment(record)
      case 'frame':
        return this.#frame(record)
      case 'seal':
        return this.#seal(record)
      case 'fault':
        return this.#break(record.seq, undefined, record.reason)
    }
  }

  /** After the last record. */
  finish(): void {
    if (this.#exported !== undefined) {
      this.#seal({ seq: this.#exported.lastSeq, head: digestOrNull(this.#exported.head) })
      if (this.#exported.lastSeq < this.lastSeq) this.#break(this.#exported.lastSeq + 1, undefined, 'the export names fewer frames than it holds')
    }
    if (this.#anchor === undefined || this.anchored !== undefined) return
    // An export may end before the anchor's last frame: then there is nothing to compare.
    if (this.#exported === undefined && this.#anchor.count > this.#next) {
      this.#hole(this.#next, this.#anchor.count - 1)
      this.anchored = 'beyond'
    }
  }

  #segment(record: CheckRecord & { readonly type: 'segment' }): void {
    if (record.seq === this.#next) {
      if (record.previous === null) return
      if (this.#head === null) this.#head = record.previous
      else if (this.#head !== record.previous) this.#break(this.#settled, record.seq - 1, 'the next segment names another chain head')
      else this.#settled = record.seq
    } else if (record.seq > this.#next) {
      const known = this.#resume?.seq === record.seq ? this.#resume.head : null
      if (known !== null && record.previous !== null && known !== record.previous) this.#break(record.seq, undefined, 'two segments name different chain heads')
      this.#resume = { seq: record.seq, head: known ?? record.previous }
    }
  }

  #frame(record: CheckRecord & { readonly type: 'frame' }): void {
    const { seq, leaf } = record
    if (seq === this.lastSeq) {
      if (this.#lastLeaf !== leaf) this.#break(seq, seq, 'two copies of the frame differ')
      return
    }
    // A place that is not in order: what is here twice was compared, what is late cannot be chained any more.
    if (seq < this.#next) return this.#break(seq, undefined, 'altered, moved or follows a removed one')
    if (seq > this.#next) {
      this.#hole(this.#next, seq - 1)
      this.#head = this.#resume?.seq === seq ? this.#resume.head : null
      this.#settled = seq
    }
    if (seq === this.#mark) this.markedHead = this.chainHead
    this.#head = this.#head === null ? null : this.#chain(this.#head, leaf)
    this.#lastLeaf = leaf
    this.#next = seq + 1
    this.lastSeq = seq
    if (this.firstSeq < 0) this.firstSeq = seq
    this.frames++
    this.#notice(record)
    if (this.#anchor !== undefined && seq === this.#anchor.count - 1) this.#compareAnchor(seq)
  }

  #notice(record: CheckRecord & { readonly type: 'frame' }): void {
    const { seq, frame } = record
    if (record.shown === 'cleaned') {
      this.cleaned++
      if (this.cleanedSeqs.length < MAX_LISTED) this.cleanedSeqs.push(seq)
    }
    if (record.session !== undefined && record.session === this.#session) {
      if (this.sessionFirst < 0) this.sessionFirst = seq
      this.sessionLast = seq
      this.sessionEnded = frame?.kind === 'session.end'
      if (record.time !== undefined && record.time > this.sessionLastTime) this.sessionLastTime = record.time
    }
    if (record.time !== undefined && record.time > this.lastTime) this.lastTime = record.time
    if (frame === undefined) return
    if (frame.kind === 'writer.stop') this.stopped = true
    if (frame.kind === 'gap' && this.gaps.length < MAX_LISTED) this.gaps.push(frame)
    if (frame.kind === 'gap' && frame.of !== undefined) this.over.push(frame.of)
    if (frame.kind === 'writer.start') for (const each of frame.recovered) this.over.push(each.writer)
  }

  /** What a damaged member said that it held, beyond the last frame that could be read. */
  expectTo(lastSeq: number): void {
    if (lastSeq < this.#next) return
    this.#hole(this.#next, lastSeq)
    this.#next = lastSeq + 1
    this.#settled = this.#next
    this.#head = null
  }

  #seal(record: { readonly seq: number; readonly head: Digest | null }): void {
    if (record.seq >= this.#next) {
      this.#hole(this.#next, record.seq)
      this.#next = record.seq + 1
      this.#settled = this.#next
      this.#head = record.head
      return
    }
    if (record.seq !== this.lastSeq || record.head === null) return
    // A segment that began after a loss and yet claims a head: nothing to compare it with.
    if (this.#head === null) return
    if (this.#head === record.head) this.#settled = record.seq + 1
    else this.#break(Math.min(this.#settled, record.seq), record.seq, 'the seal names another chain head')
  }

  #compareAnchor(seq: number): void {
    if (this.#head === null) return
    this.anchored = hexOf(this.#head) === this.#anchor?.head ? 'match' : 'differs'
    if (this.anchored === 'match') this.#settled = Math.max(this.#settled, seq + 1)
    if (this.anchored === 'differs') this.#break(0, seq, 'the anchor names another chain head')
  }

  #chain(head: Digest, leaf: Digest): Digest {
    this.#pair.write(head, 0, 'latin1')
    this.#pair.write(leaf, 32, 'latin1')
    return hash('sha256', this.#pair, 'binary')
  }

  #hole(from: number, to: number): void {
    this.missing += to - from + 1
    if (this.holes.length < MAX_LISTED) this.holes.push({ from, to })
  }

  /** The first break counts: what follows from it is noise. Another claim about the same frames may narrow it. */
  #break(from: number, to: number | undefined, reason: string): void {
    if (this.brokenAt !== undefined && this.brokenAt <= from) return
    this.brokenAt = from
    this.brokenTo = to
    this.reason = reason
  }
}

function digestOrNull(hex: string | null): Digest | null {
  return hex === null ? null : digestOf(hex)
}
