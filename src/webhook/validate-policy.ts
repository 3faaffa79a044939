/** `/validate-policy`: what the schema and CEL cannot say of a SessionPolicy, because it depends on the installation or on other policies. */

import type { InjectorSettings } from '../inject/settings.ts'
import { mergePolicies } from '../policy/merge.ts'
import { parsePolicy } from '../policy/parse-policy.ts'
import { problemText } from '../policy/problem.ts'
import type { SessionPolicy } from '../policy/session-policy.ts'
import type { ClusterView } from './cluster-view.ts'
import type { AdmissionAnswer, AdmissionRequest } from './review.ts'

export async function validatePolicy(request: AdmissionRequest, { view, settings }: { readonly view: ClusterView; readonly settings: InjectorSettings }, signal: AbortSignal): Promise<AdmissionAnswer> {
  if (request.operation !== 'CREATE' && request.operation !== 'UPDATE') return { allowed: true }
  const parsed = parsePolicy(request.object)
  if ('problems' in parsed) return { allowed: false, message: `steno: ${parsed.problems.map(problemText).join('; ')}` }
  const { policy } = parsed
  if (policy.spec.durability === 'OffPod' && policy.spec.sink === undefined && !('firehose' in settings.sink)) {
    return { allowed: false, message: 'steno: durability OffPod needs a sink off the pod, and the one of this installation is a volume: give spec.sink.firehose' }
  }
  if (request.namespace === settings.namespace) return { allowed: true, warnings: ['steno: nothing in the namespace of the installation is recorded; this policy selects nothing'] }
  const others = (await view.namespace(request.namespace, signal)).policies.filter(({ name }) => name !== policy.name)
  return { allowed: true, warnings: warningsOf(policy, others) }
}

function warningsOf(policy: SessionPolicy, others: readonly SessionPolicy[]): string[] {
  const { matchLabels, matchExpressions } = policy.spec.selector
  const everything = Object.keys(matchLabels).length === 0 && matchExpressions.length === 0
  const differing = others.filter(other => mergePolicies([other, policy]).conflicts.includes('sink')).map(({ name }) => name)
  return [
    ...(everything ? ['steno: the empty selector selects every pod of the namespace'] : []),
    ...(differing.length === 0 ? [] : [`steno: other policies name other sinks: ${differing.join(', ')}. Where they select the same pod, the first by name wins`.slice(0, 250)]),
  ]
}
