/** Whether what a policy says is what holds for its pods, where others select them too. Pure. */

import type { Condition } from '../../kube/conditions.ts'
import { mergePolicies } from '../../policy/merge.ts'
import { selecting } from '../../policy/select.ts'
import type { SessionPolicy } from '../../policy/session-policy.ts'
import type { PodEntry } from '../pod-entry.ts'

export const CONDITION = 'Effective'
const MAX_NAMED = 3

function some(names: Iterable<string>): string {
  const sorted = [...names].toSorted()
  return sorted.length <= MAX_NAMED ? sorted.join(', ') : `${sorted.slice(0, MAX_NAMED).join(', ')}, …`
}

/** Fields of which another value holds than this policy's. Of `Auto` any other is what it stands for, until another policy says which. */
function overruled({ spec }: SessionPolicy, together: readonly SessionPolicy[]): readonly string[] {
  const effective = mergePolicies(together)
  const same = (field: 'capture' | 'durability' | 'onFailure' | 'optOut'): boolean => effective[field] === spec[field]
  const sameSink = effective.sink?.stream === spec.sink?.stream && effective.sink?.region === spec.sink?.region
  return [...(['capture', 'durability', 'onFailure', 'optOut'] as const).filter(field => !same(field)), ...(sameSink ? [] : ['sink'])]
}

/** @param pods that the policy selects @param policies all of the namespace */
export function overlapCondition(policy: SessionPolicy, pods: readonly Pick<PodEntry, 'name' | 'labels'>[], policies: readonly SessionPolicy[]): Condition {
  const say = (status: Condition['status'], reason: string, message: string): Condition => ({ type: CONDITION, status, reason, message })
  const others = new Set<string>()
  const shared: string[] = []
  const fields = new Set<string>()
  for (const { name, labels } of pods) {
    const together = selecting(policies, labels)
    if (together.length < 2) continue
    shared.push(name)
    for (const each of together) if (each.name !== policy.name) others.add(each.name)
    for (const field of overruled(policy, together)) fields.add(field)
  }
  if (shared.length === 0) return say('True', 'AsWritten', 'What the policy says holds for all its pods.')
  const who = `${shared.length} of its pods (${some(shared)}) are selected by ${some(others)} too`
  return fields.size === 0
    ? say('True', 'Agreed', `${who}. Their ports and subjects are joined; nothing that this policy says is overruled.`)
    : say('False', 'Overruled', `${who}, and there another value of ${[...fields].toSorted().join(', ')} holds than this policy's: the strictest, or of sinks that of the first policy by name. Let the policies say the same, or their selectors exclude each other.`)
}
