/** `/validate-pod`: what comes out of all webhooks, in a namespace that demands recording, must carry an intact recorder. */

import type { Decision } from '../inject/decide.ts'
import { sentence } from '../inject/reasons.ts'
import type { SkipReason } from '../inject/reasons.ts'
import { decideOn } from './mutate-pod.ts'
import type { PodDeps } from './mutate-pod.ts'
import type { AdmissionAnswer, AdmissionRequest } from './review.ts'

/** Nothing was to be recorded, or somebody who may decide that has decided so. */
const FINE: ReadonlySet<SkipReason> = new Set<SkipReason>(['no-policy', 'own-namespace', 'opted-out', 'deleting', 'mirror'])
const MAX_PLACES = 5

export async function validatePod(request: AdmissionRequest, deps: Pick<PodDeps, 'view' | 'settings'>, signal: AbortSignal): Promise<AdmissionAnswer> {
  if (request.operation !== 'CREATE' || request.kind !== 'Pod' || request.subResource !== '') return { allowed: true }
  const problem = problemOf(await decideOn(request, deps, signal))
  return problem === undefined ? { allowed: true, audit: { recorder: 'intact' } } : { allowed: false, message: `steno: this namespace demands recording. ${problem}`, audit: { recorder: 'missing' } }
}

function problemOf(decision: Decision): string | undefined {
  if (decision.decision === 'skip') return FINE.has(decision.reason) ? undefined : sentence(decision.reason, decision.detail)
  if (decision.reason === 'unchanged') return undefined
  if (decision.reason === 'injected') return "The pod has no recorder: the injector was not asked, or another webhook took it out. Look at the cluster's MutatingWebhookConfigurations."
  const places = [...new Set(decision.patch.map(({ path }) => path))]
  return `Another webhook changed the recorder after it was put in, at ${places.slice(0, MAX_PLACES).join(', ')}${places.length > MAX_PLACES ? ', …' : ''}. Exclude the container steno-recorder from that webhook.`
}
