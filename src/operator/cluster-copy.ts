/** What the operator knows of the cluster, from memory: policies, the pods they select, and what it makes for them. Kept by list and watch. */

import { kubeletMinor, namespaceFacts } from '../inject/cluster-facts.ts'
import type { NamespaceFacts } from '../inject/decide.ts'
import { STRICT_LABEL } from '../inject/marks.ts'
import type { KubeClient } from '../kube/client.ts'
import { createReflector, keyOf } from '../kube/reflector.ts'
import type { Change, Reflector, ReflectorOptions } from '../kube/reflector.ts'
import type { Clock } from '../platform/clock.ts'
import type { Log } from '../platform/log.ts'
import { isObject, numberAt, objectAt, objectsAt, sameJson, textAt, textsAt } from '../policy/json.ts'
import type { JsonObject } from '../policy/json.ts'
import { parsePolicy } from '../policy/parse-policy.ts'
import type { Problem } from '../policy/problem.ts'
import { selects } from '../policy/select.ts'
import { GROUP, KIND, PLURAL, VERSION } from '../policy/session-policy.ts'
import type { SessionPolicy } from '../policy/session-policy.ts'
import { OWN_SELECTOR, PATH_MANAGER, policyOwning } from './marks.ts'
import { createPodReader } from './pod-entry.ts'
import type { PodEntry } from './pod-entry.ts'

export interface PolicyEntry {
  /** `namespace/name`. */
  readonly key: string
  /** As it is stored, with its status and without its spec. */
  readonly object: JsonObject
  /** Undefined when this program cannot read it: the CRD is newer or older. */
  readonly policy: SessionPolicy | undefined
  readonly problems: readonly Problem[]
  readonly deleting: boolean
}

export interface NamespaceEntry extends NamespaceFacts {
  /** The label that makes it strict was put there by us. */
  readonly strictIsOurs: boolean
  readonly deleting: boolean
}

