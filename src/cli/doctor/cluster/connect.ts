/** How a person's or a pod's credentials reach the cluster, as kubectl finds it: --kubeconfig, KUBECONFIG, the pod's own service account, ~/.kube/config. */

import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'

import { StenoError } from '../../../errors.ts'
import { clusterFromKubeconfig, clusterFromPod } from '../../../kube/cluster.ts'
import type { Cluster } from '../../../kube/cluster.ts'
import { setTo } from '../../../platform/aws/credentials.ts'
import { nowMs } from '../../io.ts'
import type { CliIo } from '../../io.ts'

export interface Connection {
  readonly cluster: Cluster
  /** Services of the cluster can be reached by their names. */
  readonly inPod: boolean
}

/** Rejects with `config.invalid`, or with `usage.invalid` when there is nothing to reach a cluster by. */
export async function connect({ kubeconfig, context }: { readonly kubeconfig?: string | undefined; readonly context?: string | undefined }, io: CliIo): Promise<Connection> {
  const inPod = setTo(io.env['KUBERNETES_SERVICE_HOST']) !== undefined
  const home = setTo(io.env['HOME'])
  const listed = (io.env['KUBECONFIG'] ?? '').split(delimiter).find(each => each !== '' && existsSync(each))
  const usual = home === undefined ? undefined : join(home, '.kube', 'config')
  const file = kubeconfig ?? listed ?? (!inPod && usual !== undefined && existsSync(usual) ? usual : undefined)
  if (file !== undefined) return { cluster: await clusterFromKubeconfig(file, { context, exec: { env: io.env, now: () => nowMs(io) } }), inPod }
  if (!inPod) {
    const named = setTo(io.env['KUBECONFIG'])
    throw new StenoError('usage.invalid', `no cluster to look at: there is no ~/.kube/config, and ${named === undefined ? 'KUBECONFIG is not set' : `KUBECONFIG names no file that exists (${named})`}; give --kubeconfig FILE`)
  }
  if (context !== undefined) throw new StenoError('usage.invalid', '--context is of a kubeconfig, and there is none; give --kubeconfig FILE')
  return { cluster: await clusterFromPod(io.env), inPod }
}
