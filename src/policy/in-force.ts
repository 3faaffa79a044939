/** What a recorder goes by when several policies select its pod, and what becomes of a change while it runs. Pure. */

import { hashOfAll } from './compile.ts'
import type { RecorderPolicy } from './compile.ts'
import { mergeForRecorder } from './merge.ts'
import type { RecorderSpec } from './session-policy.ts'

export interface InForce {
  /** Of all policies, in the order of their names, with commas. */
  readonly name: string
  readonly hash: string
  readonly spec: RecorderSpec
}

/** @param policies at least one, in the order of their names */
export function inForce(policies: readonly RecorderPolicy[], digest: (text: string) => string): InForce {
  if (policies.length === 0) throw new TypeError('no policy is in force')
  return { name: policies.map(({ name }) => name).join(','), hash: hashOfAll(policies.map(({ hash }) => hash), digest), spec: mergeForRecorder(policies.map(({ spec }) => spec)) }
}

export interface Change {
  /** Fields that are another now. */
  readonly changed: readonly string[]
  /** Fields that the policy gives another value, built into the pod: not in force until it is made anew. The operator counts the pod as outdated. */
  readonly pending: readonly string[]
}

/**
 * @param before what it went by until now
 * @param made what the pod was made with
 */
export function changeOf(before: RecorderSpec, after: RecorderSpec, made: RecorderSpec): Change {
  return {
    changed: before.onFailure === after.onFailure ? [] : ['onFailure'],
    pending: [...(made.durability === after.durability ? [] : ['durability']), ...(placeOf(made) === placeOf(after) ? [] : ['sink'])],
  }
}

function placeOf({ sink }: RecorderSpec): string {
  return sink === undefined ? '' : `${sink.region}/${sink.stream}`
}
