/** Watches policies, pods, and its own Roles and RoleBindings. Writes the Role and RoleBinding `steno-connect-NAME`, and the condition AccessReady. */

import { KubeError } from '../../kube/client.ts'
import { objectAt } from '../../policy/json.ts'
import { policyController } from '../controller.ts'
import type { Controller, ControllerDeps } from '../controller.ts'
import { holds } from '../../kube/apply.ts'
import { accessCondition, accessName, wantedAccess } from './decide.ts'
import type { AccessOutcome } from './decide.ts'

/** What can only be put right elsewhere is looked at again so often. */
const AGAIN_MS = 60_000

export function accessController(deps: ControllerDeps): Controller {
  return policyController('access', deps, async (entry, writer, signal) => {
    const { policy } = entry
    const name = accessName(policy.name, deps.digest)
    const subjects = policy.spec.connect.length
    const pods = deps.copy.selectedPods(policy).filter(({ mark }) => mark !== undefined).map(each => each.name)
    let detail = ''
    const grant = async (): Promise<AccessOutcome> => {
      if (subjects === 0) {
        await writer.remove('roleBinding', entry, name, signal)
        await writer.remove('role', entry, name, signal)
        return 'not-asked'
      }
      const { role, binding, roleRef } = wantedAccess(policy, pods, deps.digest)
      const bound = deps.copy.own('roleBinding', policy.namespace, name)
      // It cannot be changed, only made anew; the deletion is heard of, and leads here again.
      if (bound !== undefined && !holds(roleRef, objectAt(bound, 'roleRef'))) await writer.remove('roleBinding', entry, name, signal)
      if ((await writer.ensure('role', entry, role, signal)) === 'taken') return 'taken'
      return (await writer.ensure('roleBinding', entry, binding, signal)) === 'taken' ? 'taken' : 'granted'
    }
    let outcome: AccessOutcome
    try {
      outcome = await grant()
    } catch (error) {
      if (!(error instanceof KubeError && error.status === 403)) throw error
      detail = error.message
      outcome = /not currently held/.test(detail) ? 'refused' : 'forbidden'
    }
    const condition = accessCondition(outcome, { pods: pods.length, subjects, name, detail })
    await writer.say(entry, condition, signal)
    return condition.status === 'False' ? { againMs: AGAIN_MS } : {}
  })
}
