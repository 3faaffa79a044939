/** An archive as a recording, by way of its catalog. */

import type { Frame } from '../record/frame.ts'
import type { Recording, StoredFrame } from '../record/recording.ts'
import type { Archive, Finding, FindingReason } from './archive.ts'
import type { Catalog } from './catalog.ts'
import { UNGROUPED_ROW } from './catalog-schema.ts'
import { numberOf, textOf } from './catalog-statements.ts'
import type { Row } from './catalog-statements.ts'
import { SessionRows } from './session-rows.ts'
import { mergeByTime, writerFrames } from './stored-frames.ts'
import type { Place } from './stored-frames.ts'

/** A recording as `openRecording` gives it. */
export interface OpenRecording extends Recording {
  /** Where it is read from; `verify` reads it anew from there. */
  readonly archive: Archive
  /** As `frames`, of one writer only. */
  framesOf(session: string, writer: string): AsyncIterable<StoredFrame>
  /** What could not be read, in the order of the objects; at most 1000. */
  findings(): readonly Finding[]
}

export interface CatalogRecordingDeps {
  readonly now: () => number
  /** Runs after the catalog is closed, to remove what was made for this recording. */
  readonly cleanUp?: () => Promise<void>
}

/** The archive is looked at again when a question comes this long after the last look. */
const FRESH_MS = 500

export async function catalogRecording(catalog: Catalog, deps: CatalogRecordingDeps): Promise<OpenRecording> {
  let refreshedMs = -Infinity
  const refreshed = async (): Promise<SessionRows> => {
    if (Math.abs(deps.now() - refreshedMs) >= (catalog.archive.freshMs ?? FRESH_MS)) {
      await catalog.refresh()
      refreshedMs = deps.now()
    }
    return new SessionRows(catalog.database)
  }
  await refreshed()
  return {
    archive: catalog.archive,
    findings: () => findingsOf(catalog),
    sessions: async page => (await refreshed()).page(page, deps.now()),
    session: async idOrPrefix => (await refreshed()).find(idOrPrefix, deps.now()),
    async *frames(session) {
      const rows = await refreshed()
      const id = rows.rowOf(session)
      if (id !== undefined) yield* sessionFrames(catalog, rows, { id, name: session })
    },
    async *framesOf(session, writer) {
      const rows = await refreshed()
      const id = rows.rowOf(session)
      if (id !== undefined) yield* sessionFrames(catalog, rows, { id, name: session, writer })
    },
    frame: async (writer, seq) => {
      await refreshed()
      return frameAt(catalog, writer, seq)
    },
    close: async () => {
      await catalog.close()
      await deps.cleanUp?.()
    },
  }
}

const PLACE = 'select p.first, p.last, p.at, p.upto, p.plain, p.sorted, o.name object, w.name writer from place p join object o on o.id = p.object join writer w on w.id = p.writer'

