/**
 * Whether pods of a namespace really get their recorder, and what follows from it: a namespace refuses pods without one only while that is proved.
 * A dry run is a pod that the API server sends through all webhooks and does not keep. Pure.
 */

import type { Decision } from '../../inject/decide.ts'
import { INJECTED_ANNOTATION, parseInjected, RECORDER } from '../../inject/marks.ts'
import { sentence } from '../../inject/reasons.ts'
import type { Condition } from '../../kube/conditions.ts'
import { objectAt, objectsAt, textsAt } from '../../policy/json.ts'
import type { JsonObject } from '../../policy/json.ts'
import { selecting, selects } from '../../policy/select.ts'
import type { LabelSelector, SessionPolicy } from '../../policy/session-policy.ts'

export const CONDITION = 'PathReady'

/** Numbers for ports that a policy names only; far from those of the recorder. */
const FIRST_PORT = 20_000

/** Labels that the selector selects; undefined when it contradicts itself. */
export function labelsFor(selector: LabelSelector): Readonly<Record<string, string>> | undefined {
  const labels: Record<string, string> = { ...selector.matchLabels }
  for (const { key, operator, values } of selector.matchExpressions) {
    if (Object.hasOwn(labels, key)) continue
    // What else is said about this label is checked below.
    const forbidden = selector.matchExpressions.flatMap(each => (each.key === key && each.operator === 'NotIn' ? each.values : []))
    const candidates = operator === 'In' ? values : operator === 'Exists' ? ['steno', 'probe', ''] : []
    const value = candidates.find(each => !forbidden.includes(each) && selector.matchExpressions.every(other => other.key !== key || other.operator !== 'In' || other.values.includes(each)))
    if (value !== undefined) labels[key] = value
  }
  return selects(selector, labels) ? labels : undefined
}

/** A pod like those that the policy selects, which any pod security level admits. @param policies all of the namespace @returns undefined when there can be none */
export function probePod(policy: SessionPolicy, policies: readonly SessionPolicy[], image: string): JsonObject | undefined {
  const labels = labelsFor(policy.spec.selector)
  if (labels === undefined) return undefined
  const wanted = [...new Set(selecting(policies, labels).flatMap(({ spec }) => spec.ports))]
  const ports = (wanted.length === 0 ? ['mcp'] : wanted).map((port, index) => (typeof port === 'number' ? { name: `p${port}`, containerPort: port, protocol: 'TCP' } : { name: port, containerPort: FIRST_PORT + index, protocol: 'TCP' }))
  const resources = { cpu: '1m', memory: '1Mi' }
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { generateName: 'steno-probe-', labels },
    spec: {
      automountServiceAccountToken: false,
      securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
      containers: [{ name: 'probe', image, ports, resources: { requests: resources, limits: resources }, securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } } }],
    },
  }
}

/** What a dry run showed. `unknown`: it was refused for a reason that says nothing about the injector. */
export type Probe =
  | { readonly probe: 'injected' }
  | { readonly probe: 'away' | 'bare' | 'unknown' | 'forbidden' | 'unfit'; readonly detail: string }

/** @param expected what the injector would do with it */
export function judgeExpected(expected: Decision): Probe | undefined {
  return expected.decision === 'inject' ? undefined : { probe: 'unfit', detail: sentence(expected.reason, expected.detail) }
}

/** @param pod as it came out of the dry run */
export function judgePod(pod: JsonObject): Probe {
  const spec = objectAt(pod, 'spec')
  const there = [...objectsAt(spec, 'initContainers'), ...objectsAt(spec, 'containers')].some(each => each['name'] === RECORDER)
  const mark = parseInjected(textsAt(pod['metadata'], 'annotations')[INJECTED_ANNOTATION] ?? '')
  return there && mark !== undefined ? { probe: 'injected' } : { probe: 'bare', detail: 'the pod came out without a recorder' }
}

/** @param status of the answer @param message that the API server gives. Undefined: not the path's fault; to be asked again */
export function judgeRefusal(status: number, message: string): Probe | undefined {
  // What differs from one time to the next would be written to the status each time.
  const detail = message.replaceAll(/steno-probe-\w+/g, 'steno-probe').replaceAll(/\S+:\d+->/g, '')
  if (/failed calling webhook "[a-z.]*\.steno\.dev"/.test(message)) return { probe: 'away', detail }
  if (/admission webhook "strict\.validate\.steno\.dev" denied/.test(message)) return { probe: 'bare', detail }
  if (status === 403 && /cannot create resource "pods"/.test(message)) return { probe: 'forbidden', detail }
  return status === 400 || status === 403 || status === 422 ? { probe: 'unknown', detail } : undefined
}

