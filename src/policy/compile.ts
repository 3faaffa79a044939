/** A policy as a recorder reads it: without what only decides which pods get one. The same policy gives the same text, whatever the order in which it was written. */

import type { Json } from './json.ts'
import { isObject } from './json.ts'
import type { SessionPolicy } from './session-policy.ts'

export interface CompiledPolicy {
  /** JSON. */
  readonly text: string
  /** Changes when, and only when, the text does. */
  readonly hash: string
}

/** Of the text's shape; a recorder refuses a newer one. */
const FORMAT = 1

/** @param digest short digest of a text */
export function compilePolicy({ namespace, name, uid, spec }: SessionPolicy, digest: (text: string) => string): CompiledPolicy {
  const text = canonical({
    format: FORMAT,
    policy: { namespace, name, uid },
    durability: spec.durability,
    onFailure: spec.onFailure,
    ...(spec.sink === undefined ? {} : { sink: { firehose: { stream: spec.sink.stream, region: spec.sink.region } } }),
  })
  return { text, hash: digest(text) }
}

/** JSON with the members of every object in the order of their names. */
function canonical(value: Json): string {
  return JSON.stringify(value, (_key, each: unknown) => (isObject(each) ? Object.fromEntries(Object.entries(each).toSorted(([a], [b]) => (a < b ? -1 : 1))) : each))
}
