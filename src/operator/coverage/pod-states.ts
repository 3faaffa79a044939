/** How each pod of a policy stands. A decision is made once for pods that are alike, and again when what it depends on has changed. */

import { decide } from '../../inject/decide.ts'
import type { InjectorSettings } from '../../inject/settings.ts'
import type { SessionPolicy } from '../../policy/session-policy.ts'
import type { ControllerDeps } from '../controller.ts'
import type { PodEntry, PodShape } from '../pod-entry.ts'
import { podState } from './decide.ts'
import type { PodState } from './decide.ts'

export interface PodStanding {
  readonly pod: PodEntry
  readonly state: PodState
}

export type PodStates = (policy: SessionPolicy) => readonly PodStanding[]

/** @param settings as the injector has them */
export function createPodStates({ copy, digest }: Pick<ControllerDeps, 'copy' | 'digest'>, settings: InjectorSettings): PodStates {
  const decided = new WeakMap<PodShape, { readonly stamp: string; readonly state: PodState }>()

  return policy => {
    const { namespace } = policy
    const policies = copy.policiesIn(namespace)
    const facts = copy.namespace(namespace) ?? { name: namespace, labels: {}, annotations: {} }
    const stamp = JSON.stringify([policies.map(({ uid, generation }) => [uid, generation]), facts, copy.oldestNodeMinor ?? null])
    return copy.selectedPods(policy).map(pod => {
      const known = decided.get(pod.shape)
      if (known?.stamp === stamp) return { pod, state: known.state }
      const state = podState(pod, decide({ pod: pod.pod, namespace: facts, policies, settings, oldestNodeMinor: copy.oldestNodeMinor, digest }))
      decided.set(pod.shape, { stamp, state })
      return { pod, state }
    })
  }
}
