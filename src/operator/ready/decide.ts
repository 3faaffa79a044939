/** One word for everything: the condition Ready, from all others. Pure. */

import { findCondition } from '../../kube/conditions.ts'
import type { Condition } from '../../kube/conditions.ts'
import { numberAt, textAt } from '../../policy/json.ts'
import type { JsonObject } from '../../policy/json.ts'

export const CONDITION = 'Ready'

/** @param needed types, the most fundamental first: the first that is not well is named */
export function readyCondition(policy: JsonObject, needed: readonly string[]): Condition {
  const generation = numberAt(policy['metadata'], 'generation') ?? 0
  const said = needed.map(type => ({ type, condition: findCondition(policy, type) }))
  const wrong = said.find(({ condition }) => condition?.['status'] === 'False' && numberAt(condition, 'observedGeneration') === generation)
  if (wrong !== undefined) return { type: CONDITION, status: 'False', reason: textAt(wrong.condition, 'reason') ?? 'Unknown', message: `${wrong.type}: ${textAt(wrong.condition, 'message') ?? ''}` }
  const unsure = said.find(({ condition }) => condition?.['status'] === 'Unknown' && numberAt(condition, 'observedGeneration') === generation)
  if (unsure !== undefined) return { type: CONDITION, status: 'Unknown', reason: textAt(unsure.condition, 'reason') ?? 'Progressing', message: `${unsure.type}: ${textAt(unsure.condition, 'message') ?? ''}` }
  const open = said.filter(({ condition }) => numberAt(condition, 'observedGeneration') !== generation).map(({ type }) => type)
  if (open.length > 0) return { type: CONDITION, status: 'Unknown', reason: 'Progressing', message: `Not looked at yet: ${open.join(', ')}.` }
  return { type: CONDITION, status: 'True', reason: 'Ready', message: 'All that the policy asks for is in place.' }
}
