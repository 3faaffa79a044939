/** The real operator, in this process, on a real API server. Counts what it writes. */

import { createKubeClient } from '../../src/kube/client.ts'
import type { KubeClient, RequestOptions } from '../../src/kube/client.ts'
import type { Cluster } from '../../src/kube/cluster.ts'
import { findCondition } from '../../src/kube/conditions.ts'
import { startOperator } from '../../src/operator/operator.ts'
import type { Operator, OperatorOptions } from '../../src/operator/operator.ts'
import { systemClock } from '../../src/platform/clock.ts'
import { createLog } from '../../src/platform/log.ts'
import { numberAt, textAt } from '../../src/policy/json.ts'
import type { Json, JsonObject } from '../../src/policy/json.ts'
import { KubeError } from '../../src/kube/client.ts'
import { settings } from './golden-pods.ts'
import { closeAtTheEnd } from './leftovers.ts'
import { until } from './kube-apiserver.ts'

export interface OperatorUnderTest extends Operator {
  /** `METHOD path` of each write, leases and Events apart. */
  readonly writes: string[]
  readonly log: () => string
  readonly metrics: () => Promise<string>
  readonly ready: () => Promise<number>
  /** Decides about each request before it is sent; a rejection is what the operator sees. */
  before: ((path: string, options: RequestOptions) => Promise<void>) | undefined
  /** The same when the API server has answered, before the operator hears it. */
  after: ((path: string, options: RequestOptions) => Promise<void>) | undefined
}

export async function startOperatorFor(cluster: Cluster, options: Partial<OperatorOptions> = {}): Promise<OperatorUnderTest> {
  const plain = createKubeClient(cluster)
  const writes: string[] = []
  let logged = ''
  const hooks: Pick<OperatorUnderTest, 'before' | 'after'> = { before: undefined, after: undefined }
  const client: KubeClient = {
    ...plain,
    request: async (path, request = {}) => {
      await hooks.before?.(path, request)
      const method = request.method ?? 'GET'
      if (method !== 'GET' && !path.includes('/leases') && !path.includes('/events')) writes.push(`${method} ${path.split('?')[0] ?? ''}`)
      const answer = await plain.request(path, request)
      await hooks.after?.(path, request)
      return answer
    },
  }
  const operator = await startOperator({
    admin: { host: '127.0.0.1', port: 0 },
    client,
    namespace: 'steno-system',
    settings: settings(),
    instance: 'test',
    clock: systemClock,
    log: createLog({ level: 'info', write: line => void (logged += line), now: Date.now }),
    random: Math.random,
    election: { leaseMs: 1500, renewMs: 1000, retryMs: 100 },
    reflector: { maxWaitMs: 500 },
    drainMs: 1000,
    ...options,
  })
  const stop = async (): Promise<void> => {
    await operator.stop()
    await plain.close()
  }
  closeAtTheEnd(stop)
  return {
    ...operator,
    stop,
    writes,
    get before() {
      return hooks.before
    },
    set before(hook) {
      hooks.before = hook
    },
    get after() {
      return hooks.after
    },
    set after(hook) {
      hooks.after = hook
    },
    log: () => logged,
    metrics: async () => await (await fetch(`http://127.0.0.1:${operator.adminPort}/metrics`)).text(),
    ready: async () => (await fetch(`http://127.0.0.1:${operator.adminPort}/readyz`)).status,
  }
}

export interface Policies {
  put(namespace: string, name: string, spec: Json): Promise<void>
  get(namespace: string, name: string): Promise<JsonObject>
  /** Waits until the condition speaks of the newest generation and says so. @returns its message */
  says(namespace: string, name: string, type: string, reason: string): Promise<string>
}

export function policiesOf(client: KubeClient): Policies {
  const path = (namespace: string, name: string): string => `/apis/steno.dev/v1alpha1/namespaces/${namespace}/sessionpolicies/${name}`
  const get = async (namespace: string, name: string): Promise<JsonObject> => await client.request(path(namespace, name))
  return {
    put: async (namespace, name, spec) =>
      void (await client.request(`${path(namespace, name)}?fieldManager=admin&force=true`, { method: 'PATCH', contentType: 'application/apply-patch+yaml', body: { apiVersion: 'steno.dev/v1alpha1', kind: 'SessionPolicy', metadata: { name }, spec } })),
    get,
    says: async (namespace, name, type, reason) => {
      let last: JsonObject | undefined
      try {
        await until(async () => {
          const policy = await get(namespace, name)
          last = findCondition(policy, type)
          return last?.['reason'] === reason && numberAt(last, 'observedGeneration') === numberAt(policy['metadata'], 'generation')
        }, 15_000)
      } catch (error) {
        throw new Error(`${namespace}/${name} does not say ${type} ${reason}, but ${JSON.stringify(last)}`, { cause: error })
      }
      return textAt(last, 'message') ?? ''
    },
  }
}

/** The object, or undefined where there is none. */
export async function found(client: KubeClient, path: string): Promise<JsonObject | undefined> {
  try {
    return await client.request(path)
  } catch (error) {
    if (error instanceof KubeError && error.status === 404) return undefined
    throw error
  }
}
