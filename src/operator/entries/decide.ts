/** EKS access entries: which IAM role is to be in which group of the cluster, whose an entry is, and what there is to say about it. Pure. */

import type { Condition } from '../../kube/conditions.ts'
import type { AwsInstallation } from '../../policy/aws-installation.ts'
import type { SessionPolicy } from '../../policy/session-policy.ts'
import { tagValue } from '../role/decide.ts'

export const CONDITION = 'EntriesReady'
/** With the name of the installation's cluster as its value. */
const OWN_TAG = 'steno.dev/cluster'

export interface WantedEntry {
  /** ARN of an IAM role. */
  readonly principal: string
  readonly group: string
}

export function wantedEntries({ spec }: Pick<SessionPolicy, 'spec'>): readonly WantedEntry[] {
  return spec.connect.flatMap(({ name, role }) => (role === undefined ? [] : [{ principal: role, group: name }]))
}

export function entryTags({ cluster }: AwsInstallation): Readonly<Record<string, string>> {
  return { [OWN_TAG]: tagValue(cluster) }
}

export function isOurs(tags: Readonly<Record<string, string>>, { cluster }: AwsInstallation): boolean {
  return tags[OWN_TAG] === tagValue(cluster)
}

/** What came out of looking at an entry. */
export type EntryResult =
  | { readonly result: 'ready'; readonly principal: string }
  /** Somebody else's, without our group in it. */
  | { readonly result: 'taken'; readonly principal: string; readonly group: string }

export function entriesCondition(results: readonly EntryResult[], cluster: string): Condition {
  const say = (status: Condition['status'], reason: string, message: string): Condition => ({ type: CONDITION, status, reason, message })
  const taken = results.find((each): each is Extract<EntryResult, { result: 'taken' }> => each.result === 'taken')
  if (taken !== undefined) return say('False', 'EntryNotOurs', `${taken.principal} has an access entry of cluster ${cluster} that is not Steno's and is left alone. Add the group to it: aws eks update-access-entry --cluster-name ${cluster} --principal-arn ${taken.principal} --kubernetes-groups with all its groups and ${taken.group}.`)
  return results.length === 0 ? say('True', 'NotAsked', 'The policy names no IAM role in access.connect.') : say('True', 'EntriesReady', `EKS puts who takes on ${results.map(({ principal }) => principal).join(', ')} into the group that may reach the recorded pods.`)
}

export function notConfigured(): Condition {
  return { type: CONDITION, status: 'False', reason: 'AwsNotConfigured', message: 'access.connect names an IAM role, and the installation no AWS account and cluster: set aws of the installation, or name a group.' }
}
