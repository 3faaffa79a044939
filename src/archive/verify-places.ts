/**
 * Where each writer's frames lie, as a plan for reading them in order. Members of ours are hopped over by their index, which is only
 * believed as far as the plan: reading compares it with what the member holds. Everything else is read through once.
 * The catalog is not used: it lies where an attacker of the archive may write.
 */

import type { ExportLine } from '../record/parse-line.ts'
import type { Archive, Finding, ObjectReader } from './archive.ts'
import { hopMembers, readParts } from './members.ts'
import { MemberScan } from './verify-records.ts'
import type { CheckRecord } from './verify-records.ts'

export interface CheckPlace {
  readonly object: string
  readonly offset: number
  readonly end: number
  readonly plain: boolean
  readonly writer: string
  readonly first: number
  readonly last: number
  readonly sorted: boolean
}

export interface CheckPlan {
  /** By writer; by first seq. */
  readonly places: ReadonlyMap<string, readonly CheckPlace[]>
  readonly findings: readonly Finding[]
  readonly exported: ExportLine | undefined
}

/** Findings that are listed; the rest would only repeat them. */
export const MAX_FINDINGS = 1000

/** @param writers only these, as far as members tell whose they are */
export async function planCheck(archive: Archive, writers: ReadonlySet<string> | undefined): Promise<CheckPlan> {
  const places = new Map<string, CheckPlace[]>()
  const findings: Finding[] = []
  let exported: ExportLine | undefined
  const alone = await isAlone(archive)
  const add = (place: CheckPlace): void => {
    if (writers !== undefined && !writers.has(place.writer)) return
    const known = places.get(place.writer)
    if (known === undefined) places.set(place.writer, [place])
    else known.push(place)
  }
  for await (const object of archive.list()) {
    if (object.hidden === true && findings.length < MAX_FINDINGS) findings.push({ kind: 'finding', object: object.name, offset: 0, reason: 'hidden', detail: 'it was deleted, as far as the store lets it; it was read all the same' })
    const reader = await archive.open(object.name).catch((cause: unknown) => (cause instanceof Error ? cause : new Error('cannot be read')))
    if (reader === undefined) continue
    if (reader instanceof Error) {
      if (findings.length < MAX_FINDINGS) findings.push({ kind: 'finding', object: object.name, offset: 0, reason: 'unreadable', detail: reader.message })
      continue
    }
    try {
      for await (const found of survey(object.name, reader, alone)) {
        if (found.kind === 'place') add(found.place)
        else if (found.kind === 'export') exported ??= found.header
        else if (findings.length < MAX_FINDINGS) findings.push(found)
      }
    } finally {
      await reader.close()
    }
  }
  for (const own of places.values()) own.sort((a, b) => a.first - b.first)
  return { places, findings, exported }
}

type Surveyed = Finding | { readonly kind: 'place'; readonly place: CheckPlace } | { readonly kind: 'export'; readonly header: ExportLine }

/** Whether the archive is one object: only then can it be an export. */
async function isAlone(archive: Archive): Promise<boolean> {
  let objects = 0
  for await (const _object of archive.list()) if (++objects > 1) return false
  return true
}

async function* survey(object: string, reader: ObjectReader, alone: boolean): AsyncGenerator<Surveyed> {
  for (let at = 0; at < reader.size; ) {
    for await (const hop of hopMembers(object, reader, at)) {
      if (hop.kind === 'finding') break
      const { writer, firstSeq, lastSeq } = hop.index
      // A length that leads nowhere is not to be hopped by; one that leads too far shows when the member is read.
      if (hop.end < reader.size && !(await isMember(reader, hop.end))) break
      yield { kind: 'place', place: { object, offset: hop.offset, end: hop.end, plain: false, writer, first: firstSeq, last: lastSeq, sorted: true } }
      at = hop.end
    }
    if (at >= reader.size) return
    at = yield* surveyOne(object, reader, at, alone)
  }
}

async function isMember(reader: ObjectReader, at: number): Promise<boolean> {
  const magic = await reader.read(at, 3)
  return magic[0] === 0x1f && magic[1] === 0x8b && magic[2] === 8
}

/** Reads one member or piece through. @returns where to go on */
async function* surveyOne(object: string, reader: ObjectReader, from: number, mayBeExport: boolean): AsyncGenerator<Surveyed, number> {
  const scan = new MemberScan({ mayBeExport })
  const runs = new Map<string, { first: number; last: number; rank: number; sorted: boolean }>()
  const notice = (record: CheckRecord): void => {
    const run = runs.get(record.writer)
    if (run === undefined) runs.set(record.writer, { first: record.seq, last: record.seq, rank: record.rank, sorted: true })
    else if (record.seq > run.last || (record.seq === run.last && record.rank >= run.rank)) Object.assign(run, { last: record.seq, rank: record.rank })
    else Object.assign(run, { first: Math.min(run.first, record.seq), sorted: false })
  }
  for await (const part of readParts(object, reader, from)) {
    if (part.kind === 'finding') {
      yield part
      continue
    }
    for (const record of scan.scan(part)) notice(record)
    if (!part.last) continue
    if (scan.exported !== undefined) yield { kind: 'export', header: scan.exported }
    for (const [writer, run] of runs) yield { kind: 'place', place: { object, offset: part.offset, end: part.end, plain: part.plain, writer, first: run.first, last: run.last, sorted: run.sorted } }
    // Lines that nobody understands belong to no writer, so they are told of here, and when a place is read.
    if (runs.size === 0 && scan.facts.unknown > 0) yield lineFinding(object, part.offset, scan)
    if (runs.size === 0 && scan.facts.future !== undefined) yield { kind: 'finding', object, offset: part.offset, reason: 'version', detail: scan.facts.future }
    return part.end
  }
  return reader.size
}

export function lineFinding(object: string, offset: number, scan: MemberScan): Finding {
  const { unknown, unknownReason } = scan.facts
  return { kind: 'finding', object, offset, reason: 'line', detail: `${unknown} ${unknown === 1 ? 'line is' : 'lines are'} not part of a recording; the first: ${unknownReason}` }
}
