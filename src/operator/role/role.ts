/** One role in IAM: made, compared, put right, taken on for a trial, and deleted. One attempt of each; whoever asks tries again. */

import { KubeError } from '../../kube/client.ts'
import type { KubeClient } from '../../kube/client.ts'
import type { ControlPlane } from '../../platform/aws/control-plane.ts'
import { AwsFailure } from '../../platform/aws/failure.ts'
import type { IamRole } from '../../platform/aws/iam.ts'
import type { AwsInstallation } from '../../policy/aws-installation.ts'
import { objectAt, textAt } from '../../policy/json.ts'
import type { SessionPolicy } from '../../policy/session-policy.ts'
import { AUDIENCE, driftOf, emptying, INLINE_NAME, ownerOf, trustedAccounts } from './decide.ts'
import type { FoundRole, Owner, RoleStep, WantedRole } from './decide.ts'
import type { Blocked } from './report.ts'

export interface RoleDeps {
  readonly client: KubeClient
  readonly plane: ControlPlane
  readonly aws: AwsInstallation
  readonly digest: (text: string) => string
}

type PolicyId = Pick<SessionPolicy, 'namespace' | 'name'>

export type Settled =
  | {
      readonly settled: 'right'
      /** What was done to it; nothing, when it was right already. */
      readonly steps: readonly RoleStep['step'][]
      readonly isNew: boolean
      readonly foreign: readonly string[]
      /** Service accounts that it let in before. */
      readonly trustedBefore: readonly string[]
    }
  | { readonly settled: Exclude<Owner, 'ours'> }
  | { readonly settled: 'boundary'; readonly boundary: string | undefined }
  /** It is ours and has another path, as an earlier setting said; a path is for ever. */
  | { readonly settled: 'elsewhere'; readonly arn: string }
  /** IAM says at once that it is there and that it is not. */
  | { readonly settled: 'unclear' }

/** Makes the role as it should be. @param boundary of every role. Rejects with an AwsFailure. */
export async function settleRole({ plane: { iam }, aws, digest }: RoleDeps, policy: PolicyId, wanted: WantedRole, boundary: string, signal: AbortSignal): Promise<Settled> {
  const trust = JSON.stringify(wanted.trust)
  let role = await iam.getRole(wanted.name, signal)
  let isNew = false
  if (role === undefined) {
    const description = `Steno: ${wanted.purpose === 'ship' ? 'recorders' : 'workload'} of ${policy.namespace}/${policy.name}`.slice(0, 1000)
    try {
      await iam.createRole({ name: wanted.name, path: aws.rolePath, description, trust, boundary, tags: wanted.tags }, signal)
      isNew = true
      role = { arn: wanted.arn, trust, boundary, tags: wanted.tags }
    } catch (error) {
      if (!(error instanceof AwsFailure && error.problem === 'exists')) throw error
      // A stranger's, or our own of a moment ago, which not all of IAM knows of yet.
      role = await iam.getRole(wanted.name, signal)
      if (role === undefined) return { settled: 'unclear' }
    }
  }
  const owner = ownerOf(role.tags, aws, policy)
  if (owner !== 'ours') return { settled: owner }
  if (role.arn !== wanted.arn) return { settled: 'elsewhere', arn: role.arn }
  const found: FoundRole = isNew ? { ...role, inlineNames: [], inline: undefined, attached: [] } : await contentOf(iam, wanted.name, role, signal)
  const drift = driftOf(wanted, found, boundary, digest)
  if (drift.boundaryDiffers) return { settled: 'boundary', boundary: found.boundary }
  for (const step of drift.steps) await take(iam, wanted.name, step, signal)
  return { settled: 'right', steps: drift.steps.map(({ step }) => step), isNew, foreign: drift.foreign, trustedBefore: isNew ? [] : trustedAccounts(found.trust, policy.namespace) }
}

