/**
 * Versions of one object: Firehose writes a key again after a partial failure, and whoever may write may add a version that shadows what was there.
 * Of versions that claim the same frames the oldest that fits the chain by itself counts.
 */

import type { Archive, Finding } from './archive.ts'
import { readCheckRecords } from './read-check-records.ts'
import { readVersionName } from './s3-keys.ts'
import type { CheckPlace, CheckPlan } from './verify-places.ts'
import { WriterCheck } from './writer-check.ts'

/** @returns the plan without the versions that do not count, and with findings about them */
export async function settleVersions(archive: Archive, plan: CheckPlan): Promise<CheckPlan> {
  if (archive.versioned !== true) return plan
  const findings = [...plan.findings]
  const places = new Map<string, readonly CheckPlace[]>()
  for (const [writer, own] of plan.places) places.set(writer, await settleWriter(archive, { ...plan, findings }, own))
  return { ...plan, places, findings }
}

/**
 * @param plan its findings are added to
 * @param places by first seq, versions of an object oldest first
 */
async function settleWriter(archive: Archive, plan: CheckPlan & { readonly findings: Finding[] }, places: readonly CheckPlace[]): Promise<readonly CheckPlace[]> {
  const rivals = Map.groupBy(places, place => `${place.first} ${place.last} ${readVersionName(place.object).key}`)
  const dropped = new Set<CheckPlace>()
  for (const versions of rivals.values()) {
    if (versions.length < 2) continue
    const read = await Promise.all(versions.map(async place => ({ place, ...(await readAlone(archive, plan, place)) })))
    const kept = read.find(({ fits }) => fits) ?? read[0]
    for (const { place, leaves } of read) {
      if (place === kept?.place) continue
      dropped.add(place)
      if (leaves === kept?.leaves) continue
      plan.findings.push({ kind: 'finding', object: place.object, offset: place.offset, reason: 'shadowed', detail: `this version holds other bytes for frames ${place.first} to ${place.last} than ${kept?.place.object ?? ''}, which is the oldest that fits the chain` })
    }
  }
  return places.filter(place => !dropped.has(place))
}

/** @returns the leaves of its frames, joined, and whether its chain comes to the heads that it names */
async function readAlone(archive: Archive, plan: CheckPlan, place: CheckPlace): Promise<{ readonly leaves: string; readonly fits: boolean }> {
  const check = new WriterCheck(place.writer, {})
  let leaves = ''
  let problems = 0
  for await (const records of readCheckRecords(archive, plan, place, () => problems++)) {
    for (const record of records) {
      check.take(record)
      if (record.type === 'frame') leaves += record.leaf
    }
  }
  check.finish()
  return { leaves, fits: problems === 0 && check.brokenAt === undefined && check.lastSeq === place.last }
}
