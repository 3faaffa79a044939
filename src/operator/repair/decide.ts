/** Whether the owner of pods that lack their recorder, or have an old one, may be restarted now. Pure. */

import { REPAIRED_ANNOTATION } from '../../inject/marks.ts'
import { ownerOf, workloadOf } from '../../inject/pod-facts.ts'
import type { Condition } from '../../kube/conditions.ts'
import { numberAt, objectAt, textAt, textsAt } from '../../policy/json.ts'
import type { JsonObject } from '../../policy/json.ts'
import { selects } from '../../policy/select.ts'
import { selectorOf } from '../selector.ts'
import type { PodEntry } from '../pod-entry.ts'

export const CONDITION = 'RepairReady'

/** Kinds that replace their pods by themselves when their template changes. Jobs are not among them: what they do must not be done twice. */
export const WORKLOADS = { Deployment: 'deployments', StatefulSet: 'statefulsets', DaemonSet: 'daemonsets' } as const
export type WorkloadKind = keyof typeof WORKLOADS

export interface Workload {
  readonly kind: WorkloadKind
  readonly name: string
}

export interface PodOwner {
  /** Kind and name, as far as the pod tells. */
  readonly title: string
  /** What may be restarted for the pod: undefined, or a ReplicaSet whose own controller has to be asked for. */
  readonly workload: Workload | { readonly kind: 'ReplicaSet'; readonly name: string; readonly uid: string } | undefined
}

/** @returns undefined when the pod stands alone */
export function ownerToRestart({ pod }: PodEntry): PodOwner | undefined {
  const owner = ownerOf(pod)
  if (owner === undefined) return undefined
  const { apiVersion, kind, name, uid } = owner
  const title = workloadOf(pod)?.replace('/', ' ') ?? `${kind} ${name}`
  if (apiVersion === 'apps/v1' && kind === 'ReplicaSet') return { title, workload: { kind, name, uid } }
  const known = workloadKind(apiVersion, kind)
  return { title, workload: known === undefined ? undefined : { kind: known, name } }
}

/** What a ReplicaSet belongs to. The hash in its name does not tell: other controllers than that of Deployments make ReplicaSets too. @returns its controller's kind and name, and what may be restarted */
export function controllerOf(replicaSet: JsonObject): PodOwner {
  const owner = ownerOf(replicaSet)
  const name = textAt(replicaSet['metadata'], 'name') ?? ''
  if (owner === undefined) return { title: `ReplicaSet ${name}`, workload: undefined }
  const known = workloadKind(owner.apiVersion, owner.kind)
  return { title: `${owner.kind} ${owner.name}${known === undefined ? ` (${owner.apiVersion.split('/')[0] ?? ''})` : ''}`, workload: known === undefined ? undefined : { kind: known, name: owner.name } }
}

function workloadKind(apiVersion: string, kind: string): WorkloadKind | undefined {
  return apiVersion === 'apps/v1' ? (Object.keys(WORKLOADS) as WorkloadKind[]).find(each => each === kind) : undefined
}

export type Verdict =
  | { readonly verdict: 'restart' }
  /** Its pods are being made anew. */
  | { readonly verdict: 'rolling' }
  /** It was restarted for this, and that is over. */
  | { readonly verdict: 'tried' }
  | { readonly verdict: 'wait' | 'leave'; readonly why: string }

/**
 * @param object the workload as it is stored @param budgets PodDisruptionBudgets of the namespace
 * @param stamp what its pods are to be made anew for: it is tried once
 */
export function judge(object: JsonObject, budgets: readonly JsonObject[], stamp: string): Verdict {
  const [metadata, spec, status] = ['metadata', 'spec', 'status'].map(field => objectAt(object, field)) as [JsonObject, JsonObject, JsonObject]
  const name = `${textAt(object, 'kind') ?? ''} ${textAt(metadata, 'name') ?? ''}`
  const template = objectAt(spec, 'template')
  if (metadata['deletionTimestamp'] !== undefined) return { verdict: 'leave', why: `${name} is being deleted` }
  const stubborn = whyStubborn(object)
  if (stubborn !== undefined) return { verdict: 'leave', why: `${name} ${stubborn}` }
  const settled = isSettled(textAt(object, 'kind') ?? '', metadata, spec, status)
  if (textsAt(template['metadata'], 'annotations')[REPAIRED_ANNOTATION] === stamp) return settled ? { verdict: 'tried' } : { verdict: 'rolling' }
  if (!settled) return { verdict: 'wait', why: `${name} is not fully available, or a roll-out of it is under way` }
  const goingAtOnce = podsAtOnce(object)
  const labels = textsAt(objectAt(template, 'metadata'), 'labels')
  for (const budget of budgets) {
    const budgetSpec = objectAt(budget, 'spec')
    // As the API server reads it: an empty selector selects every pod, none selects no pod.
    if (budgetSpec['selector'] === undefined || !selects(selectorOf(objectAt(budgetSpec, 'selector')), labels)) continue
    const budgetStatus = objectAt(budget, 'status')
    const current = (numberAt(budgetStatus, 'observedGeneration') ?? -1) >= (numberAt(budget['metadata'], 'generation') ?? 0)
    const allowed = current ? (numberAt(budgetStatus, 'disruptionsAllowed') ?? 0) : 0
    if (goingAtOnce > allowed) return { verdict: 'wait', why: `a roll-out of ${name} takes ${goingAtOnce} pods away at once, and PodDisruptionBudget ${textAt(budget['metadata'], 'name') ?? ''} allows ${allowed}` }
  }
  return { verdict: 'restart' }
}

