/** The pods of `test/golden/pods/`: each with its namespace, its policies and what is expected of it. */

import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { dump, load } from 'js-yaml'

import { decide } from '../../src/inject/decide.ts'
import type { Decision, DecisionInput } from '../../src/inject/decide.ts'
import { parseSettings } from '../../src/inject/settings.ts'
import type { InjectorSettings } from '../../src/inject/settings.ts'
import { isObject, objectAt, objectsAt, textsAt } from '../../src/policy/json.ts'
import type { Json, JsonObject } from '../../src/policy/json.ts'
import { parsePolicy } from '../../src/policy/parse-policy.ts'
import type { SessionPolicy } from '../../src/policy/session-policy.ts'

const FOLDER = new URL('../golden/pods/', import.meta.url)

export interface PodCase {
  readonly name: string
  /** Everything before `expect:`, as text. */
  readonly given: string
  /** The whole patch is shown, not only where the recorder goes. */
  readonly full: boolean
  readonly input: DecisionInput
  /** It differs from what the other files are decided with. */
  readonly ownSettings: boolean
  /** The policies as they are written, for an API server. */
  readonly policies: readonly JsonObject[]
}

export function settings(changes: JsonObject = {}): InjectorSettings {
  const parsed = parseSettings({ image: 'registry.example/steno@sha256:5e', sink: { firehose: { stream: 'steno', region: 'eu-west-1' } }, roleArn: 'arn:aws:iam::123456789012:role/steno', ...changes }, '0.0.0')
  if ('problems' in parsed) throw new Error(JSON.stringify(parsed.problems))
  return parsed.settings
}

export function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 16)
}

export function policyOf(document: JsonObject): SessionPolicy {
  const parsed = parsePolicy(document)
  if ('problems' in parsed) throw new Error(JSON.stringify(parsed.problems))
  return parsed.policy
}

export function podCases(): PodCase[] {
  return readdirSync(FOLDER)
    .toSorted()
    .map(file => podCase(file.replace(/\.yaml$/, ''), readFileSync(new URL(file, FOLDER), 'utf8')))
}

function podCase(name: string, text: string): PodCase {
  const given = text.slice(0, text.indexOf('\nexpect:') + 1)
  const file = load(given) as JsonObject
  const namespace = objectAt(file, 'namespace')
  const policies = objectsAt(file, 'policies').map((each, index) => ({ apiVersion: 'steno.dev/v1alpha1', kind: 'SessionPolicy', ...each, metadata: { namespace: 'team-a', uid: `uid-${index}`, generation: 1, ...objectAt(each, 'metadata') } }))
  const minor = file['oldestNodeMinor']
  return {
    name,
    given,
    full: file['full'] === true,
    ownSettings: file['settings'] !== undefined,
    policies,
    input: {
      pod: objectAt(file, 'pod'),
      namespace: { name: typeof namespace['name'] === 'string' ? namespace['name'] : 'team-a', labels: textsAt(namespace, 'labels'), annotations: textsAt(namespace, 'annotations') },
      policies: policies.map(policyOf),
      settings: settings(objectAt(file, 'settings')),
      oldestNodeMinor: minor === null ? undefined : typeof minor === 'number' ? minor : 34,
      digest,
    },
  }
}

/** The whole file as it should be. */
export function withExpectation({ given, full, input }: PodCase): string {
  const { patch, pod, ...rest } = decide(input)
  void pod
  const shown = patch.map(each => ('value' in each ? { ...each, value: full ? each.value : shortened(each.value) } : each))
  return `${given}${dump({ expect: { ...rest, patch: shown } }, { lineWidth: -1, noRefs: true })}`
}

/** Our own container is the same in most files: only what differs is shown. */
function shortened(value: Json): Json {
  if (Array.isArray(value)) return value.map(shortened)
  if (typeof value === 'string' && value.startsWith('{"version"')) return '(JSON)'
  if (!isObject(value)) return value
  const name = value['name']
  if (name === 'steno-recorder') return { name, args: value['args'] ?? null, ports: value['ports'] ?? null, resources: value['resources'] ?? null }
  if (name === 'steno-redirect') return { name, command: value['command'] ?? null }
  if (typeof name === 'string' && name.startsWith('steno-') && value['containerPort'] === undefined) return { name }
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, each === undefined ? null : shortened(each)]))
}

export type { Decision }
