/** Who may reach which pods, and who may see the recordings: Roles and RoleBindings of a policy. Pure. */

import type { Condition } from '../../kube/conditions.ts'
import type { JsonObject } from '../../policy/json.ts'
import { ownName } from '../../policy/own-name.ts'
import { GROUP, PLURAL } from '../../policy/session-policy.ts'
import type { SessionPolicy, Subject } from '../../policy/session-policy.ts'
import { ownMetadata } from '../marks.ts'

export const CONDITION = 'AccessReady'
/** A Role is one object in etcd, which takes 1.5 MiB. */
const MAX_PODS = 5000
/** Virtual: no such thing can be read from the API server. Whoever shows recordings asks whether somebody may `get` it, by name of the policy. */
export const RECORDINGS = `${PLURAL}/recordings`

/** A Role and the RoleBinding of the same name; without subjects there is neither. */
export interface Grant {
  readonly name: string
  readonly subjects: readonly Subject[]
  readonly role: JsonObject
  readonly binding: JsonObject
  readonly roleRef: JsonObject
}

const RBAC = 'rbac.authorization.k8s.io'

/** @param pods names of the recorded pods, in any order */
export function wantedGrants(policy: SessionPolicy, pods: readonly string[], digest: (text: string) => string): readonly Grant[] {
  const resourceNames = pods.toSorted().slice(0, MAX_PODS)
  const rule = (resources: readonly string[], verbs: readonly string[]): JsonObject => ({ apiGroups: [''], resources, resourceNames, verbs })
  // A rule without names would be for every pod of the namespace.
  const connect = resourceNames.length === 0 ? [] : [rule(['pods'], ['get']), rule(['pods/portforward'], ['get', 'create']), rule(['pods/proxy'], ['get', 'create', 'delete'])]
  const view = [{ apiGroups: [GROUP], resources: [RECORDINGS], resourceNames: [policy.name], verbs: ['get'] }]
  const grant = (purpose: string, subjects: readonly Subject[], rules: readonly JsonObject[]): Grant => {
    const name = ownName(purpose, policy.name, digest)
    const roleRef = { apiGroup: RBAC, kind: 'Role', name }
    return { name, subjects, roleRef, role: { metadata: ownMetadata(policy, name), rules }, binding: { metadata: ownMetadata(policy, name), roleRef, subjects: subjects.map(({ kind, name: subject }) => ({ apiGroup: RBAC, kind, name: subject })) } }
  }
  return [grant('connect', policy.spec.connect, connect), grant('view', policy.spec.view, view)]
}

export type AccessOutcome = 'granted' | 'taken' | 'refused' | 'forbidden'

export interface Granted {
  readonly outcome: AccessOutcome
  /** Of the grant that is spoken of. */
  readonly name: string
  /** What the API server says. */
  readonly detail: string
}

/** @param worst of the grants that were asked for; undefined when none was @param pods how many are recorded */
export function accessCondition(worst: Granted | undefined, { connect, view }: SessionPolicy['spec'], pods: number): Condition {
  const say = (status: Condition['status'], reason: string, message: string): Condition => ({ type: CONDITION, status, reason, message })
  switch (worst?.outcome) {
    case undefined:
      return say('True', 'NotAsked', 'The policy names nobody in access.connect and access.view.')
    case 'taken':
      return say('False', 'NameTaken', `A Role or RoleBinding ${worst.name} exists and is not Steno's. Rename or delete it.`)
    case 'refused':
      return say('False', 'EscalationRefused', `The cluster lets the operator grant only what it may do itself: give its ClusterRole pods/portforward, pods/proxy and ${RECORDINGS} as docs/permissions.md lists them. ${worst.detail}`)
    case 'forbidden':
      return say('False', 'Forbidden', `The operator may not write Roles or RoleBindings here: give its ClusterRole what docs/permissions.md lists. ${worst.detail}`)
    case 'granted': {
      if (connect.length > 0 && pods > MAX_PODS) return say('False', 'TooManyPods', `${pods} pods are recorded, and a Role takes ${MAX_PODS}: split the policy in two.`)
      const said = [...(connect.length === 0 ? [] : [`${connect.length} subjects may reach the recorded pods of this policy`]), ...(view.length === 0 ? [] : [`${view.length} may see its recordings`])]
      return say('True', 'Granted', `${said.join('; ')}.`)
    }
  }
}
