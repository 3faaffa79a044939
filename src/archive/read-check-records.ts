/** One writer's records for checking, read from one place. */

import type { Archive, Finding } from './archive.ts'
import { readPartsAt } from './members.ts'
import { lineFinding } from './verify-places.ts'
import type { CheckPlace, CheckPlan } from './verify-places.ts'
import { indexProblem, MemberScan } from './verify-records.ts'
import type { CheckRecord } from './verify-records.ts'

/** Records of a place out of order that are held to be sorted. */
const MAX_UNSORTED = 2_000_000

/** Records of one writer from one place, in order. */
export async function* readCheckRecords(archive: Archive, plan: CheckPlan, place: CheckPlace, onFinding: (finding: Finding) => void): AsyncGenerator<readonly CheckRecord[]> {
  const reader = await archive.open(place.object)
  if (reader === undefined) return onFinding({ kind: 'finding', object: place.object, offset: place.offset, reason: 'unreadable', detail: 'the object has vanished while it was checked' })
  const at = { kind: 'finding', object: place.object, offset: place.offset } as const
  try {
    const scan = new MemberScan({ mayBeExport: plan.exported !== undefined })
    const held: CheckRecord[] = []
    for await (const part of readPartsAt(place.object, reader, place)) {
      if (part.kind === 'finding') {
        onFinding(part)
        continue
      }
      const all = scan.scan(part)
      if (part.last && !part.plain) scan.close(all)
      const records = all.filter(record => record.writer === place.writer)
      if (part.last) {
        const problem = part.claimedLength !== undefined ? 'its index names another length' : part.index === undefined ? undefined : indexProblem(part.index, scan.facts)
        if (problem !== undefined && scan.facts.future === undefined) onFinding({ ...at, reason: 'index', detail: `${problem} than it has` })
        if (scan.facts.unknown > 0) onFinding(lineFinding(place.object, place.offset, scan))
        if (scan.facts.future !== undefined) onFinding({ ...at, reason: 'version', detail: scan.facts.future })
      }
      if (isSorted(records) && place.sorted) yield records
      else for (const record of records) held.push(record)
      if (held.length > MAX_UNSORTED) {
        onFinding({ ...at, reason: 'unsorted', detail: 'too many lines are out of order to be sorted in memory' })
        return
      }
    }
    if (held.length > 0) yield held.sort((a, b) => a.seq - b.seq || a.rank - b.rank)
  } finally {
    await reader.close()
  }
}

function isSorted(records: readonly CheckRecord[]): boolean {
  return records.every((record, at) => {
    const before = records[at - 1]
    return before === undefined || before.seq < record.seq || (before.seq === record.seq && before.rank <= record.rank)
  })
}
