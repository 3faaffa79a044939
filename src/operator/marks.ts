/** Names and marks of what the operator makes for a policy, in the policy's namespace. Pure. */

import { objectsAt, textAt, textsAt } from '../policy/json.ts'
import type { JsonObject } from '../policy/json.ts'
import { GROUP, KIND, VERSION } from '../policy/session-policy.ts'

export const MANAGED_BY = 'app.kubernetes.io/managed-by'
export const MANAGER = 'steno'
/** What our objects are found by. */
export const OWN_SELECTOR = `${MANAGED_BY}=${MANAGER}`
/** Field manager by which a namespace's label is known to be ours. */
export const PATH_MANAGER = 'steno-path'
export const HASH_ANNOTATION = 'steno.dev/policy-hash'

export interface PolicyName {
  readonly namespace: string
  readonly name: string
  readonly uid: string
}

/** Deleted with the policy by the cluster's own garbage collection: no finalizer is needed. */
export function ownMetadata({ namespace, name, uid }: PolicyName, objectName: string, annotations: JsonObject = {}): JsonObject {
  return {
    name: objectName,
    namespace,
    labels: { [MANAGED_BY]: MANAGER },
    ...(Object.keys(annotations).length === 0 ? {} : { annotations }),
    ownerReferences: [{ apiVersion: `${GROUP}/${VERSION}`, kind: KIND, name, uid, controller: true, blockOwnerDeletion: false }],
  }
}

/** The policy that an object was made for, by the object's owners. */
export function policyOwning(object: JsonObject): string | undefined {
  const owner = objectsAt(object['metadata'], 'ownerReferences').find(each => each['kind'] === KIND && textAt(each, 'apiVersion')?.startsWith(`${GROUP}/`) === true)
  return owner === undefined ? undefined : textAt(owner, 'name')
}

/** Made by us for a policy of this name, also when it was made for one that was deleted since, or when somebody took off one of the two marks. */
export function isOwnedBy(policy: string, object: JsonObject): boolean {
  return policyOwning(object) === policy || textsAt(object['metadata'], 'labels')[MANAGED_BY] === MANAGER
}
