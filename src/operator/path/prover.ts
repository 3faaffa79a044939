/** Runs the proof: a pod like those of a policy, through all webhooks, kept nowhere. */

import { decide } from '../../inject/decide.ts'
import type { InjectorSettings } from '../../inject/settings.ts'
import { KubeError } from '../../kube/client.ts'
import type { SessionPolicy } from '../../policy/session-policy.ts'
import type { ControllerDeps } from '../controller.ts'
import { judgeExpected, judgePod, judgeRefusal, probePod } from './decide.ts'
import type { Probe } from './decide.ts'

/** Rejects with a KubeError when the API server could not be asked. */
export type Prove = (policy: SessionPolicy, signal: AbortSignal) => Promise<Probe>

/** @param settings as the injector has them */
export function createProver({ client, copy, digest }: Pick<ControllerDeps, 'client' | 'copy' | 'digest'>, settings: InjectorSettings): Prove {
  return async (policy, signal) => {
    const policies = copy.policiesIn(policy.namespace)
    const pod = probePod(policy, policies, settings.image)
    if (pod === undefined) return { probe: 'unfit', detail: 'The selector contradicts itself: there is no pod that it selects.' }
    const namespace = copy.namespace(policy.namespace) ?? { name: policy.namespace, labels: {}, annotations: {} }
    const unfit = judgeExpected(decide({ pod, namespace, policies, settings, oldestNodeMinor: copy.oldestNodeMinor, digest }))
    if (unfit !== undefined) return unfit
    try {
      return judgePod(await client.request(`/api/v1/namespaces/${policy.namespace}/pods?dryRun=All`, { method: 'POST', body: pod, signal }))
    } catch (error) {
      const judged = error instanceof KubeError ? judgeRefusal(error.status, error.message) : undefined
      if (judged === undefined) throw error
      return judged
    }
  }
}
