/** One look at every pod that policies select, page by page: what is kept is counts, a few names, and one pod of each shape. */

import { decide } from '../../../inject/decide.ts'
import { RECORDER } from '../../../inject/marks.ts'
import { sentence } from '../../../inject/reasons.ts'
import { eachOf } from '../../../kube/pages.ts'
import { podState } from '../../../operator/coverage/decide.ts'
import type { PodState } from '../../../operator/coverage/decide.ts'
import { createPodReader } from '../../../operator/pod-entry.ts'
import type { PodEntry, PodShape } from '../../../operator/pod-entry.ts'
import { shortDigest } from '../../../platform/digest.ts'
import { numberAt, objectAt, objectsAt, textAt } from '../../../policy/json.ts'
import type { JsonObject } from '../../../policy/json.ts'
import { selects } from '../../../policy/select.ts'
import { once } from '../once.ts'
import { Named } from './named.ts'
import type { ClusterSubject, PolicyView } from './subject.ts'

export interface Survey {
  /** Policies that select no pod that runs. */
  readonly idle: Named
  /** Without a recorder: created before any policy that selects them, and others. */
  readonly before: Named
  readonly missing: Named
  readonly skipped: Named
  /** Of the first that is skipped. */
  readonly skippedWhy: string
  readonly outdated: Named
  readonly recorded: number
  /** Recorders that do not record, each with why. */
  readonly stuck: Named
  /** One pod of each shape that has a recorder, by policy. */
  readonly shapes: ReadonlyMap<string, readonly PodEntry[]>
}

/** A pod that has just been made is given so long. */
const STARTING_MS = 60_000
/** Waiting for these does not end by itself. */
const HOPELESS = ['CrashLoopBackOff', 'ImagePullBackOff', 'ErrImagePull', 'InvalidImageName', 'CreateContainerConfigError', 'CreateContainerError', 'RunContainerError']
const MAX_SHAPES = 200
const MAX_DETAIL = 200

/** @returns the survey, made once */
export function createSurvey(subject: ClusterSubject): (signal: AbortSignal) => Promise<Survey> {
  return once(async signal => {
    const [views, settings, { oldestMinor }, { facts }] = [await subject.policies(signal), await subject.settings(signal), await subject.nodes(signal), await subject.namespaces(signal)]
    const found = { idle: new Named(), before: new Named(), missing: new Named(), skipped: new Named(), skippedWhy: '', outdated: new Named(), recorded: 0, stuck: new Named(), shapes: new Map<string, PodEntry[]>() }
    const read = createPodReader()
    for (const [namespace, group] of Map.groupBy(views.filter(isInForce), each => each.namespace)) {
      const policies = group.flatMap(each => each.policy ?? [])
      const decided = new Map<PodShape, PodState>()
      const about = facts.get(namespace) ?? { name: namespace, labels: {}, annotations: {} }
      const stateOf = (pod: PodEntry): PodState => {
        const known = decided.get(pod.shape)
        if (known !== undefined) return known
        const state = podState(pod, decide({ pod: pod.pod, namespace: about, policies, settings, oldestNodeMinor: oldestMinor, digest: shortDigest }))
        decided.set(pod.shape, state)
        return state
      }
      const used = new Set<string>()
      for await (const object of eachOf(subject.client, `/api/v1/namespaces/${namespace}/pods`, { signal })) {
        const pod = read(object)
        if (pod.over) continue
        const selecting = group.filter(({ policy }) => policy !== undefined && selects(policy.spec.selector, pod.labels))
        if (selecting.length === 0) continue
        for (const each of selecting) used.add(each.key)
        const name = `${namespace}/${pod.name}`
        const state = stateOf(pod)
        if (state.state === 'missing') {
          const createdMs = Date.parse(textAt(object['metadata'], 'creationTimestamp') ?? '')
          if (selecting.every(each => createdMs <= each.createdMs)) found.before.add(name)
          else found.missing.add(name)
          continue
        }
        if (state.state === 'skipped') {
          // Who may ask not to be recorded, and did, is no trouble.
          if (state.reason === 'opted-out') continue
          if (found.skipped.count === 0) found.skippedWhy = sentence(state.reason, state.detail)
          found.skipped.add(name)
          continue
        }
        found.recorded++
        if (state.state === 'outdated') found.outdated.add(name)
        const why = stuckWhy(object, subject.now())
        if (why !== undefined) found.stuck.add(`${name} (${why})`)
        for (const { key } of selecting) {
          const shapes = found.shapes.get(key) ?? []
          if (shapes.length < MAX_SHAPES && !shapes.some(({ shape }) => shape === pod.shape)) found.shapes.set(key, [...shapes, pod])
        }
      }
      for (const { key } of group) if (!used.has(key)) found.idle.add(key)
    }
    return found
  })
}

function isInForce({ policy, deleting }: PolicyView): boolean {
  return policy !== undefined && !deleting
}

/** Why the recorder of a pod does not record; undefined when it does, or may still begin to. */
function stuckWhy(pod: JsonObject, now: number): string | undefined {
  const status = objectAt(pod, 'status')
  const recorder = [...objectsAt(status, 'initContainerStatuses'), ...objectsAt(status, 'containerStatuses')].find(each => each['name'] === RECORDER)
  if (recorder === undefined || recorder['ready'] === true) return undefined
  const { waiting, terminated } = objectAt(recorder, 'state')
  const reason = textAt(waiting, 'reason') ?? textAt(terminated, 'reason')
  const ended = textAt(terminated, 'message') ?? textAt(objectAt(objectAt(recorder, 'lastState'), 'terminated'), 'message')
  const startedMs = Date.parse(textAt(status, 'startTime') ?? '')
  if (!HOPELESS.includes(reason ?? '') && !(now - startedMs > STARTING_MS)) return undefined
  const restarts = numberAt(recorder, 'restartCount') ?? 0
  return [reason ?? 'not ready', ...(restarts > 0 ? [`started again ${restarts} times`] : []), ...(ended === undefined || ended === '' ? [] : [ended.trim().slice(0, MAX_DETAIL)])].join(', ')
}