/** Why a change of the template would not replace the pods. */
function whyStubborn(object: JsonObject): string | undefined {
  const spec = objectAt(object, 'spec')
  if (spec['paused'] === true) return 'is paused'
  const strategy = objectAt(spec, 'updateStrategy')
  if (strategy['type'] === 'OnDelete') return 'replaces its pods only when they are deleted (OnDelete)'
  if ((numberAt(objectAt(strategy, 'rollingUpdate'), 'partition') ?? 0) > 0) return 'replaces only a part of its pods (partition)'
  return undefined
}

function isSettled(kind: string, metadata: JsonObject, spec: JsonObject, status: JsonObject): boolean {
  const of = (name: string): number => numberAt(status, name) ?? 0
  if (of('observedGeneration') < (numberAt(metadata, 'generation') ?? 0)) return false
  if (kind === 'DaemonSet') return of('updatedNumberScheduled') >= of('desiredNumberScheduled') && of('numberAvailable') >= of('desiredNumberScheduled')
  const replicas = numberAt(spec, 'replicas') ?? 1
  if (kind === 'StatefulSet') return of('readyReplicas') >= replicas && status['currentRevision'] === status['updateRevision']
  return of('updatedReplicas') >= replicas && of('availableReplicas') >= replicas && of('replicas') <= of('updatedReplicas')
}

/** How many pods a roll-out may take away before others have come. */
function podsAtOnce(object: JsonObject): number {
  const kind = textAt(object, 'kind')
  const spec = objectAt(object, 'spec')
  if (kind === 'DaemonSet') return share(objectAt(objectAt(spec, 'updateStrategy'), 'rollingUpdate')['maxUnavailable'] ?? 1, numberAt(objectAt(object, 'status'), 'desiredNumberScheduled') ?? 1, Math.ceil)
  const replicas = numberAt(spec, 'replicas') ?? 1
  if (kind === 'StatefulSet') return Math.min(replicas, share(objectAt(objectAt(spec, 'updateStrategy'), 'rollingUpdate')['maxUnavailable'] ?? 1, replicas, Math.ceil))
  const strategy = objectAt(spec, 'strategy')
  if (strategy['type'] === 'Recreate') return replicas
  const rolling = objectAt(strategy, 'rollingUpdate')
  const [unavailable, surge] = [share(rolling['maxUnavailable'] ?? '25%', replicas, Math.floor), share(rolling['maxSurge'] ?? '25%', replicas, Math.ceil)]
  // The controller takes one away where both come to nothing.
  return Math.min(replicas, unavailable === 0 && surge === 0 ? 1 : unavailable)
}

/** A number, or a percentage such as `25%`. */
function share(value: unknown, of: number, round: (value: number) => number): number {
  if (typeof value === 'number') return value
  const percent = typeof value === 'string' ? Number(/^(\d+)%$/.exec(value)?.[1] ?? '100') : 100
  return round((percent * of) / 100)
}

/** What there is to say after a look. Names are sorted. */
export interface Findings {
  readonly restarted: readonly string[]
  readonly rolling: readonly string[]
  readonly tried: readonly string[]
  /** Owners that may be restarted, when it is their turn. */
  readonly next: readonly string[]
  readonly waiting: readonly string[]
  /** Pods and owners that are never restarted, and why. */
  readonly left: readonly string[]
}

const MAX_NAMED = 3

function some(texts: readonly string[]): string {
  return `${texts.slice(0, MAX_NAMED).join('; ')}${texts.length > MAX_NAMED ? `; and ${texts.length - MAX_NAMED} more` : ''}`
}

const say = (status: Condition['status'], reason: string, message: string): Condition => ({ type: CONDITION, status, reason, message })

export function notAsked(): Condition {
  return say('True', 'NotAsked', 'The policy does not ask for repair: owners of pods are restarted by hand.')
}

export function notProved(detail: string): Condition {
  return say('False', 'PathNotProved', `Pods made anew would come out without a recorder again, so nothing is restarted: ${detail}`)
}

export function forbidden(detail: string): Condition {
  return say('False', 'Forbidden', `The operator may not restart anything here: install the chart with operator.repair.enabled=true, or set repair: Report. ${detail}`)
}

export function refused(title: string, detail: string): Condition {
  return say('False', 'RestartRefused', `${title} could not be restarted: ${detail}`)
}

export function repairCondition({ restarted, rolling, tried, next, waiting, left }: Findings): Condition {
  const after = [...(next.length === 0 ? [] : [` ${next.length} more owners follow, one after the other.`]), ...(left.length === 0 ? [] : [` Never restarted: ${some(left)}.`])].join('')
  if (tried.length > 0) return say('False', 'RestartedInVain', `${some(tried)}: restarted once for this state of policy and installation, and pods are still not as they should be. It is not done again. See why (kubectl get events), then restart by hand or change the policy.${after}`)
  if (restarted.length > 0 || rolling.length > 0) return say('True', 'Restarting', `Pods are being made anew: ${some([...restarted, ...rolling])}.${after}`)
  if (waiting.length > 0) return say('True', 'Waiting', `${some(waiting)}.${after}`)
  if (next.length > 0) return say('True', 'Waiting', `${some(next)}: it is not their turn yet.${left.length === 0 ? '' : ` Never restarted: ${some(left)}.`}`)
  return left.length > 0 ? say('True', 'LeftAlone', `Some pods are not as they should be, and are never restarted: ${some(left)}. Make them anew by hand.`) : say('True', 'UpToDate', 'No pod needs to be made anew.')
}
