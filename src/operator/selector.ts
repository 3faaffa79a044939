/** Label selectors of the API's own objects. Pure. */

import { objectsAt, textAt, textsAt } from '../policy/json.ts'
import type { JsonObject } from '../policy/json.ts'
import type { LabelSelector, SelectorTerm } from '../policy/session-policy.ts'

const OPERATORS: readonly SelectorTerm['operator'][] = ['In', 'NotIn', 'Exists', 'DoesNotExist']

/** A `metav1.LabelSelector` that the API server has taken. */
export function selectorOf(json: JsonObject): LabelSelector {
  const matchExpressions = objectsAt(json, 'matchExpressions').map(each => {
    const values = each['values']
    return { key: textAt(each, 'key') ?? '', operator: OPERATORS.find(known => known === each['operator']) ?? 'Exists', values: Array.isArray(values) ? values.filter(value => typeof value === 'string') : [] }
  })
  return { matchLabels: textsAt(json, 'matchLabels'), matchExpressions }
}
