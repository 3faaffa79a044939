/** Watches policies and pods. Writes the condition Effective. */

import { policyController } from '../controller.ts'
import type { Controller, ControllerDeps } from '../controller.ts'
import { overlapCondition } from './decide.ts'

export function overlapController(deps: ControllerDeps): Controller {
  return policyController('overlap', deps, async (entry, writer, signal) => {
    const { policy } = entry
    await writer.say(entry, overlapCondition(policy, deps.copy.selectedPods(policy), deps.copy.policiesIn(policy.namespace)), signal)
    return {}
  })
}