function sessionFrames(catalog: Catalog, rows: SessionRows, session: { readonly id: number; readonly name: string; readonly writer?: string }): AsyncIterable<StoredFrame> {
  const { database } = catalog
  const gaps = new Set(rows.gaps(session.id).map(gap => `${gap.seq} ${gap.by}`))
  const places = new Map<string, Row>()
  const add = (found: readonly Row[]): void => {
    for (const row of found) places.set(`${numberOf(row, 'at')} ${textOf(row, 'writer') ?? ''} ${textOf(row, 'object') ?? ''}`, row)
  }
  add(database.prepare(`${PLACE} join place_session ps on ps.place = p.id where ps.session = ?`).all(session.id))
  // Frames from before the session had its id lie in places that are marked ungrouped.
  const early = database.prepare('select writer, number, early_first, early_last from exchange where session = ? and early_first is not null').all(session.id)
  const earlyPlaces = database.prepare(`${PLACE} where p.writer = ? and p.first <= ? and p.last >= ?`)
  for (const row of early) add(earlyPlaces.all(numberOf(row, 'writer'), numberOf(row, 'early_last'), numberOf(row, 'early_first')))
  for (const gap of rows.gaps(session.id)) add(placesOf(catalog, gap.by, gap.seq))
  const wants = session.id === UNGROUPED_ROW ? wantsUngrouped(catalog) : wantsSession(session.name, new Set(early.map(row => `${numberOf(row, 'number')} ${numberOf(row, 'writer')}`)), catalog)
  const byWriter = new Map<string, Place[]>()
  for (const row of places.values()) {
    const place = placeOf(row)
    if (session.writer !== undefined && place.writer !== session.writer) continue
    const known = byWriter.get(place.writer)
    if (known === undefined) byWriter.set(place.writer, [place])
    else known.push(place)
  }
  // Where times are equal the writer's name decides, not which was read first.
  const writers = [...byWriter.keys()].sort()
  const wanted = (frame: Frame): boolean => (frame.kind === 'gap' && gaps.has(`${frame.seq} ${frame.writer}`)) || wants(frame)
  return mergeByTime(writers.map(writer => writerFrames(catalog.archive, { places: byWriter.get(writer) ?? [], wants: wanted })))
}

function wantsSession(name: string, early: ReadonlySet<string>, catalog: Catalog): (frame: Frame) => boolean {
  if (early.size === 0) return frame => frame.session === name
  const ids = writerIds(catalog)
  return frame => frame.session === name || (frame.session === undefined && frame.exchange !== undefined && early.has(`${frame.exchange} ${ids(frame.writer)}`))
}

function wantsUngrouped(catalog: Catalog): (frame: Frame) => boolean {
  const ids = writerIds(catalog)
  const row = catalog.database.prepare(`select 1 from exchange where writer = ? and number = ? and session = ${UNGROUPED_ROW}`)
  return frame => frame.session === undefined && frame.exchange !== undefined && row.get(ids(frame.writer), frame.exchange) !== undefined
}

function writerIds(catalog: Catalog): (name: string) => number {
  const ids = new Map<string, number>()
  const row = catalog.database.prepare('select id from writer where name = ?')
  return name => {
    const id = ids.get(name) ?? numberOf(row.get(name), 'id')
    ids.set(name, id)
    return id
  }
}

function placesOf(catalog: Catalog, writer: string, seq: number): readonly Row[] {
  return catalog.database.prepare(`${PLACE} where w.name = ? and p.first <= ? and p.last >= ?`).all(writer, seq, seq)
}

async function frameAt(catalog: Catalog, writer: string, seq: number): Promise<StoredFrame | undefined> {
  const places = placesOf(catalog, writer, seq).map(placeOf)
  for await (const found of writerFrames(catalog.archive, { places, wants: frame => frame.seq === seq })) return found
  return undefined
}

function placeOf(row: Row): Place {
  return {
    object: textOf(row, 'object') ?? '',
    offset: numberOf(row, 'at'),
    end: numberOf(row, 'upto'),
    plain: numberOf(row, 'plain') === 1,
    writer: textOf(row, 'writer') ?? '',
    first: numberOf(row, 'first'),
    last: numberOf(row, 'last'),
    sorted: numberOf(row, 'sorted') === 1,
  }
}

function findingsOf(catalog: Catalog): readonly Finding[] {
  const rows = catalog.database.prepare('select o.name, f.at, f.reason, f.detail, f.claims from finding f join object o on o.id = f.object order by o.name, f.at limit 1000').all()
  return rows.map(row => {
    const claims = textOf(row, 'claims')
    return {
      kind: 'finding',
      object: textOf(row, 'name') ?? '',
      offset: numberOf(row, 'at'),
      reason: textOf(row, 'reason') as FindingReason,
      detail: textOf(row, 'detail') ?? '',
      ...(claims === undefined ? {} : { claims: JSON.parse(claims) as NonNullable<Finding['claims']> }),
    }
  })
}
