/** `/mutate-pod`: a pod gets its recorder, or a reason why not. Always lets the pod in. */

import { decide } from '../inject/decide.ts'
import type { Decision } from '../inject/decide.ts'
import { ownerOf } from '../inject/pod-facts.ts'
import { isToldOf, sentence } from '../inject/reasons.ts'
import type { InjectorSettings } from '../inject/settings.ts'
import type { EventRecorder } from '../kube/events.ts'
import { shortDigest } from '../platform/digest.ts'
import type { AdmissionAnswer, AdmissionRequest } from './review.ts'
import type { ClusterView } from './cluster-view.ts'
import type { WebhookMetrics } from './metrics.ts'

export interface PodDeps {
  readonly view: ClusterView
  readonly settings: InjectorSettings
  readonly metrics: WebhookMetrics
  readonly events: EventRecorder
}

/** Rejects when the namespace is unknown and cannot be read within the signal: the API server then does as failurePolicy says. */
export async function decideOn(request: AdmissionRequest, { view, settings }: Pick<PodDeps, 'view' | 'settings'>, signal: AbortSignal): Promise<Decision> {
  // The pod's own namespace field may be empty; the request's is not.
  const known = await view.namespace(request.namespace, signal)
  return decide({ pod: request.object, ...known, settings, oldestNodeMinor: view.oldestNodeMinor, digest: shortDigest })
}

export async function mutatePod(request: AdmissionRequest, deps: PodDeps, signal: AbortSignal): Promise<AdmissionAnswer> {
  if (request.operation !== 'CREATE' || request.kind !== 'Pod' || request.subResource !== '') return { allowed: true }
  const decision = await decideOn(request, deps, signal)
  deps.metrics.decided(decision.decision, decision.reason)
  const told = isToldOf(decision.reason)
  const text = sentence(decision.reason, decision.detail)
  // A dry run leaves no trace but its answer.
  if (told && !request.dryRun) tellOwner(request, decision, text, deps.events)
  return {
    allowed: true,
    patch: decision.patch,
    warnings: [...(told && decision.decision === 'skip' ? [`steno: not recorded (${decision.reason}): ${text}`.slice(0, 250)] : []), ...decision.warnings.map(each => `steno: ${each}`)],
    audit: { decision: decision.decision, reason: decision.reason, ...(decision.decision === 'inject' ? { policies: decision.policies.join(','), capture: decision.capture } : {}) },
  }
}

function tellOwner({ namespace, object }: AdmissionRequest, decision: Decision, text: string, events: EventRecorder): void {
  const owner = ownerOf(object)
  if (owner === undefined) return
  const skipped = decision.decision === 'skip'
  const how = skipped ? text : `${text} Ports: ${decision.ports.map(({ name, port }) => (name === undefined ? String(port) : `${name} (${port})`)).join(', ')}; capture ${decision.capture}; ${decision.mode} sidecar.`
  const warned = decision.warnings.length === 0 ? '' : ` ${decision.warnings.join('; ')}`
  events.tell({ namespace, regarding: { ...owner, namespace }, type: skipped || warned !== '' ? 'Warning' : 'Normal', reason: skipped ? 'InjectionSkipped' : 'Injected', action: 'Inject', note: `${skipped ? `${decision.reason}: ` : ''}${how}${warned}` })
}
