/**
 * Decides as IAM does about a request by the policies of who makes it (IAM User Guide, "Policy evaluation logic"): an explicit Deny wins, then an Allow, else it
 * is refused. Knows the operators and the shape of the policies in `hack/aws/`; throws on what it does not know, so that nothing passes by mistake.
 */

import { isObject } from '../../../src/policy/json.ts'
import type { Json, JsonObject } from '../../../src/policy/json.ts'

export interface AskedAction {
  readonly action: string
  readonly resource: string
  /** Keys in small letters; absent ones are absent. */
  readonly context: Readonly<Record<string, string | readonly string[]>>
}

export function isAllowed(documents: readonly JsonObject[], asked: AskedAction): boolean {
  const statements = documents.flatMap(document => listOf(document['Statement'])).filter(isObject)
  const matching = statements.filter(statement => concerns(statement, asked))
  return matching.some(each => each['Effect'] === 'Allow') && !matching.some(each => each['Effect'] === 'Deny')
}

function concerns(statement: JsonObject, { action, resource, context }: AskedAction): boolean {
  for (const key of Object.keys(statement)) if (!['Sid', 'Effect', 'Action', 'Resource', 'Condition', 'Principal'].includes(key)) throw new Error(`statements with ${key} are not known`)
  const hits = (name: string, value: string): boolean => texts(statement[name]).some(pattern => isLike(pattern, value))
  if (!hits('Action', action) || (statement['Resource'] !== undefined && !hits('Resource', resource))) return false
  return Object.entries(isObject(statement['Condition']) ? statement['Condition'] : {}).every(([operator, keys]) => Object.entries(isObject(keys) ? keys : {}).every(([key, wanted]) => holds(operator, texts(wanted), context[key.toLowerCase()])))
}

function holds(operator: string, wanted: readonly string[], found: string | readonly string[] | undefined): boolean {
  const values = found === undefined ? [] : typeof found === 'string' ? [found] : found
  switch (operator) {
    case 'StringEquals':
    case 'ArnEquals':
      return values.some(value => wanted.includes(value))
    case 'StringNotEquals':
    case 'ArnNotEquals':
      // An absent key differs from everything.
      return !values.some(value => wanted.includes(value))
    case 'StringLike':
    case 'ArnLike':
      return values.some(value => wanted.some(pattern => isLike(pattern, value)))
    case 'ForAllValues:StringLike':
      return values.every(value => wanted.some(pattern => isLike(pattern, value)))
    case 'ForAllValues:StringEquals':
      return values.every(value => wanted.includes(value))
    case 'Null':
      return (values.length === 0) === (wanted[0] === 'true')
    default:
      throw new Error(`the operator ${operator} is not known`)
  }
}

function isLike(pattern: string, value: string): boolean {
  return new RegExp(`^${pattern.replaceAll(/[.+^${}()|[\]\\]/g, '\\$&').replaceAll('*', '.*').replaceAll('?', '.')}$`, 's').test(value)
}

function listOf(value: Json | undefined): readonly Json[] {
  return Array.isArray(value) ? value : value === undefined ? [] : [value as Json]
}

function texts(value: Json | undefined): readonly string[] {
  return listOf(value).map(String)
}
