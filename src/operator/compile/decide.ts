/** The ConfigMap of a policy, and what there is to say about it. Pure. */

import type { Applied } from '../../kube/apply.ts'
import type { Condition } from '../../kube/conditions.ts'
import { compilePolicy, POLICY_FILE } from '../../policy/compile.ts'
import type { JsonObject } from '../../policy/json.ts'
import { configMapName } from '../../policy/own-name.ts'
import { problemText } from '../../policy/problem.ts'
import type { Problem } from '../../policy/problem.ts'
import type { SessionPolicy } from '../../policy/session-policy.ts'
import { HASH_ANNOTATION, ownMetadata } from '../marks.ts'

export const CONDITION = 'PolicyReady'

export function wantedConfigMap(policy: SessionPolicy, digest: (text: string) => string): { readonly object: JsonObject; readonly hash: string } {
  const { text, hash } = compilePolicy(policy, digest)
  return { object: { metadata: ownMetadata(policy, configMapName(policy.name, digest), { [HASH_ANNOTATION]: hash }), data: { [POLICY_FILE]: text } }, hash }
}

export function compiledCondition(applied: Applied, name: string): Condition {
  return applied === 'taken'
    ? { type: CONDITION, status: 'False', reason: 'NameTaken', message: `ConfigMap ${name} exists and is not Steno's. Rename or delete it.` }
    : { type: CONDITION, status: 'True', reason: 'Compiled', message: `ConfigMap ${name} holds the policy as recorders read it.` }
}

export function unreadableCondition(problems: readonly Problem[]): Condition {
  return { type: CONDITION, status: 'False', reason: 'Unreadable', message: `This version of Steno cannot read the policy, which has no effect: ${problems.map(problemText).join('; ')}. Install the CRD and the operator of the same version.` }
}
