/**
 * Versions of one object: Firehose writes a key again after a partial failure, and whoever may write may add a version that shadows what was there.
 * Of versions that claim the same frames the oldest that fits the chain by itself counts.
 */

import { createHash } from 'node:crypto'

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
    // One by one: whoever may write can make any number of versions.
    const read: Version[] = []
    for (const place of versions) read.push({ place, ...(await readAlone(archive, plan, place)) })
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

interface Version {
  readonly place: CheckPlace
  /** Hash of the leaves of its frames. */
  readonly leaves: string
  /** Its chain comes to the heads that it names. */
  readonly fits: boolean
}

async function readAlone(archive: Archive, plan: CheckPlan, place: CheckPlace): Promise<Omit<Version, 'place'>> {
  const check = new WriterCheck(place.writer, {})
  const leaves = createHash('sha256')
  let problems = 0
  for await (const records of readCheckRecords(archive, plan, place, () => problems++)) {
    for (const record of records) {
      check.take(record)
      if (record.type === 'frame') leaves.update(record.leaf)
    }
  }
  check.finish()
  return { leaves: leaves.digest('hex'), fits: problems === 0 && check.brokenAt === undefined && check.lastSeq === place.last }
}
