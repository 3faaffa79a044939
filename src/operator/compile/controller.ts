/** Watches policies and their ConfigMaps. Writes the ConfigMap `steno-policy-NAME`, the condition PolicyReady, `status.hash` and `status.observedGeneration`. */

import { textAt } from '../../policy/json.ts'
import { createPolicyWriter } from '../controller.ts'
import type { Controller, ControllerDeps } from '../controller.ts'
import { compiledCondition, unreadableCondition, wantedConfigMap } from './decide.ts'

export function compileController(deps: ControllerDeps): Controller {
  const writer = createPolicyWriter(deps, 'steno-compile')
  return {
    name: 'compile',
    reconcile: async (key, signal) => {
      const entry = deps.copy.policy(key)
      if (entry === undefined || entry.deleting) return {}
      if (entry.policy === undefined) {
        await writer.say(entry, unreadableCondition(entry.problems), signal)
        return {}
      }
      const { object, hash } = wantedConfigMap(entry.policy, deps.digest)
      const applied = await writer.ensure('configMap', entry, object, signal)
      const condition = compiledCondition(applied, textAt(object['metadata'], 'name') ?? '')
      await writer.say(entry, condition, signal, applied === 'taken' ? {} : { hash, observedGeneration: entry.policy.generation })
      // A stranger's object is not watched: look whether it is still there.
      return applied === 'taken' ? { againMs: TAKEN_AGAIN_MS } : {}
    },
  }
}

const TAKEN_AGAIN_MS = 60_000
