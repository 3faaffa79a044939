/** Watches the conditions of policies. Writes the condition Ready. */

import { createPolicyWriter } from '../controller.ts'
import type { Controller, ControllerDeps } from '../controller.ts'
import { readyCondition } from './decide.ts'

/** @param needed as for `readyCondition()` */
export function readyController(deps: ControllerDeps, needed: readonly string[]): Controller {
  const writer = createPolicyWriter(deps, 'steno-ready')
  return {
    name: 'ready',
    reconcile: async (key, signal) => {
      const entry = deps.copy.policy(key)
      if (entry !== undefined && !entry.deleting) await writer.say(entry, readyCondition(entry.object, needed), signal)
      return {}
    },
  }
}
