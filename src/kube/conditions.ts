/** Conditions of a status (metav1.Condition): what is true, since when, and what to do next. Pure. */

import { objectsAt, textAt } from '../policy/json.ts'
import type { JsonObject } from '../policy/json.ts'

export interface Condition {
  readonly type: string
  readonly status: 'True' | 'False' | 'Unknown'
  /** One word in capitals and small letters. */
  readonly reason: string
  readonly message: string
}

/** Of the schema of the API. */
const MAX_MESSAGE = 1024

export function findCondition(object: JsonObject, type: string): JsonObject | undefined {
  return objectsAt(object['status'], 'conditions').find(each => each['type'] === type)
}

/** The condition as it is written. The time of transition stays while the status does. @param now ms since epoch */
export function conditionJson({ type, status, reason, message }: Condition, observed: JsonObject | undefined, generation: number, now: number): JsonObject {
  const before = observed?.['status'] === status ? textAt(observed, 'lastTransitionTime') : undefined
  const text = message.length <= MAX_MESSAGE ? message : `${message.slice(0, MAX_MESSAGE - 1)}…`
  return { type, status, reason, message: text, observedGeneration: generation, lastTransitionTime: before ?? `${new Date(now).toISOString().slice(0, 19)}Z` }
}
