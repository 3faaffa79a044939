/** The calls to IAM that Steno makes, and no others: hack/aws/ grants exactly these. Each rejects with an AwsFailure. */

import type { IAMClient } from '@aws-sdk/client-iam'

import type { Call } from './control-plane.ts'
import { orNone } from './failure.ts'

export interface IamRole {
  readonly arn: string
  /** JSON. */
  readonly trust: string
  /** ARN of its permissions boundary. */
  readonly boundary: string | undefined
  readonly tags: Readonly<Record<string, string>>
}

export interface NewRole extends Omit<IamRole, 'arn'> {
  readonly name: string
  readonly path: string
  readonly description: string
  readonly boundary: string
}

export interface IamCalls {
  /** @returns undefined when there is none */
  getRole(name: string, signal: AbortSignal): Promise<IamRole | undefined>
  createRole(role: NewRole, signal: AbortSignal): Promise<void>
  updateTrust(name: string, trust: string, signal: AbortSignal): Promise<void>
  tagRole(name: string, tags: Readonly<Record<string, string>>, signal: AbortSignal): Promise<void>
  deleteRole(name: string, signal: AbortSignal): Promise<void>
  listInline(name: string, signal: AbortSignal): Promise<readonly string[]>
  /** @returns JSON; undefined when there is none */
  getInline(name: string, policy: string, signal: AbortSignal): Promise<string | undefined>
  putInline(name: string, policy: string, document: string, signal: AbortSignal): Promise<void>
  deleteInline(name: string, policy: string, signal: AbortSignal): Promise<void>
  /** ARNs. */
  listAttached(name: string, signal: AbortSignal): Promise<readonly string[]>
  attach(name: string, policyArn: string, signal: AbortSignal): Promise<void>
  detach(name: string, policyArn: string, signal: AbortSignal): Promise<void>
}

/** A role has at most 20 managed policies, and inline ones of 10,240 characters together. */
const MAX_PAGES = 10

type Sdk = typeof import('@aws-sdk/client-iam')

export function createIamCalls(call: Call<IAMClient>): IamCalls {
  const sdk = async (): Promise<Sdk> => await import('@aws-sdk/client-iam')
  const list = async <T>(action: string, signal: AbortSignal, page: (client: IAMClient, marker: { readonly Marker?: string }, options: { readonly abortSignal: AbortSignal }) => Promise<{ readonly items: readonly T[]; readonly Marker: string | undefined }>): Promise<readonly T[]> => {
    const all: T[] = []
    let marker: string | undefined
    for (let pages = 0; pages < MAX_PAGES; pages++) {
      const from = marker === undefined ? {} : { Marker: marker }
      const { items, Marker } = await call(action, signal, async (client, options) => await page(client, from, options))
      all.push(...items)
      if (Marker === undefined) return all
      marker = Marker
    }
    return all
  }
  return {
    getRole: async (name, signal) =>
      await orNone(async () => {
        const { GetRoleCommand } = await sdk()
        const { Role } = await call('iam:GetRole', signal, async (client, options) => await client.send(new GetRoleCommand({ RoleName: name }), options))
        return { arn: Role?.Arn ?? '', trust: decoded(Role?.AssumeRolePolicyDocument), boundary: Role?.PermissionsBoundary?.PermissionsBoundaryArn, tags: Object.fromEntries((Role?.Tags ?? []).map(({ Key, Value }) => [Key ?? '', Value ?? ''])) }
      }),
    createRole: async ({ name, path, description, trust, boundary, tags }, signal) => {
      const { CreateRoleCommand } = await sdk()
      await call('iam:CreateRole', signal, async (client, options) => await client.send(new CreateRoleCommand({ RoleName: name, Path: path, Description: description, AssumeRolePolicyDocument: trust, PermissionsBoundary: boundary, Tags: tagList(tags) }), options))
    },
    updateTrust: async (name, trust, signal) => {
      const { UpdateAssumeRolePolicyCommand } = await sdk()
      await call('iam:UpdateAssumeRolePolicy', signal, async (client, options) => await client.send(new UpdateAssumeRolePolicyCommand({ RoleName: name, PolicyDocument: trust }), options))
    },
    tagRole: async (name, tags, signal) => {
      const { TagRoleCommand } = await sdk()
      await call('iam:TagRole', signal, async (client, options) => await client.send(new TagRoleCommand({ RoleName: name, Tags: tagList(tags) }), options))
    },
    deleteRole: async (name, signal) => {
      const { DeleteRoleCommand } = await sdk()
      await orNone(async () => void (await call('iam:DeleteRole', signal, async (client, options) => await client.send(new DeleteRoleCommand({ RoleName: name }), options))))
    },
    listInline: async (name, signal) => {
      const { ListRolePoliciesCommand } = await sdk()
      return await list('iam:ListRolePolicies', signal, async (client, marker, options) => {
        const { PolicyNames = [], Marker } = await client.send(new ListRolePoliciesCommand({ RoleName: name, ...marker }), options)
        return { items: PolicyNames, Marker }
      })
    },
    getInline: async (name, policy, signal) =>
      await orNone(async () => {
        const { GetRolePolicyCommand } = await sdk()
        const { PolicyDocument } = await call('iam:GetRolePolicy', signal, async (client, options) => await client.send(new GetRolePolicyCommand({ RoleName: name, PolicyName: policy }), options))
        return decoded(PolicyDocument)
      }),
    putInline: async (name, policy, document, signal) => {
      const { PutRolePolicyCommand } = await sdk()
      await call('iam:PutRolePolicy', signal, async (client, options) => await client.send(new PutRolePolicyCommand({ RoleName: name, PolicyName: policy, PolicyDocument: document }), options))
    },
    deleteInline: async (name, policy, signal) => {
      const { DeleteRolePolicyCommand } = await sdk()
      await orNone(async () => void (await call('iam:DeleteRolePolicy', signal, async (client, options) => await client.send(new DeleteRolePolicyCommand({ RoleName: name, PolicyName: policy }), options))))
    },
    listAttached: async (name, signal) => {
      const { ListAttachedRolePoliciesCommand } = await sdk()
      return await list('iam:ListAttachedRolePolicies', signal, async (client, marker, options) => {
        const { AttachedPolicies = [], Marker } = await client.send(new ListAttachedRolePoliciesCommand({ RoleName: name, ...marker }), options)
        return { items: AttachedPolicies.map(({ PolicyArn }) => PolicyArn ?? ''), Marker }
      })
    },
    attach: async (name, policyArn, signal) => {
      const { AttachRolePolicyCommand } = await sdk()
      await call('iam:AttachRolePolicy', signal, async (client, options) => await client.send(new AttachRolePolicyCommand({ RoleName: name, PolicyArn: policyArn }), options))
    },
    detach: async (name, policyArn, signal) => {
      const { DetachRolePolicyCommand } = await sdk()
      await orNone(async () => void (await call('iam:DetachRolePolicy', signal, async (client, options) => await client.send(new DetachRolePolicyCommand({ RoleName: name, PolicyArn: policyArn }), options))))
    },
  }
}

/** Documents come percent-encoded (RFC 3986). */
function decoded(document: string | undefined): string {
  try {
    return decodeURIComponent(document ?? '')
  } catch {
    return document ?? ''
  }
}

function tagList(tags: Readonly<Record<string, string>>): { readonly Key: string; readonly Value: string }[] {
  return Object.entries(tags).map(([Key, Value]) => ({ Key, Value }))
}
