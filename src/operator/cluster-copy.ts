/** What the operator knows of the cluster, from memory: policies, and what it makes for them. Kept by list and watch. */

import type { KubeClient } from '../kube/client.ts'
import { createReflector } from '../kube/reflector.ts'
import type { Change, Reflector, ReflectorOptions } from '../kube/reflector.ts'
import type { Clock } from '../platform/clock.ts'
import type { Log } from '../platform/log.ts'
import { isObject, textAt } from '../policy/json.ts'
import type { JsonObject } from '../policy/json.ts'
import { parsePolicy } from '../policy/parse-policy.ts'
import type { Problem } from '../policy/problem.ts'
import { GROUP, KIND, PLURAL, VERSION } from '../policy/session-policy.ts'
import type { SessionPolicy } from '../policy/session-policy.ts'
import { OWN_SELECTOR, policyOwning } from './marks.ts'

export interface PolicyEntry {
  /** `namespace/name`. */
  readonly key: string
  /** As it is stored, its status included. */
  readonly object: JsonObject
  /** Undefined when this program cannot read it: the CRD is newer or older. */
  readonly policy: SessionPolicy | undefined
  readonly problems: readonly Problem[]
  readonly deleting: boolean
}

/** Kinds of objects that are made for policies. */
export const OWN_KINDS = {
  configMap: { apiVersion: 'v1', kind: 'ConfigMap', group: '/api/v1', plural: 'configmaps' },
} as const
export type OwnKind = keyof typeof OWN_KINDS
const OWN_KIND_NAMES = Object.keys(OWN_KINDS) as OwnKind[]

export interface ClusterCopy {
  start(): void
  stop(): Promise<void>
  readonly synced: Promise<unknown>
  readonly isSynced: boolean
  policy(key: string): PolicyEntry | undefined
  policies(): IterableIterator<PolicyEntry>
  own(kind: OwnKind, namespace: string, name: string): JsonObject | undefined
  /** ms since each copy was last known to be current. */
  readonly blindMs: Readonly<Record<string, number>>
}

/** Told with the key of a policy that may need to be looked at. */
export interface ClusterChanges {
  policy(key: string): void
  own(kind: OwnKind, policyKey: string): void
}

export interface ClusterCopyOptions extends Pick<ReflectorOptions<never>, 'quietMs' | 'maxWaitMs'> {
  readonly client: KubeClient
  readonly clock: Clock
  readonly log: Log
  readonly random: () => number
  readonly changes: ClusterChanges
}

export function createClusterCopy({ changes, ...options }: ClusterCopyOptions): ClusterCopy {
  const policies = createReflector<PolicyEntry>({ ...options, path: `/apis/${GROUP}/${VERSION}/${PLURAL}`, keep: policyEntry, onChange: ({ key }) => changes.policy(key) })
  const ownOf = (kind: OwnKind): Reflector<JsonObject> => {
    const { group, plural } = OWN_KINDS[kind]
    const onChange = ({ before, after }: Change<JsonObject>): void => {
      for (const object of [before, after]) {
        const name = object === undefined ? undefined : policyOwning(object)
        const namespace = textAt(object?.['metadata'], 'namespace')
        if (name !== undefined && namespace !== undefined) changes.own(kind, `${namespace}/${name}`)
      }
    }
    return createReflector({ ...options, path: `${group}/${plural}`, labelSelector: OWN_SELECTOR, keep: withoutManagedFields, onChange })
  }
  const own = Object.fromEntries(OWN_KIND_NAMES.map(kind => [kind, ownOf(kind)])) as Record<OwnKind, Reflector<JsonObject>>
  const all: readonly (readonly [string, Reflector<unknown>])[] = [['policies', policies], ...OWN_KIND_NAMES.map(kind => [OWN_KINDS[kind].plural, own[kind]] as const)]

  return {
    start: () => all.forEach(([, each]) => each.start()),
    stop: async () => void (await Promise.all(all.map(async ([, each]) => await each.stop()))),
    synced: Promise.all(all.map(async ([, each]) => await each.synced)),
    get isSynced() {
      return all.every(([, each]) => each.isSynced)
    },
    policy: key => policies.get(key),
    policies: () => policies.all(),
    own: (kind, namespace, name) => own[kind].get(`${namespace}/${name}`),
    get blindMs() {
      return Object.fromEntries(all.map(([name, each]) => [name, each.blindMs]))
    },
  }
}

function policyEntry(object: JsonObject): PolicyEntry {
  const parsed = parsePolicy({ apiVersion: `${GROUP}/${VERSION}`, kind: KIND, ...object })
  const { metadata } = object
  return {
    key: `${textAt(metadata, 'namespace') ?? ''}/${textAt(metadata, 'name') ?? ''}`,
    object: withoutManagedFields(object),
    policy: 'policy' in parsed ? parsed.policy : undefined,
    problems: 'problems' in parsed ? parsed.problems : [],
    deleting: textAt(metadata, 'deletionTimestamp') !== undefined,
  }
}

/** Often larger than the rest of an object, and of no use here. */
function withoutManagedFields(object: JsonObject): JsonObject {
  const { metadata } = object
  return isObject(metadata) ? { ...object, metadata: { ...metadata, managedFields: undefined } } : object
}
