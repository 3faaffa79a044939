/** Watches policies, pods, and its own Roles and RoleBindings. Writes the Roles and RoleBindings `steno-connect-NAME` and `steno-view-NAME`, and the condition AccessReady. */

import { KubeError } from '../../kube/client.ts'
import { objectAt } from '../../policy/json.ts'
import { policyController } from '../controller.ts'
import type { Controller, ControllerDeps } from '../controller.ts'
import { holds } from '../../kube/apply.ts'
import { accessCondition, wantedGrants } from './decide.ts'
import type { AccessOutcome, Grant, Granted } from './decide.ts'

/** What can only be put right elsewhere is looked at again so often. */
const AGAIN_MS = 60_000

export function accessController(deps: ControllerDeps): Controller {
  return policyController('access', deps, async (entry, writer, signal) => {
    const { policy } = entry
    const pods = deps.copy.selectedPods(policy).filter(({ mark }) => mark !== undefined).map(each => each.name)

    const give = async ({ name, subjects, role, binding, roleRef }: Grant): Promise<AccessOutcome | undefined> => {
      if (subjects.length === 0) {
        await writer.remove('roleBinding', entry, name, signal)
        await writer.remove('role', entry, name, signal)
        return undefined
      }
      const bound = deps.copy.own('roleBinding', policy.namespace, name)
      // It cannot be changed, only made anew; the deletion is heard of, and leads here again.
      if (bound !== undefined && !holds(roleRef, objectAt(bound, 'roleRef'))) await writer.remove('roleBinding', entry, name, signal)
      if ((await writer.ensure('role', entry, role, signal)) === 'taken') return 'taken'
      return (await writer.ensure('roleBinding', entry, binding, signal)) === 'taken' ? 'taken' : 'granted'
    }

    const given: Granted[] = []
    for (const grant of wantedGrants(policy, pods, deps.digest)) {
      const { name } = grant
      try {
        const outcome = await give(grant)
        if (outcome !== undefined) given.push({ name, outcome, detail: '' })
      } catch (error) {
        if (!(error instanceof KubeError && error.status === 403)) throw error
        given.push({ name, outcome: /not currently held/.test(error.message) ? 'refused' : 'forbidden', detail: error.message })
      }
    }
    const condition = accessCondition(given.find(({ outcome }) => outcome !== 'granted') ?? given[0], policy.spec, pods.length)
    await writer.say(entry, condition, signal)
    return condition.status === 'False' ? { againMs: AGAIN_MS } : {}
  })
}