export interface PathTimes {
  /** Between two dry runs, unless something is about to change. */
  readonly everyMs: number
  /** Between two on which it depends whether the namespace stays, or becomes, strict. */
  readonly soonMs: number
  /** How long dry runs fail before the namespace is made lenient: longer than a roll-out of the injector takes to hand over. */
  readonly takeBackMs: number
  /** How long they succeed before it is made strict again. */
  readonly giveAgainMs: number
  /** Others vouch for the injector between two dry runs of a namespace for at most so long. */
  readonly vouchMs: number
}

export const PATH_TIMES: PathTimes = { everyMs: 30_000, soonMs: 5000, takeBackMs: 20_000, giveAgainMs: 30_000, vouchMs: 600_000 }

/**
 * unproved → proved ⇄ doubtful → broken → recovering → proved. Strict while proved or doubtful.
 * `sinceMs`: of the phase, by a clock that does not jump.
 */
export interface PathState {
  readonly phase: 'unproved' | 'proved' | 'doubtful' | 'broken' | 'recovering'
  readonly sinceMs: number
}

export function isStrict({ phase }: PathState): boolean {
  return phase === 'proved' || phase === 'doubtful'
}

/** The state after a dry run. One that shows nothing changes nothing. */
export function nextPath(state: PathState, { probe }: Probe, now: number, times: PathTimes): PathState {
  const to = (phase: PathState['phase']): PathState => (phase === state.phase ? state : { phase, sinceMs: now })
  const lasts = (ms: number): boolean => now - state.sinceMs >= ms
  if (probe === 'unknown' || probe === 'forbidden') return state
  if (probe === 'injected') {
    if (state.phase === 'broken') return to('recovering')
    return state.phase === 'recovering' && !lasts(times.giveAgainMs) ? state : to('proved')
  }
  switch (state.phase) {
    case 'unproved':
      return state
    case 'proved':
      return to('doubtful')
    case 'doubtful':
      return lasts(times.takeBackMs) ? to('broken') : state
    case 'broken':
    case 'recovering':
      return to('broken')
  }
}

/** When to run the next one. */
export function nextProbeMs({ phase }: PathState, { probe }: Probe, times: PathTimes): number {
  const isTurning = phase === 'doubtful' || phase === 'recovering'
  return isTurning && (probe === 'injected' || probe === 'away' || probe === 'bare') ? times.soonMs : times.everyMs
}

export function notAsked(): Condition {
  return { type: CONDITION, status: 'True', reason: 'NotAsked', message: 'The policy lets pods in that come without their recorder (unrecorded: Allow).' }
}

/** @param byHand the label is not, or not only, ours: taking it back changes nothing */
export function pathCondition(state: PathState, probe: Probe, { namespace, installation, byHand, times }: { readonly namespace: string; readonly installation: string; readonly byHand: boolean; readonly times: PathTimes }): Condition {
  const say = (status: Condition['status'], reason: string, message: string): Condition => ({ type: CONDITION, status, reason, message })
  const cause = probe.probe === 'injected' ? '' : probe.detail
  if (state.phase === 'proved') return say('True', 'Proved', `A dry run has proved that the injector works here: pods of namespace ${namespace} that come without their recorder are refused.`)
  if (state.phase === 'doubtful') return say('True', 'Doubtful', `The last dry runs came out without a recorder, and pods that should be recorded are refused meanwhile. If that goes on, namespace ${namespace} becomes lenient: ${cause}`)
  const lenient = byHand ? `Namespace ${namespace} stays strict, since somebody else has labelled it too` : `Until that is proved, pods of namespace ${namespace} are let in without a recorder`
  if (state.phase === 'recovering') return say('False', 'Recovering', `The injector answers again. When it has for ${Math.round(times.giveAgainMs / 1000)} s, the namespace becomes strict. ${lenient}.`)
  switch (probe.probe) {
    case 'injected':
      return say('False', 'Recovering', `The injector answers. ${lenient}.`)
    case 'away':
      return say('False', 'InjectorAway', `No injector answers: look at its pods (kubectl get pods -n ${installation} -l app.kubernetes.io/component=injector). ${lenient}. ${cause}`)
    case 'bare':
      return say('False', 'NotInjected', `A dry run came out without a recorder: no injector answers (kubectl get pods -n ${installation}), or its MutatingWebhookConfiguration leaves this namespace out, or another webhook took it away. ${lenient}. ${cause}`)
    case 'unfit':
      return say('False', 'NothingToProve', `A pod of this policy would not be recorded: ${cause} ${lenient}.`)
    case 'forbidden':
      return say('False', 'Forbidden', `The operator may not run the proof: give its ClusterRole what docs/permissions.md lists. ${lenient}. ${cause}`)
    case 'unknown':
      return say('False', 'ProofRefused', `The dry run was refused by something else, so that nothing is proved. ${lenient}. ${cause}`)
  }
}
