/** Watches the conditions of policies. Writes the condition Ready. */

import { findCondition } from '../../kube/conditions.ts'
import { createPolicyWriter } from '../controller.ts'
import type { Controller, ControllerDeps } from '../controller.ts'
import { CONDITION, readyCondition } from './decide.ts'

/** @param needed as for `readyCondition()` */
export function readyController(deps: ControllerDeps, needed: readonly string[]): Controller {
  const writer = createPolicyWriter(deps, 'steno-ready')
  return {
    name: 'ready',
    reconcile: async (key, signal) => {
      const entry = deps.copy.policy(key)
      if (entry === undefined || entry.deleting) return {}
      const condition = readyCondition(entry.object, needed)
      // What it said of an earlier generation stands until all has been looked at: a change must not look like a failure.
      if (condition.status !== 'Unknown' || findCondition(entry.object, CONDITION) === undefined) await writer.say(entry, condition, signal)
      return {}
    },
  }
}
