/** A policy as a recorder reads it: without what only decides which pods get one. The same policy gives the same text, whatever the order in which it was written. */

import type { Json } from './json.ts'
import { isObject, textAt } from './json.ts'
import { readSink } from './parse-policy.ts'
import { problemText, Reader } from './problem.ts'
import { DURABILITIES, FAILURES } from './session-policy.ts'
import type { RecorderSpec, SessionPolicy } from './session-policy.ts'

export interface CompiledPolicy {
  /** JSON. */
  readonly text: string
  /** Changes when, and only when, the text does. */
  readonly hash: string
}

/** A compiled policy that was read. */
export interface RecorderPolicy {
  readonly name: string
  readonly hash: string
  readonly spec: RecorderSpec
}

/** Of the text's shape; a recorder refuses a newer one. */
const FORMAT = 1
/** Of the compiled policy, in its ConfigMap and below a folder of its policy's name before the recorder. */
export const POLICY_FILE = 'policy.json'

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

/**
 * Strict: a member that is not known may be a rule that this recorder would not follow.
 * @returns the policy, or why the text is none that this version reads
 */
export function readCompiled(text: string, digest: (text: string) => string): { readonly policy: RecorderPolicy } | { readonly problem: string } {
  let document: unknown
  try {
    document = JSON.parse(text)
  } catch {
    return { problem: 'it is not JSON' }
  }
  if (!isObject(document)) return { problem: 'it is not an object' }
  const { format } = document
  if (format !== FORMAT) return { problem: `its format is ${typeof format === 'number' ? String(format) : 'not given'} and this version reads ${FORMAT}: restart the pod with the recorder of the same version as the operator` }
  const read = new Reader()
  read.object(document, '', ['format', 'policy', 'durability', 'onFailure', 'sink'])
  const name = textAt(document['policy'], 'name') ?? read.wrong('policy.name', 'must be text')
  const durability = read.oneOf(document['durability'], 'durability', DURABILITIES)
  const onFailure = read.oneOf(document['onFailure'], 'onFailure', FAILURES)
  const sink = document['sink'] === undefined ? undefined : readSink(read, document['sink'], 'sink')
  if (read.problems.length > 0 || name === undefined || durability === undefined || onFailure === undefined) return { problem: read.problems.map(problemText).join('; ').slice(0, 500) }
  return { policy: { name, hash: digest(text), spec: { durability, onFailure, ...(sink === undefined ? {} : { sink }) } } }
}

/** Of one policy, its own; of several, made from each one's, in the order of their names. */
export function hashOfAll(hashes: readonly string[], digest: (text: string) => string): string {
  return hashes.length === 1 ? hashes.join('') : digest(hashes.join('\n'))
}

/** JSON with the members of every object in the order of their names. */
function canonical(value: Json): string {
  return JSON.stringify(value, (_key, each: unknown) => (isObject(each) ? Object.fromEntries(Object.entries(each).toSorted(([a], [b]) => (a < b ? -1 : 1))) : each))
}
