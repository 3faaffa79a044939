/**
 * Takes parts of objects into the catalog's tables. One batch is one transaction; nothing here waits.
 * Frames are counted once: what is covered already, by this or another process, adds nothing.
 */

import type { DatabaseSync } from 'node:sqlite'

import { StenoError } from '../errors.ts'
import type { Frame } from '../record/frame.ts'
import { parseLine } from '../record/parse-line.ts'
import type { ArchiveObject, Finding } from './archive.ts'
import { UNGROUPED_ROW } from './catalog-schema.ts'
import { catalogStatements, numberOf } from './catalog-statements.ts'
import type { CatalogStatements } from './catalog-statements.ts'
import type { Part } from './members.ts'
import { scanLines } from './scan-lines.ts'
import { SeqRanges } from './seq-ranges.ts'
import { SessionCounts } from './session-counts.ts'
import { addFacts, addFrame, newTally } from './tally.ts'
import type { SessionFacts, Tally } from './tally.ts'

/** Findings kept per object: a file of noise must not fill the catalog. */
const MAX_FINDINGS = 100

export interface BatchItem {
  readonly object: ArchiveObject
  /** Progress that the batch starts from; another process may have gone on since, then the batch is void. */
  readonly from: Progress
  readonly parts: readonly (Part | Finding)[]
  /** Whether the object was read to its end. */
  readonly done: boolean
  readonly to: Progress
}

export interface Progress {
  readonly offset: number
  readonly skip: number
  /** Fingerprint of the bytes before `offset`, to tell a grown object from a rewritten one. */
  readonly tail: string
}

interface PlaceRun {
  first: number
  last: number
  sorted: boolean
  readonly sessions: Set<number>
}

interface WriterState {
  readonly id: number
  readonly ranges: SeqRanges
  frames: number
  lastTime: string
  stopped: boolean
}

export class CatalogWriter {
  readonly #database: DatabaseSync
  readonly #sql: CatalogStatements
  readonly #writers = new Map<string, WriterState>()
  #counts: SessionCounts
  #facts = new Map<number, SessionFacts>()
  #touched = new Set<WriterState>()
  #dataVersion = -1

  constructor(database: DatabaseSync) {
    this.#database = database
    this.#sql = catalogStatements(database)
    this.#counts = new SessionCounts(this.#sql)
  }

  /** @returns false when another process was faster with one of the objects; nothing was written then */
  write(items: readonly BatchItem[]): boolean {
    this.#database.exec('begin immediate')
    try {
      this.#forgetForeignChanges()
      const current = items.every(item => this.#isCurrent(item))
      if (current) {
        for (const item of items) this.#takeObject(item)
        this.#flush()
      }
      this.#database.exec('commit')
      return current
    } catch (cause) {
      // Where the disk is full SQLite has taken it back itself.
      if (this.#database.isTransaction) this.#database.exec('rollback')
      this.#forget()
      throw cause
    }
  }

  /** What this process remembers of the tables holds only while no other one writes. */
  #forgetForeignChanges(): void {
    const version = numberOf(this.#database.prepare('pragma data_version').get(), 'data_version')
    if (version !== this.#dataVersion) this.#forget()
    this.#dataVersion = version
  }

  #forget(): void {
    this.#writers.clear()
    this.#touched = new Set()
    this.#facts = new Map()
    this.#counts = new SessionCounts(this.#sql)
  }

  #isCurrent(item: BatchItem): boolean {
    const row = this.#sql.progress.get(item.object.name)
    return numberOf(row, 'next_offset') === item.from.offset && numberOf(row, 'skip') === item.from.skip
  }

  #takeObject(item: BatchItem): void {
    const { object, to } = item
    // Size and time are stored once the object was read to its end: until then it counts as changed.
    const row = this.#sql.putObject.get(object.name, item.done ? object.size : -1, item.done ? object.modifiedMs : -1, to.offset, to.skip, to.tail)
    const id = numberOf(row, 'id')
    // What was cut at the end may be whole now.
    this.#sql.dropFindings.run(id, item.from.offset)
    let futureAt = -1
    for (const part of item.parts) {
      if (part.kind === 'finding') this.#addFinding(id, part)
      else if (part.offset !== futureAt && !this.#takePart(id, object.name, part)) futureAt = part.offset
    }
  }

  /** @returns false when the part is of a newer format; the rest of its member is not to be guessed at */
  #takePart(object: number, name: string, part: Part): boolean {
    const runs = new Map<WriterState, PlaceRun>()
    let unread = 0
    let reason = ''
    let future: StenoError | undefined
    scanLines(part.bytes, text => {
      if (future !== undefined) return
      try {
        const parsed = text === undefined ? ({ kind: 'unknown', reason: 'not UTF-8' } as const) : parseLine(text)
        if (parsed.kind === 'frame' || parsed.kind === 'cleaned') this.#takeFrame(parsed.frame, runs)
        if (parsed.kind === 'unknown') {
          unread++
          if (reason === '') reason = parsed.reason
        }
      } catch (cause) {
        if (!(cause instanceof StenoError)) throw cause
        future = cause
      }
    })
    const at = { kind: 'finding', object: name, offset: part.offset } as const
    if (unread > 0) this.#addFinding(object, { ...at, reason: 'line', detail: `${unread} ${unread === 1 ? 'line is' : 'lines are'} not part of a recording; the first: ${reason}` })
    if (future !== undefined) this.#addFinding(object, { ...at, reason: 'version', detail: future.message })
    for (const [writer, run] of runs) this.#putPlace(object, part, writer, run)
    return future === undefined
  }

