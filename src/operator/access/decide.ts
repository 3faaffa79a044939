/** Who may reach which pods: Role and RoleBinding of a policy. Pure. */

import type { Condition } from '../../kube/conditions.ts'
import type { JsonObject } from '../../policy/json.ts'
import { ownName } from '../../policy/own-name.ts'
import type { SessionPolicy } from '../../policy/session-policy.ts'
import { ownMetadata } from '../marks.ts'

export const CONDITION = 'AccessReady'
/** A Role is one object in etcd, which takes 1.5 MiB. */
export const MAX_PODS = 5000

export interface Access {
  readonly role: JsonObject
  readonly binding: JsonObject
  readonly roleRef: JsonObject
}

const RBAC = 'rbac.authorization.k8s.io'

export function accessName(policy: string, digest: (text: string) => string): string {
  return ownName('connect', policy, digest)
}

/** @param pods names of the recorded pods, in any order */
export function wantedAccess(policy: SessionPolicy, pods: readonly string[], digest: (text: string) => string): Access {
  const name = accessName(policy.name, digest)
  const resourceNames = pods.toSorted().slice(0, MAX_PODS)
  const rule = (resources: readonly string[], verbs: readonly string[]): JsonObject => ({ apiGroups: [''], resources, resourceNames, verbs })
  // A rule without names would be for every pod of the namespace.
  const rules = resourceNames.length === 0 ? [] : [rule(['pods'], ['get']), rule(['pods/portforward'], ['get', 'create']), rule(['pods/proxy'], ['get', 'create', 'delete'])]
  const roleRef = { apiGroup: RBAC, kind: 'Role', name }
  return {
    role: { metadata: ownMetadata(policy, name), rules },
    binding: { metadata: ownMetadata(policy, name), roleRef, subjects: policy.spec.connect.map(({ kind, name: subject }) => ({ apiGroup: RBAC, kind, name: subject })) },
    roleRef,
  }
}

export type AccessOutcome = 'granted' | 'not-asked' | 'taken' | 'refused' | 'forbidden'

/** @param pods how many are recorded */
export function accessCondition(outcome: AccessOutcome, { pods, subjects, name, detail }: { readonly pods: number; readonly subjects: number; readonly name: string; readonly detail: string }): Condition {
  const say = (status: Condition['status'], reason: string, message: string): Condition => ({ type: CONDITION, status, reason, message })
  switch (outcome) {
    case 'not-asked':
      return say('True', 'NotAsked', 'The policy names nobody in access.connect.')
    case 'taken':
      return say('False', 'NameTaken', `A Role or RoleBinding ${name} exists and is not Steno's. Rename or delete it.`)
    case 'refused':
      return say('False', 'EscalationRefused', `The cluster lets the operator grant only what it may do itself: give its ClusterRole pods/portforward and pods/proxy as docs/operate.md lists them. ${detail}`)
    case 'forbidden':
      return say('False', 'Forbidden', `The operator may not write Roles or RoleBindings here: give its ClusterRole what docs/operate.md lists. ${detail}`)
    case 'granted':
      return pods > MAX_PODS
        ? say('False', 'TooManyPods', `${pods} pods are recorded, and a Role takes ${MAX_PODS}: split the policy in two.`)
        : say('True', 'Granted', `Role ${name} lets ${subjects} subjects reach the recorded pods of this policy.`)
  }
}
