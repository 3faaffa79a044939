/** Which of the pods that a policy selects are recorded, and why the others are not. Pure. */

import type { Decision } from '../../inject/decide.ts'
import { INJECTED_ANNOTATION, parseInjected } from '../../inject/marks.ts'
import { sentence } from '../../inject/reasons.ts'
import type { SkipReason } from '../../inject/reasons.ts'
import type { Condition } from '../../kube/conditions.ts'
import { textsAt } from '../../policy/json.ts'
import type { PodEntry } from '../pod-entry.ts'

export const CONDITION = 'Injected'
/** Pods that a message names. */
const MAX_NAMED = 3

export type PodState =
  | { readonly state: 'current' }
  /** `wanted`: hash of the configuration that a recorder would get now; empty when it would get none. */
  | { readonly state: 'outdated' | 'missing'; readonly wanted: string }
  /** It would not get a recorder if it were created now. */
  | { readonly state: 'skipped'; readonly reason: SkipReason; readonly detail: string | undefined }

export interface Counts {
  readonly selected: number
  /** Outdated ones included. */
  readonly recorded: number
  readonly outdated: number
  readonly missing: number
  readonly skipped: number
}

/** @param decision what the injector would do if the pod were created now */
export function podState({ mark }: PodEntry, decision: Decision): PodState {
  if (decision.decision === 'skip') return mark === undefined ? { state: 'skipped', reason: decision.reason, detail: decision.detail } : { state: 'outdated', wanted: '' }
  const wanted = parseInjected(textsAt(decision.pod['metadata'], 'annotations')[INJECTED_ANNOTATION] ?? '')?.configHash ?? ''
  if (mark === undefined) return { state: 'missing', wanted }
  return wanted === mark.configHash ? { state: 'current' } : { state: 'outdated', wanted }
}

export function coverage(pods: readonly { readonly name: string; readonly state: PodState }[]): { readonly counts: Counts; readonly condition: Condition } {
  const named = (state: PodState['state']): string[] => pods.filter(each => each.state.state === state).map(({ name }) => name)
  const [outdated, missing] = [named('outdated'), named('missing')]
  const skipped = pods.flatMap(({ name, state }) => (state.state === 'skipped' ? [{ name, ...state }] : []))
  const counts = { selected: pods.length, recorded: pods.length - missing.length - skipped.length, outdated: outdated.length, missing: missing.length, skipped: skipped.length }
  const say = (status: Condition['status'], reason: string, message: string): { readonly counts: Counts; readonly condition: Condition } => ({ counts, condition: { type: CONDITION, status, reason, message } })
  if (pods.length === 0) return say('True', 'NoPods', 'The policy selects no pod that runs.')
  if (missing.length > 0) return say('False', 'PodsMissing', `${missing.length} pods run without a recorder: ${some(missing)}. They were created before the policy or while no injector answered: restart their owners.`)
  // Who may ask not to be recorded, and did, is no trouble.
  const unwanted = skipped.filter(({ reason }) => reason !== 'opted-out')
  const first = unwanted[0]
  if (first !== undefined) return say('False', 'PodsSkipped', `${unwanted.length} pods are not recorded: ${some(unwanted.map(({ name }) => name))}. ${first.reason}: ${sentence(first.reason, first.detail)}`)
  if (outdated.length > 0) return say('True', 'PodsOutdated', `${outdated.length} pods are recorded as an earlier policy or installation said: ${some(outdated)}. Restart their owners to bring them up to date.`)
  return say('True', 'AllRecorded', skipped.length === 0 ? 'Every selected pod is recorded.' : `Every selected pod is recorded, but for ${skipped.length} that asked not to be.`)
}

export function some(names: readonly string[]): string {
  const sorted = names.toSorted()
  return sorted.length <= MAX_NAMED ? sorted.join(', ') : `${sorted.slice(0, MAX_NAMED).join(', ')}, …`
}
