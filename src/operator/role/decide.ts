/**
 * The IAM roles of a policy: which there should be, whose the ones are that exist, and what differs. Compared by meaning, since IAM gives documents back in
 * another form than they were given. Pure.
 */

import type { AwsInstallation } from '../../policy/aws-installation.ts'
import { roleArn, roleName, rolePart } from '../../policy/aws-roles.ts'
import type { RolePurpose } from '../../policy/aws-roles.ts'
import type { Json, JsonObject } from '../../policy/json.ts'
import { isObject, sameJson } from '../../policy/json.ts'
import { MAX_POLICY_ARNS } from '../../policy/session-policy.ts'
import type { FirehoseSink, SessionPolicy } from '../../policy/session-policy.ts'

type Digest = (text: string) => string

export const AUDIENCE = 'sts.amazonaws.com'
/** The one inline policy of a role. */
export const INLINE_NAME = 'steno'
/** Of IAM: characters of a trust, white space apart. */
export const MAX_TRUST = 2048
/** Of IAM: characters of a tag's value. */
const MAX_TAG = 256
const TAGS = { cluster: 'steno.dev/cluster', namespace: 'steno.dev/namespace', policy: 'steno.dev/policy', uid: 'steno.dev/policy-uid', attached: 'steno.dev/attached' } as const

export interface WantedRole {
  readonly name: string
  readonly arn: string
  readonly purpose: RolePurpose
  readonly serviceAccounts: readonly string[]
  readonly trust: JsonObject
  readonly inline: JsonObject | undefined
  readonly policyArns: readonly string[]
  readonly tags: Readonly<Record<string, string>>
}

export interface RoleInput {
  readonly aws: AwsInstallation
  readonly policy: Pick<SessionPolicy, 'namespace' | 'name' | 'uid'>
  /** Where recorders ship; undefined where they do without a role of ours. */
  readonly sink: FirehoseSink | undefined
  /** Of pods whose recordings go where this policy says. Where there is not room for all, the first have it. */
  readonly shipping: readonly string[]
  /** Managed policies of the workload's role; none, no role. */
  readonly policyArns: readonly string[]
  /** Of all pods that the policy selects. */
  readonly working: readonly string[]
  readonly digest: Digest
}

export interface WantedRoles {
  readonly roles: readonly WantedRole[]
  /** Service accounts for which a role has no room. */
  readonly tooMany: readonly string[]
}

export function wantedRoles(input: RoleInput): WantedRoles {
  const { aws, policy, sink, digest } = input
  const tooMany: string[] = []
  const rolesOf = (purpose: RolePurpose, accounts: readonly string[]): WantedRole[] =>
    [...Map.groupBy(accounts, account => rolePart(account, digest))].toSorted(([a], [b]) => a - b).map(([part, all]) => {
      const name = roleName(aws, { namespace: policy.namespace, policy: policy.name, purpose, part }, digest)
      const fitting: string[] = []
      for (const account of all) {
        if (JSON.stringify(trustOf(aws, policy.namespace, [...fitting, account])).length > MAX_TRUST) tooMany.push(account)
        else fitting.push(account)
      }
      const serviceAccounts = fitting.toSorted()
      const policyArns = purpose === 'work' ? input.policyArns.toSorted() : []
      return {
        name,
        arn: roleArn(aws, name),
        purpose,
        serviceAccounts,
        trust: trustOf(aws, policy.namespace, serviceAccounts),
        inline: purpose === 'ship' && sink !== undefined ? shippingDocument(aws, sink) : undefined,
        policyArns,
        tags: { ...ownTags(aws, policy), [TAGS.uid]: policy.uid, [TAGS.attached]: marksOf(policyArns, digest) },
      }
    })
  const roles = [...(sink === undefined ? [] : rolesOf('ship', input.shipping)), ...(input.policyArns.length === 0 ? [] : rolesOf('work', input.working))]
  return { roles, tooMany: [...new Set(tooMany)].toSorted() }
}

/** What says whose a role is. */
function ownTags({ cluster }: AwsInstallation, { namespace, name }: Pick<SessionPolicy, 'namespace' | 'name'>): Readonly<Record<string, string>> {
  return { [TAGS.cluster]: tagValue(cluster), [TAGS.namespace]: namespace, [TAGS.policy]: name }
}

/** Letters, digits, spaces and `_ . : / = + - @`, as IAM takes them. */
export function tagValue(text: string): string {
  return text.replaceAll(/[^\p{L}\p{Z}\p{N}_.:/=+\-@]/gu, '_')
}

