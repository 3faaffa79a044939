/**
 * Names of the IAM roles of a policy, from nothing but settings, policy and service account: the injector tells a recorder its role before the operator
 * has made it. Pure.
 */

import type { AwsInstallation } from './aws-installation.ts'

/** `ship`: what recorders put records with. `work`: what a policy's `aws` asks for. */
export type RolePurpose = 'ship' | 'work'

export interface RoleId {
  readonly namespace: string
  readonly policy: string
  readonly purpose: RolePurpose
  readonly part: number
}

type Digest = (text: string) => string

/**
 * A role's trust may have 2,048 characters, which is room for 20 to 40 service accounts. So a policy has up to so many roles of a kind, and a service
 * account belongs to one of them for ever, whichever others there are. A part that nobody needs is not made.
 */
export const ROLE_PARTS = 8
/** Of IAM. */
const MAX_NAME = 64

export function rolePart(serviceAccount: string, digest: Digest): number {
  return Number.parseInt(digest(serviceAccount).slice(0, 6), 16) % ROLE_PARTS
}

/** `PREFIX-CLUSTER-NAMESPACE-DIGEST`. Names of roles are compared without regard to case; the cluster's may hold any letters. */
export function roleName({ rolePrefix, cluster, oidcProvider }: AwsInstallation, { namespace, policy, purpose, part }: RoleId, digest: Digest): string {
  const end = `-${digest(JSON.stringify([oidcProvider, cluster, namespace, policy, purpose, part]))}`
  const plain = cluster.toLowerCase().split(/[^a-z0-9]+/)
  const head = [rolePrefix, ...plain, namespace].filter(part => part !== '').join('-')
  return `${head.slice(0, MAX_NAME - end.length).replace(/-+$/, '')}${end}`
}

export function roleArn({ partition, account, rolePath }: AwsInstallation, name: string): string {
  return `arn:${partition}:iam::${account}:role${rolePath}${name}`
}

/** The role with which the recorder of a pod ships. @param policy that says where its recordings go */
export function shippingRoleArn(aws: AwsInstallation, namespace: string, policy: string, serviceAccount: string, digest: Digest): string {
  return roleArn(aws, roleName(aws, { namespace, policy, purpose: 'ship', part: rolePart(serviceAccount, digest) }, digest))
}
