/** One condition from what was found about each role of a policy: the first thing that is wrong, and what to do. */

import type { Condition } from '../../kube/conditions.ts'
import { ROLE_PARTS } from '../../policy/aws-roles.ts'

export const CONDITION = 'RoleReady'

/** What came out of looking at a role that should be. */
export type RoleResult =
  | { readonly result: 'ready'; readonly name: string; readonly foreign: readonly string[] }
  | { readonly result: 'stranger' | 'other-cluster'; readonly name: string }
  /** Of another path than the settings say now: it goes, and is made anew. */
  | { readonly result: 'elsewhere'; readonly name: string; readonly arn: string }
  | { readonly result: 'boundary'; readonly name: string; readonly boundary: string | undefined }
  /** It cannot be taken on yet: as far as one knows, because IAM is slow. */
  | { readonly result: 'propagating'; readonly name: string; readonly detail: string }
  | { readonly result: 'not-assumable'; readonly name: string; readonly detail: string }
  | { readonly result: 'no-account'; readonly name: string; readonly detail: string }

export interface RoleReport {
  readonly results: readonly RoleResult[]
  /** Roles that should go and could not. */
  readonly blocked: readonly Blocked[]
  readonly tooMany: readonly string[]
  /** Service accounts that give containers a role of their own. */
  readonly annotated: readonly string[]
  readonly boundary: string
}

export interface Blocked {
  readonly name: string
  readonly foreign: readonly string[]
  readonly detail?: string
}

/** Whom a message names. */
const MAX_NAMED = 3

export function roleCondition({ results, blocked, tooMany, annotated, boundary }: RoleReport): Condition {
  const say = (status: Condition['status'], reason: string, message: string): Condition => ({ type: CONDITION, status, reason, message })
  const first = <R extends RoleResult['result']>(...wanted: readonly R[]): Extract<RoleResult, { result: R }> | undefined => results.find((each): each is Extract<RoleResult, { result: R }> => wanted.some(result => result === each.result))
  const foreign = results.find((each): each is Extract<RoleResult, { result: 'ready' }> => each.result === 'ready' && each.foreign.length > 0)
  const taken = first('stranger', 'other-cluster')
  if (taken !== undefined) {
    return taken.result === 'stranger'
      ? say('False', 'RoleNotOurs', `Role ${taken.name} exists without Steno's tags for this policy, and is left alone. Delete or rename it, or choose another rolePrefix or rolePath.`)
      : say('False', 'RoleOfAnotherCluster', `Role ${taken.name} belongs to another cluster by its tags, and is left alone. Give each cluster a name of its own.`)
  }
  const unbound = first('boundary')
  if (unbound !== undefined) return say('False', 'BoundaryDiffers', `Role ${unbound.name} has ${unbound.boundary === undefined ? 'no permissions boundary' : `the permissions boundary ${unbound.boundary}`}, which the operator may not change. Set it to ${boundary}, or delete the role: it is made anew.`)
  if (tooMany.length > 0) return say('False', 'TrustTooLong', `The trust of a role takes 2,048 characters, and ${tooMany.length} service accounts do not fit into theirs (a policy has ${ROLE_PARTS}): ${some(tooMany)}. Let pods share service accounts, or split the policy.`)
  const useless = first('not-assumable')
  if (useless !== undefined) return say('False', 'RoleNotAssumable', `Role ${useless.name} cannot be taken on: check that the identity provider of the installation is this cluster's issuer, with the audience sts.amazonaws.com. ${useless.detail}`)
  const orphan = first('no-account')
  if (orphan !== undefined) return say('False', 'ServiceAccountMissing', `Role ${orphan.name} could not be tried: ${orphan.detail}`)
  const old = first('elsewhere')
  if (old !== undefined && blocked.length === 0) return say('Unknown', 'RolePathChanged', `Role ${old.name} is ${old.arn}, and the installation names another rolePath, which a role cannot change to: it is deleted and made anew there. Recorders that took it on ship again when their pods are restarted.`)
  const new_ = first('propagating')
  if (new_ !== undefined) return say('Unknown', 'RolePropagating', `Role ${new_.name} cannot be taken on yet, which takes up to half a minute after a change. ${new_.detail}`)
  if (foreign !== undefined) return say('False', 'ForeignPolicies', `Role ${foreign.name} has policies that are not Steno's: ${some(foreign.foreign)}. They are left alone; take them off.`)
  const stuck = blocked[0]
  if (stuck !== undefined) return blockedCondition(stuck)
  if (annotated.length > 0) return say('False', 'ServiceAccountHasRole', `EKS gives containers a role of their own, past the recorder, by the annotation eks.amazonaws.com/role-arn on the service accounts ${some(annotated)}: remove it.`)
  if (results.length === 0) return say('True', 'NoRoles', 'The policy needs no role: it selects no pod that runs, or its recordings need none.')
  return say('True', 'RoleReady', `Roles are as they should be, and were taken on: ${some(results.map(({ name }) => name))}.`)
}

/** Of another path than the settings say now, for which the operator's own rights do not hold any more. @param detail of the refusal */
export function pathDenied(arn: string, detail: string): Condition {
  return { type: CONDITION, status: 'False', reason: 'RolePathChanged', message: `Role ${arn} has another path than the rolePath that the installation names now, and the operator may not exchange it. Let its own role read and delete roles of the old path too until they are gone, or set rolePath back. ${detail}` }
}

/** A role that should go. */
export function blockedCondition({ name, foreign, detail }: Blocked): Condition {
  const message = foreign.length > 0 ? `Role ${name} cannot be deleted before policies that are not Steno's are taken off it: ${some(foreign)}.` : `Role ${name} cannot be deleted before what hangs on it is taken off. ${detail ?? ''}`
  return { type: CONDITION, status: 'False', reason: 'DeleteBlocked', message: `${message} Or set the annotation steno.dev/retain: "true" to keep it.` }
}

function some(names: readonly string[]): string {
  const sorted = names.toSorted()
  return sorted.length <= MAX_NAMED ? sorted.join(', ') : `${sorted.slice(0, MAX_NAMED).join(', ')}, …`
}
