/** The calls to EKS that Steno makes, and no others: access entries, which map an IAM role to groups of the cluster. Each rejects with an AwsFailure. */

import type { EKSClient } from '@aws-sdk/client-eks'

import type { Call } from './control-plane.ts'
import { orNone } from './failure.ts'

export interface AccessEntry {
  /** ARN of the IAM role. */
  readonly principal: string
  readonly groups: readonly string[]
  readonly tags: Readonly<Record<string, string>>
}

export interface EksCalls {
  /** @returns undefined when there is none */
  getEntry(cluster: string, principal: string, signal: AbortSignal): Promise<AccessEntry | undefined>
  createEntry(cluster: string, entry: AccessEntry, signal: AbortSignal): Promise<void>
  updateGroups(cluster: string, principal: string, groups: readonly string[], signal: AbortSignal): Promise<void>
  deleteEntry(cluster: string, principal: string, signal: AbortSignal): Promise<void>
}

export function createEksCalls(call: Call<EKSClient>): EksCalls {
  const sdk = async (): Promise<typeof import('@aws-sdk/client-eks')> => await import('@aws-sdk/client-eks')
  return {
    getEntry: async (cluster, principal, signal) =>
      await orNone(async () => {
        const { DescribeAccessEntryCommand } = await sdk()
        const { accessEntry } = await call('eks:DescribeAccessEntry', signal, async (client, options) => await client.send(new DescribeAccessEntryCommand({ clusterName: cluster, principalArn: principal }), options))
        return { principal, groups: accessEntry?.kubernetesGroups ?? [], tags: accessEntry?.tags ?? {} }
      }),
    createEntry: async (cluster, { principal, groups, tags }, signal) => {
      const { CreateAccessEntryCommand } = await sdk()
      await call('eks:CreateAccessEntry', signal, async (client, options) => await client.send(new CreateAccessEntryCommand({ clusterName: cluster, principalArn: principal, kubernetesGroups: [...groups], tags: { ...tags }, type: 'STANDARD' }), options))
    },
    updateGroups: async (cluster, principal, groups, signal) => {
      const { UpdateAccessEntryCommand } = await sdk()
      await call('eks:UpdateAccessEntry', signal, async (client, options) => await client.send(new UpdateAccessEntryCommand({ clusterName: cluster, principalArn: principal, kubernetesGroups: [...groups] }), options))
    },
    deleteEntry: async (cluster, principal, signal) => {
      const { DeleteAccessEntryCommand } = await sdk()
      await orNone(async () => void (await call('eks:DeleteAccessEntry', signal, async (client, options) => await client.send(new DeleteAccessEntryCommand({ clusterName: cluster, principalArn: principal }), options))))
    },
  }
}
