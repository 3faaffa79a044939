/** Watches policies, pods and NetworkPolicies. Writes the NetworkPolicy `steno-network-NAME`, and the condition NetworkReady. */

import { policyController } from '../controller.ts'
import type { Controller, ControllerDeps } from '../controller.ts'
import { CONDITION, networkName, planNetwork } from './decide.ts'

const TAKEN_AGAIN_MS = 60_000

export function networkController(deps: ControllerDeps): Controller {
  return policyController('network', deps, async (entry, writer, signal) => {
    const { policy } = entry
    const name = networkName(policy.name, deps.digest)
    const policies = deps.copy.entriesIn(policy.namespace).map(({ key }) => key.slice(key.indexOf('/') + 1))
    const plan = planNetwork(policy, deps.copy.selectedPods(policy), deps.copy.networkPolicies(policy.namespace), policies, deps.digest)
    if (plan.plan === 'none') {
      await writer.remove('networkPolicy', entry, name, signal)
      await writer.say(entry, plan.condition, signal)
      return {}
    }
    const taken = (await writer.ensure('networkPolicy', entry, plan.object, signal)) === 'taken'
    await writer.say(entry, taken ? { type: CONDITION, status: 'False', reason: 'NameTaken', message: `NetworkPolicy ${name} exists and is not Steno's. Rename or delete it.` } : plan.condition, signal)
    return taken ? { againMs: TAKEN_AGAIN_MS } : {}
  })
}