/** Managed policies that were attached by us, as short marks: their ARNs are too long for a tag. */
function marksOf(policyArns: readonly string[], digest: Digest): string {
  return policyArns.map(arn => markOf(arn, digest)).toSorted().join(' ')
}

function markOf(arn: string, digest: Digest): string {
  return digest(arn).slice(0, 10)
}

/** Exactly these service accounts, and only with a token that is meant for the token service. */
function trustOf({ oidcProvider }: AwsInstallation, namespace: string, accounts: readonly string[]): JsonObject {
  const issuer = oidcProvider.slice(oidcProvider.indexOf('oidc-provider/') + 'oidc-provider/'.length)
  const subjects = accounts.map(account => `system:serviceaccount:${namespace}:${account}`)
  return {
    Version: '2012-10-17',
    Statement: [{ Effect: 'Allow', Principal: { Federated: oidcProvider }, Action: 'sts:AssumeRoleWithWebIdentity', Condition: { StringEquals: { [`${issuer}:aud`]: AUDIENCE, [`${issuer}:sub`]: subjects } } }],
  }
}

/** A key of the stream's needs nothing here: Firehose uses it under a grant of its own. */
function shippingDocument({ partition, account }: AwsInstallation, { stream, region }: FirehoseSink): JsonObject {
  return { Version: '2012-10-17', Statement: [{ Effect: 'Allow', Action: 'firehose:PutRecordBatch', Resource: `arn:${partition}:firehose:${region}:${account}:deliverystream/${stream}` }] }
}

export interface FoundRole {
  readonly trust: string
  readonly boundary: string | undefined
  readonly tags: Readonly<Record<string, string>>
  readonly inlineNames: readonly string[]
  /** Document of ours. */
  readonly inline: string | undefined
  readonly attached: readonly string[]
}

export type Owner = 'ours' | 'other-cluster' | 'stranger'

/** A role is touched only when it carries our tags. */
export function ownerOf(tags: Readonly<Record<string, string>>, aws: AwsInstallation, policy: Pick<SessionPolicy, 'namespace' | 'name'>): Owner {
  const wanted = ownTags(aws, policy)
  if (Object.entries(wanted).every(([key, value]) => tags[key] === value)) return 'ours'
  const cluster = tags[TAGS.cluster]
  return cluster === undefined || cluster === wanted[TAGS.cluster] ? 'stranger' : 'other-cluster'
}

export type RoleStep =
  | { readonly step: 'tag'; readonly tags: Readonly<Record<string, string>> }
  | { readonly step: 'trust' | 'inline'; readonly document: JsonObject }
  | { readonly step: 'delete-inline' }
  | { readonly step: 'attach' | 'detach'; readonly policyArn: string }

export interface Drift {
  readonly steps: readonly RoleStep[]
  /** Policies that others gave the role. They are told of, and stay. */
  readonly foreign: readonly string[]
  readonly boundaryDiffers: boolean
}

/** What it takes to make the role as it should be; nothing where it means the same already. */
export function driftOf(wanted: WantedRole, found: FoundRole, boundary: string, digest: Digest): Drift {
  const before = attachedMarks(found.tags)
  const lacking = wanted.policyArns.filter(arn => !found.attached.includes(arn))
  const extra = found.attached.filter(arn => !wanted.policyArns.includes(arn))
  const obsolete = extra.filter(arn => before.has(markOf(arn, digest)))
  // What is attached is written down before, so that it is known for ours whatever comes between; what was detached is crossed out after.
  const news = wanted.policyArns.map(arn => markOf(arn, digest))
  const union = (marks: Iterable<string>): string => [...new Set([...marks, ...news])].toSorted().join(' ')
  const everything = union(before)
  // Marks of what was never attached, since IAM refused it, go when there is no room for them.
  const during = everything.length <= MAX_TAG ? everything : union(found.attached.map(arn => markOf(arn, digest)).filter(mark => before.has(mark)))
  const tags = (attached: string): Readonly<Record<string, string>> => ({ ...wanted.tags, [TAGS.attached]: attached })
  const differs = (target: Readonly<Record<string, string>>, from: Readonly<Record<string, string>>): boolean => Object.entries(target).some(([key, value]) => (from[key] ?? '') !== value)
  const first = lacking.length > 0 || obsolete.length > 0 ? tags(during) : tags(wanted.tags[TAGS.attached] ?? '')
  const last = tags(wanted.tags[TAGS.attached] ?? '')
  const inline = found.inlineNames.includes(INLINE_NAME)
  const attach = lacking.map(policyArn => ({ step: 'attach' as const, policyArn }))
  const detach = obsolete.map(policyArn => ({ step: 'detach' as const, policyArn }))
  const steps: RoleStep[] = [
    ...(differs(first, found.tags) ? [{ step: 'tag' as const, tags: first }] : []),
    ...(sameDocument(wanted.trust, parsed(found.trust)) ? [] : [{ step: 'trust' as const, document: wanted.trust }]),
    ...(wanted.inline !== undefined && !(inline && sameDocument(wanted.inline, parsed(found.inline ?? ''))) ? [{ step: 'inline' as const, document: wanted.inline }] : []),
    ...(wanted.inline === undefined && inline ? [{ step: 'delete-inline' as const }] : []),
    // A role that lacks nothing for a moment, unless IAM has no room for both.
    ...(found.attached.length + lacking.length <= MAX_POLICY_ARNS ? [...attach, ...detach] : [...detach, ...attach]),
    ...(differs(last, first) ? [{ step: 'tag' as const, tags: last }] : []),
  ]
  const foreign = [...extra.filter(arn => !obsolete.includes(arn)), ...found.inlineNames.filter(name => name !== INLINE_NAME)]
  return { steps, foreign, boundaryDiffers: found.boundary !== boundary }
}

