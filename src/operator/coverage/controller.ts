/** Watches policies, pods, namespaces and nodes. Writes `status.pods` and the condition Injected. */

import { createPolicyWriter } from '../controller.ts'
import type { Controller, ControllerDeps } from '../controller.ts'
import { coverage } from './decide.ts'
import type { Counts } from './decide.ts'
import type { PodStates } from './pod-states.ts'

export interface CoverageController extends Controller {
  /** By `namespace/name` of the policy, as last written. */
  readonly counts: ReadonlyMap<string, Counts>
}

export function coverageController(deps: ControllerDeps, states: PodStates): CoverageController {
  const writer = createPolicyWriter(deps, 'steno-coverage')
  const counts = new Map<string, Counts>()
  return {
    name: 'coverage',
    counts,
    reconcile: async (key, signal) => {
      const entry = deps.copy.policy(key)
      if (entry?.policy === undefined || entry.deleting) {
        counts.delete(key)
        return {}
      }
      const found = coverage(states(entry.policy).map(({ pod, state }) => ({ name: pod.name, state })))
      counts.set(key, found.counts)
      await writer.say(entry, found.condition, signal, { pods: { ...found.counts } })
      return {}
    },
  }
}