  #takeFrame(frame: Frame, runs: Map<WriterState, PlaceRun>): void {
    const writer = this.#writer(frame.writer)
    // A frame that was counted already still stands here: whoever reads the place will meet it.
    const run = placeRun(runs, writer, frame.seq)
    if (!writer.ranges.add(frame.seq)) return
    writer.frames++
    if (frame.time > writer.lastTime) writer.lastTime = frame.time
    this.#touched.add(writer)
    this.#takeWriterFacts(frame, writer)
    if (frame.session === undefined && frame.exchange === undefined) return
    const session = frame.session === undefined ? UNGROUPED_ROW : this.#counts.sessionRow(frame.session, frame.time)
    run.sessions.add(session)
    const tally: Tally = this.#counts.tally(writer.id, frame.exchange, session, () => newTally(frame))
    addFrame(tally, frame)
    if (frame.session === undefined) return
    if (frame.kind === 'session.start' || frame.kind === 'session.end' || frame.kind === 'exchange.start') {
      const facts = this.#facts.get(session) ?? {}
      this.#facts.set(session, facts)
      addFacts(facts, frame)
    }
  }

  #takeWriterFacts(frame: Frame, writer: WriterState): void {
    if (frame.kind === 'writer.stop') writer.stopped = true
    if (frame.kind === 'writer.start') for (const each of frame.recovered) this.#sql.writerOver.run(each.writer)
    if (frame.kind !== 'gap') return
    if (frame.of !== undefined && frame.of !== frame.writer) this.#sql.writerOver.run(frame.of)
    const { of, session, fromSeq, toSeq, fromTime, toTime } = frame
    this.#sql.putGap.run(of ?? frame.writer, frame.writer, frame.seq, session ?? null, frame.time, fromSeq ?? null, toSeq ?? null, fromTime ?? null, toTime ?? null, frame.reason)
  }

  #writer(name: string): WriterState {
    const known = this.#writers.get(name)
    if (known !== undefined) return known
    const row = this.#sql.putWriter.get(name)
    const id = numberOf(row, 'id')
    const ranges = this.#sql.covered.all(id).map(each => ({ first: numberOf(each, 'first'), last: numberOf(each, 'last') }))
    const state = { id, ranges: new SeqRanges(ranges), frames: 0, lastTime: '', stopped: false }
    this.#writers.set(name, state)
    return state
  }

  #putPlace(object: number, part: Part, writer: WriterState, run: PlaceRun): void {
    const row = this.#sql.putPlace.get(object, part.offset, part.end, part.plain ? 1 : 0, writer.id, run.first, run.last, run.sorted ? 1 : 0)
    const place = numberOf(row, 'id')
    for (const session of run.sessions) this.#sql.putPlaceSession.run(session, place)
  }

  #addFinding(object: number, finding: Finding): void {
    if (numberOf(this.#sql.countFindings.get(object), 'n') >= MAX_FINDINGS) return
    this.#sql.putFinding.run(object, finding.offset, finding.reason, finding.detail, finding.claims === undefined ? null : JSON.stringify(finding.claims))
  }

  #flush(): void {
    this.#counts.flush(this.#facts)
    this.#facts = new Map()
    for (const writer of this.#touched) {
      this.#sql.addWriter.run(writer.frames, writer.lastTime, writer.stopped ? 1 : 0, writer.id)
      writer.frames = 0
      const { changed, removed } = writer.ranges.takeChanges()
      for (const first of removed) this.#sql.dropCovered.run(writer.id, first)
      for (const range of changed) this.#sql.putCovered.run(writer.id, range.first, range.last)
    }
    this.#touched = new Set()
  }
}

/** The run of a writer in a part, with one more frame in it. */
function placeRun(runs: Map<WriterState, PlaceRun>, writer: WriterState, seq: number): PlaceRun {
  let run = runs.get(writer)
  if (run === undefined) {
    run = { first: seq, last: seq, sorted: true, sessions: new Set() }
    runs.set(writer, run)
  } else if (seq > run.last) run.last = seq
  else {
    run.sorted = false
    run.first = Math.min(run.first, seq)
  }
  return run
}
