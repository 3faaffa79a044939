/** Watches policies, pods, namespaces and nodes. Writes `status.pods` and the condition Injected. */

import { decide } from '../../inject/decide.ts'
import type { InjectorSettings } from '../../inject/settings.ts'
import type { SessionPolicy } from '../../policy/session-policy.ts'
import { createPolicyWriter } from '../controller.ts'
import type { Controller, ControllerDeps } from '../controller.ts'
import type { PodEntry } from '../pod-entry.ts'
import { coverage, podState } from './decide.ts'
import type { Counts, PodState } from './decide.ts'

export interface CoverageController extends Controller {
  /** By `namespace/name` of the policy, as last written. */
  readonly counts: ReadonlyMap<string, Counts>
}

/** @param settings as the injector has them */
export function coverageController(deps: ControllerDeps, settings: InjectorSettings): CoverageController {
  const { copy, digest } = deps
  const writer = createPolicyWriter(deps, 'steno-coverage')
  const counts = new Map<string, Counts>()
  /** A decision is made once for a pod as it is, and again when what it depends on has changed. */
  const decided = new WeakMap<PodEntry, { readonly stamp: string; readonly state: PodState }>()

  const stateOf = (entry: PodEntry, policies: readonly SessionPolicy[], stamp: string): PodState => {
    const known = decided.get(entry)
    if (known?.stamp === stamp) return known.state
    const namespace = copy.namespace(entry.namespace) ?? { name: entry.namespace, labels: {}, annotations: {} }
    const state = podState(entry, decide({ pod: entry.pod, namespace, policies, settings, oldestNodeMinor: copy.oldestNodeMinor, digest }))
    decided.set(entry, { stamp, state })
    return state
  }

  return {
    name: 'coverage',
    counts,
    reconcile: async (key, signal) => {
      const entry = copy.policy(key)
      if (entry?.policy === undefined || entry.deleting) {
        counts.delete(key)
        return {}
      }
      const { namespace } = entry.policy
      const policies = copy.policiesIn(namespace)
      const stamp = JSON.stringify([policies.map(({ uid, generation }) => [uid, generation]), copy.namespace(namespace) ?? null, copy.oldestNodeMinor ?? null])
      const pods = copy.selectedPods(entry.policy).map(pod => ({ name: pod.name, state: stateOf(pod, policies, stamp) }))
      const found = coverage(pods)
      counts.set(key, found.counts)
      await writer.say(entry, found.condition, signal, { pods: { ...found.counts } })
      return {}
    },
  }
}