/** Kinds of objects that are made for policies. */
export const OWN_KINDS = {
  configMap: { apiVersion: 'v1', kind: 'ConfigMap', group: '/api/v1', plural: 'configmaps' },
  role: { apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'Role', group: '/apis/rbac.authorization.k8s.io/v1', plural: 'roles' },
  roleBinding: { apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'RoleBinding', group: '/apis/rbac.authorization.k8s.io/v1', plural: 'rolebindings' },
  networkPolicy: { apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy', group: '/apis/networking.k8s.io/v1', plural: 'networkpolicies' },
} as const
export type OwnKind = keyof typeof OWN_KINDS
const OWN_KIND_NAMES = Object.keys(OWN_KINDS) as OwnKind[]

/** EKS gives containers of pods with such a service account the role that it names. */
const ROLE_ANNOTATION = 'eks.amazonaws.com/role-arn'

export interface ClusterCopy {
  start(): void
  stop(): Promise<void>
  readonly synced: Promise<unknown>
  readonly isSynced: boolean
  policy(key: string): PolicyEntry | undefined
  policies(): IterableIterator<PolicyEntry>
  policiesIn(namespace: string): readonly SessionPolicy[]
  /** Those that cannot be read included. */
  entriesIn(namespace: string): readonly PolicyEntry[]
  /** Pods that the policy selects and that are neither ending nor done. */
  selectedPods(policy: SessionPolicy): readonly PodEntry[]
  namespace(name: string): NamespaceEntry | undefined
  /** Of the oldest kubelet on Linux. */
  readonly oldestNodeMinor: number | undefined
  own(kind: OwnKind, namespace: string, name: string): JsonObject | undefined
  /** ARN of the role that EKS gives pods of this service account; known only where service accounts are followed. */
  roleOfAccount(namespace: string, serviceAccount: string): string | undefined
  /** All of the namespace, whoever made them. */
  networkPolicies(namespace: string): readonly JsonObject[]
  /** ms since each copy was last known to be current. */
  readonly blindMs: Readonly<Record<string, number>>
}

/** Told with the key of a policy that may need to be looked at. */
export interface ClusterChanges {
  policy(key: string): void
  own(kind: OwnKind, policyKey: string): void
  /** Pods that it selects, or did. */
  pods(policyKey: string): void
  /** A namespace or a node: what decisions depend on. */
  surroundings(policyKey: string): void
  /** A namespace that has policies, or that we made strict. */
  namespace(name: string): void
  networkPolicies(policyKey: string): void
  /** A service account of its namespace has another role. */
  accounts(policyKey: string): void
}

export interface ClusterCopyOptions extends Pick<ReflectorOptions<never>, 'quietMs' | 'maxWaitMs'> {
  readonly client: KubeClient
  readonly clock: Clock
  readonly log: Log
  readonly random: () => number
  readonly changes: ClusterChanges
  /** Whether service accounts are followed. */
  readonly accounts?: boolean
}

export function createClusterCopy({ changes, accounts: followsAccounts = false, ...options }: ClusterCopyOptions): ClusterCopy {
  /** Of objects of a namespace, so that one namespace is not searched for in all. */
  const podsOf = new Map<string, Map<string, PodEntry>>()
  const policiesOf = new Map<string, Map<string, PolicyEntry>>()
  const networkPoliciesOf = new Map<string, Map<string, JsonObject>>()
  const policiesAt = (namespace: string): PolicyEntry[] => [...(policiesOf.get(namespace)?.values() ?? [])]

  const policies: Reflector<PolicyEntry> = createReflector<PolicyEntry>({
    ...options,
    path: `/apis/${GROUP}/${VERSION}/${PLURAL}`,
    keep: object => policyEntry(object, policies.get(keyOf(object))),
    onChange: ({ key, before, after }) => {
      file(policiesOf, key, after)
      changes.policy(key)
      changes.namespace(namespaceIn(key))
      // Several may select one pod: what one says changes what others come to. Their statuses do not.
      const [was, is] = [before?.policy, after?.policy]
      if (was?.uid === is?.uid && was?.generation === is?.generation) return
      for (const other of policiesAt(namespaceIn(key))) if (other.key !== key) changes.surroundings(other.key)
    },
  })
  const pods = createReflector<PodEntry>({
    ...options,
    path: '/api/v1/pods',
    keep: createPodReader(),
    onChange: ({ key, before, after }) => {
      file(podsOf, key, after)
      // A pod's status changes many times while it starts, and nothing that is decided here depends on it.
      if (before !== undefined && after !== undefined && before.shape === after.shape && before.over === after.over) return
      for (const { key: policyKey, policy } of policiesAt(namespaceIn(key))) {
        if ([before, after].some(pod => pod !== undefined && policy !== undefined && selects(policy.spec.selector, pod.labels))) changes.pods(policyKey)
      }
    },
  })
  const namespaces = createReflector<NamespaceEntry>({
    ...options,
    path: '/api/v1/namespaces',
    keep: namespaceEntry,
    onChange: ({ key, before, after }) => {
      if (before !== undefined && after !== undefined && sameFacts(before, after)) return
      policiesAt(key).forEach(each => changes.surroundings(each.key))
      if (policiesOf.has(key) || after?.strictIsOurs === true) changes.namespace(key)
    },
  })
  const nodes = createReflector<number>({
    ...options,
    path: '/api/v1/nodes',
    keep: kubeletMinor,
    // Nodes say every few seconds that they live.
    onChange: ({ before, after }) => {
      if (before !== after) for (const { key } of policies.all()) changes.surroundings(key)
    },
  })
  const accounts = createReflector<string>({
    ...options,
    path: '/api/v1/serviceaccounts',
    keep: object => textsAt(object['metadata'], 'annotations')[ROLE_ANNOTATION],
    onChange: ({ key, before, after }) => {
      if (before !== after) policiesAt(namespaceIn(key)).forEach(each => changes.accounts(each.key))
    },
  })
  const ownOf = (kind: OwnKind): Reflector<JsonObject> => {
    const { apiVersion, kind: kindName, group, plural } = OWN_KINDS[kind]
    // Objects of a list do not say what they are.
    const keep = (object: JsonObject): JsonObject => ({ apiVersion, kind: kindName, ...withoutManagedFields(object) })
    const onChange = ({ key, before, after }: Change<JsonObject>): void => {
      if (kind === 'networkPolicy') file(networkPoliciesOf, key, after)
      if (kind === 'networkPolicy') policiesAt(namespaceIn(key)).forEach(each => changes.networkPolicies(each.key))
      for (const object of [before, after]) {
        const name = object === undefined ? undefined : policyOwning(object)
        if (name !== undefined) changes.own(kind, `${namespaceIn(key)}/${name}`)
      }
    }
    // Of NetworkPolicies, those of others matter too.
    return createReflector({ ...options, path: `${group}/${plural}`, ...(kind === 'networkPolicy' ? {} : { labelSelector: OWN_SELECTOR }), keep, onChange })
  }
  const own = Object.fromEntries(OWN_KIND_NAMES.map(kind => [kind, ownOf(kind)])) as Record<OwnKind, Reflector<JsonObject>>
  const all: readonly (readonly [string, Reflector<unknown>])[] = [['policies', policies], ['pods', pods], ['namespaces', namespaces], ['nodes', nodes], ...(followsAccounts ? [['serviceaccounts', accounts] as const] : []), ...OWN_KIND_NAMES.map(kind => [OWN_KINDS[kind].plural, own[kind]] as const)]

  return {
    start: () => all.forEach(([, each]) => each.start()),
    stop: async () => void (await Promise.all(all.map(async ([, each]) => await each.stop()))),
    synced: Promise.all(all.map(async ([, each]) => await each.synced)),
    get isSynced() {
      return all.every(([, each]) => each.isSynced)
    },
    policy: key => policies.get(key),
    policies: () => policies.all(),
    policiesIn: namespace => policiesAt(namespace).flatMap(({ policy }) => policy ?? []),
    entriesIn: policiesAt,
    selectedPods: ({ namespace, spec }) => [...(podsOf.get(namespace)?.values() ?? [])].filter(({ over, labels }) => !over && selects(spec.selector, labels)),
    namespace: name => namespaces.get(name),
    get oldestNodeMinor() {
      let oldest: number | undefined
      for (const minor of nodes.all()) oldest = oldest === undefined ? minor : Math.min(oldest, minor)
      return oldest
    },
    own: (kind, namespace, name) => own[kind].get(`${namespace}/${name}`),
    roleOfAccount: (namespace, serviceAccount) => accounts.get(`${namespace}/${serviceAccount}`),
    networkPolicies: namespace => [...(networkPoliciesOf.get(namespace)?.values() ?? [])],
    get blindMs() {
      return Object.fromEntries(all.map(([name, each]) => [name, each.blindMs]))
    },
  }
}

function namespaceIn(key: string): string {
  return key.slice(0, key.indexOf('/'))
}

function file<T>(index: Map<string, Map<string, T>>, key: string, value: T | undefined): void {
  const namespace = namespaceIn(key)
  const group = index.get(namespace) ?? new Map<string, T>()
  if (value === undefined) group.delete(key)
  else group.set(key, value)
  if (group.size === 0) index.delete(namespace)
  else index.set(namespace, group)
}

function sameFacts(left: NamespaceEntry, right: NamespaceEntry): boolean {
  return left.strictIsOurs === right.strictIsOurs && left.deleting === right.deleting && sameJson(left.labels, right.labels) && sameJson(left.annotations, right.annotations)
}

function namespaceEntry(object: JsonObject): NamespaceEntry {
  const { metadata } = object
  const field = `f:${STRICT_LABEL}`
  const strictIsOurs = objectsAt(metadata, 'managedFields').some(each => each['manager'] === PATH_MANAGER && objectAt(objectAt(objectAt(each, 'fieldsV1'), 'f:metadata'), 'f:labels')[field] !== undefined)
  return { ...namespaceFacts(object), strictIsOurs, deleting: textAt(metadata, 'deletionTimestamp') !== undefined }
}

/** @param before what was kept of it: a status changes ten times as often as a spec, which is not read again then */
function policyEntry(object: JsonObject, before: PolicyEntry | undefined): PolicyEntry {
  const { metadata } = object
  const isSame = before?.policy !== undefined && before.policy.uid === textAt(metadata, 'uid') && before.policy.generation === numberAt(metadata, 'generation')
  const parsed = isSame ? before : parsePolicy({ apiVersion: `${GROUP}/${VERSION}`, kind: KIND, ...object })
  const { status } = object
  return {
    key: keyOf(object),
    object: { apiVersion: `${GROUP}/${VERSION}`, kind: KIND, metadata: objectAt(withoutManagedFields(object), 'metadata'), ...(status === undefined ? {} : { status }) },
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