/** What has to go before the role can, in the order that IAM wants; what others gave it stays, and then so does the role. */
export function emptying(found: Pick<FoundRole, 'tags' | 'inlineNames' | 'attached'>, digest: Digest): { readonly steps: readonly RoleStep[]; readonly foreign: readonly string[] } {
  const ours = attachedMarks(found.tags)
  const mine = found.attached.filter(arn => ours.has(markOf(arn, digest)))
  return {
    steps: [...mine.map(policyArn => ({ step: 'detach' as const, policyArn })), ...(found.inlineNames.includes(INLINE_NAME) ? [{ step: 'delete-inline' as const }] : [])],
    foreign: [...found.attached.filter(arn => !mine.includes(arn)), ...found.inlineNames.filter(name => name !== INLINE_NAME)],
  }
}

function attachedMarks(tags: Readonly<Record<string, string>>): ReadonlySet<string> {
  return new Set((tags[TAGS.attached] ?? '').split(' ').filter(mark => mark !== ''))
}

/** Service accounts that a trust lets in already. */
export function trustedAccounts(trust: string, namespace: string): readonly string[] {
  const prefix = `system:serviceaccount:${namespace}:`
  return [...trust.matchAll(/"([^"]*)"/g)].flatMap(([, text = '']) => (text.startsWith(prefix) ? [text.slice(prefix.length)] : []))
}

function parsed(text: string): Json | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return isObject(value) ? value : undefined
  } catch {
    return undefined
  }
}

/**
 * Whether two policy documents mean the same: the order of members, statements and values, single values and lists of one, the case of operators and keys
 * of conditions, and names of statements do not matter.
 */
export function sameDocument(left: Json | undefined, right: Json | undefined): boolean {
  return isObject(left) && isObject(right) && sameJson(normalDocument(left), normalDocument(right))
}

function normalDocument(document: JsonObject): Json {
  const statements = document['Statement']
  return { Version: document['Version'] ?? '', Statement: listOf(statements).map(normalStatement).map(each => JSON.stringify(each)).toSorted() }
}

function normalStatement(statement: Json): Json {
  if (!isObject(statement)) return statement
  return sorted(
    Object.entries(statement).flatMap(([key, value]): [string, Json][] => {
      if (value === undefined || key === 'Sid') return []
      if (key === 'Condition' && isObject(value)) return [[key, sorted(Object.entries(value).map(([operator, keys]): [string, Json] => [operator.toLowerCase(), isObject(keys) ? sorted(Object.entries(keys).map(([name, values]): [string, Json] => [name.toLowerCase(), normalValues(values)])) : (keys ?? null)]))]]
      if (isObject(value)) return [[key, sorted(Object.entries(value).map(([name, values]): [string, Json] => [name, normalValues(values)]))]]
      // Names of actions are compared without regard to case.
      return [[key, key === 'Action' || key === 'NotAction' ? normalValues(listOf(value).map(each => (typeof each === 'string' ? each.toLowerCase() : each))) : normalValues(value)]]
    }),
  )
}

function sorted(entries: readonly (readonly [string, Json])[]): JsonObject {
  return Object.fromEntries(entries.toSorted(([a], [b]) => (a < b ? -1 : 1)))
}

function normalValues(value: Json | undefined): Json {
  return [...new Set(listOf(value).map(each => (typeof each === 'string' ? each : JSON.stringify(each))))].toSorted()
}

function listOf(value: Json | undefined): readonly Json[] {
  return Array.isArray(value) ? value : value === undefined ? [] : [value as Json]
}
