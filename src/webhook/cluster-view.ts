/** What decisions need to know of the cluster: namespaces, policies, the versions of nodes. From memory; the API server is asked only about a namespace that is not known yet. */

import { kubeletMinor, namespaceFacts } from '../inject/cluster-facts.ts'
import type { NamespaceFacts } from '../inject/decide.ts'
import type { KubeClient } from '../kube/client.ts'
import { createReflector } from '../kube/reflector.ts'
import type { Reflector } from '../kube/reflector.ts'
import type { Clock } from '../platform/clock.ts'
import type { Log } from '../platform/log.ts'
import { objectsAt, textAt } from '../policy/json.ts'
import type { JsonObject } from '../policy/json.ts'
import { parsePolicy } from '../policy/parse-policy.ts'
import { problemText } from '../policy/problem.ts'
import { GROUP, KIND, PLURAL, VERSION } from '../policy/session-policy.ts'
import type { SessionPolicy } from '../policy/session-policy.ts'

export interface NamespaceView {
  readonly namespace: NamespaceFacts
  readonly policies: readonly SessionPolicy[]
}

export interface ClusterView {
  start(): void
  stop(): Promise<void>
  readonly synced: Promise<unknown>
  readonly isSynced: boolean
  /** Rejects with a KubeError when the namespace is not in memory and cannot be read. */
  namespace(name: string, signal: AbortSignal): Promise<NamespaceView>
  /** Minor version of the oldest kubelet on Linux. */
  readonly oldestNodeMinor: number | undefined
  /** ms since each copy was last known to be current, by kind. */
  readonly blindMs: Readonly<Record<'namespaces' | 'policies' | 'nodes', number>>
}

export interface ClusterViewOptions {
  readonly client: KubeClient
  readonly clock: Clock
  readonly log: Log
  readonly random: () => number
  /** As for a reflector. */
  readonly quietMs?: number
  readonly maxWaitMs?: number
}

const POLICIES = `/apis/${GROUP}/${VERSION}/${PLURAL}`

export function createClusterView(options: ClusterViewOptions): ClusterView {
  const { client, log } = options
  const keepPolicy = (object: JsonObject): SessionPolicy | undefined => {
    const parsed = parsePolicy({ apiVersion: `${GROUP}/${VERSION}`, kind: KIND, ...object })
    if ('policy' in parsed) return parsed.policy
    // The API server let it pass: its CRD is older or newer than this program.
    log.error('a SessionPolicy cannot be read and selects nothing', { code: 'policy.invalid', namespace: textAt(object['metadata'], 'namespace'), name: textAt(object['metadata'], 'name'), reason: parsed.problems.map(problemText).join('; ').slice(0, 500) })
    return undefined
  }
  const namespaces: Reflector<NamespaceFacts> = createReflector({ ...options, path: '/api/v1/namespaces', keep: namespaceFacts })
  const policies: Reflector<SessionPolicy> = createReflector({ ...options, path: POLICIES, keep: keepPolicy })
  const nodes: Reflector<number> = createReflector({ ...options, path: '/api/v1/nodes', keep: kubeletMinor })
  const all = [namespaces, policies, nodes] as const

  return {
    start: () => all.forEach(each => each.start()),
    stop: async () => void (await Promise.all(all.map(async each => await each.stop()))),
    synced: Promise.all(all.map(async each => await each.synced)),
    get isSynced() {
      return all.every(each => each.isSynced)
    },
    namespace: async (name, signal) => {
      const known = namespaces.get(name)
      if (known !== undefined && policies.isSynced) return { namespace: known, policies: [...policies.all()].filter(each => each.namespace === name) }
      // Made a moment ago, perhaps together with its policies and pods.
      const [namespace, list] = await Promise.all([client.request(`/api/v1/namespaces/${encodeURIComponent(name)}`, { signal }), client.request(`/apis/${GROUP}/${VERSION}/namespaces/${encodeURIComponent(name)}/${PLURAL}`, { signal })])
      return { namespace: namespaceFacts(namespace), policies: objectsAt(list, 'items').flatMap(each => keepPolicy(each) ?? []) }
    },
    get oldestNodeMinor() {
      let oldest: number | undefined
      for (const minor of nodes.all()) oldest = oldest === undefined ? minor : Math.min(oldest, minor)
      return oldest
    },
    get blindMs() {
      return { namespaces: namespaces.blindMs, policies: policies.blindMs, nodes: nodes.blindMs }
    },
  }
}