async function contentOf(iam: ControlPlane['iam'], name: string, role: IamRole, signal: AbortSignal): Promise<FoundRole> {
  const attached = await iam.listAttached(name, signal)
  const inlineNames = await iam.listInline(name, signal)
  const inline = inlineNames.includes(INLINE_NAME) ? await iam.getInline(name, INLINE_NAME, signal) : undefined
  return { ...role, attached, inlineNames, inline }
}

async function take(iam: ControlPlane['iam'], name: string, step: RoleStep, signal: AbortSignal): Promise<void> {
  switch (step.step) {
    case 'tag':
      return await iam.tagRole(name, step.tags, signal)
    case 'trust':
      return await iam.updateTrust(name, JSON.stringify(step.document), signal)
    case 'inline':
      return await iam.putInline(name, INLINE_NAME, JSON.stringify(step.document), signal)
    case 'delete-inline':
      return await iam.deleteInline(name, INLINE_NAME, signal)
    case 'attach':
      return await iam.attach(name, step.policyArn, signal)
    case 'detach':
      return await iam.detach(name, step.policyArn, signal)
  }
}

export type Removed =
  | { readonly removed: 'gone' }
  /** There was none; a role that was made a moment ago may look so too. */
  | { readonly removed: 'absent' }
  | { readonly removed: 'blocked'; readonly blocked: Blocked }

/** Deletes the role, in IAM's order, when it is ours; one that is not ours is none of our business. Rejects with an AwsFailure. */
export async function removeRole({ plane: { iam }, aws, digest }: RoleDeps, policy: PolicyId, name: string, signal: AbortSignal): Promise<Removed> {
  const role = await iam.getRole(name, signal)
  if (role === undefined) return { removed: 'absent' }
  if (ownerOf(role.tags, aws, policy) !== 'ours') return { removed: 'gone' }
  try {
    const { steps, foreign } = emptying({ tags: role.tags, attached: await iam.listAttached(name, signal), inlineNames: await iam.listInline(name, signal) }, digest)
    // What it may do is left whole until the role can go too.
    if (foreign.length > 0) return { removed: 'blocked', blocked: { name, foreign } }
    for (const step of steps) await take(iam, name, step, signal)
    await iam.deleteRole(name, signal)
    return { removed: 'gone' }
  } catch (error) {
    if (!(error instanceof AwsFailure)) throw error
    if (error.problem === 'missing') return { removed: 'gone' }
    if (error.problem === 'in-use') return { removed: 'blocked', blocked: { name, foreign: [], detail: error.message } }
    throw error
  }
}

export type Proof = { readonly proof: 'taken-on' } | { readonly proof: 'refused' | 'no-account'; readonly detail: string }

/** Takes the role on with a real token of the service account, as a recorder would. Rejects with a KubeError or an AwsFailure. */
export async function proveRole({ client, plane }: RoleDeps, namespace: string, serviceAccount: string, arn: string, signal: AbortSignal): Promise<Proof> {
  try {
    const answer = await client.request(`/api/v1/namespaces/${namespace}/serviceaccounts/${serviceAccount}/token`, {
      method: 'POST',
      body: { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: { audiences: [AUDIENCE], expirationSeconds: TOKEN_SECONDS } },
      signal,
    })
    await plane.assume(arn, textAt(objectAt(answer, 'status'), 'token') ?? '', signal)
    return { proof: 'taken-on' }
  } catch (error) {
    if (error instanceof KubeError && error.status === 404) return { proof: 'no-account', detail: `service account ${serviceAccount} does not exist.` }
    if (error instanceof KubeError && error.status === 403) return { proof: 'refused', detail: `No token of ${serviceAccount} could be had: ${error.message}` }
    if (error instanceof AwsFailure && ['denied', 'credentials', 'missing', 'refused'].includes(error.problem)) return { proof: 'refused', detail: `As ${serviceAccount}: ${error.message}` }
    throw error
  }
}

/** The shortest that an API server gives. */
const TOKEN_SECONDS = 600
