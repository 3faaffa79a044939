/**
 * Watches policies and pods; reads workloads and PodDisruptionBudgets when there is something to do. Restarts owners by an annotation of their template, one after
 * the other, and writes the condition RepairReady.
 */

import { createApplier } from '../../kube/apply.ts'
import { KubeError } from '../../kube/client.ts'
import { REPAIRED_ANNOTATION } from '../../inject/marks.ts'
import { objectsAt, textAt } from '../../policy/json.ts'
import type { JsonObject } from '../../policy/json.ts'
import { selecting } from '../../policy/select.ts'
import type { SessionPolicy } from '../../policy/session-policy.ts'
import type { PodStanding, PodStates } from '../coverage/pod-states.ts'
import { policyController } from '../controller.ts'
import type { Controller, ControllerDeps } from '../controller.ts'
import type { Prove } from '../path/prover.ts'
import { forbidden, judge, notAsked, notProved, refused, repairCondition, workloadToRestart, WORKLOADS } from './decide.ts'
import type { Workload } from './decide.ts'

export interface RepairTimes {
  /** Between two restarts in the whole cluster. */
  readonly everyMs: number
  /** Between two looks at the owners of a policy's pods. */
  readonly lookMs: number
  /** While something is in the way. */
  readonly againMs: number
}

export const REPAIR_TIMES: RepairTimes = { everyMs: 10_000, lookMs: 2000, againMs: 60_000 }
/** Owners that are looked at in one go; each is a request. */
const MAX_OWNERS = 20
const MAX_REMEMBERED = 5000

export function repairController(deps: ControllerDeps, { states, prove, times = REPAIR_TIMES }: { readonly states: PodStates; readonly prove: Prove; readonly times?: RepairTimes }): Controller {
  const { client, clock, copy, events, digest } = deps
  const applier = createApplier(client, 'steno-repair')
  let restartedMs = -Infinity
  const dueMs = (): number => restartedMs + times.everyMs - clock.monotonic()
  const lookedAt = new Map<string, number>()
  /** What each owner was restarted for, by its uid: who manages it may take off the annotation, again and again. */
  const restartedFor = new Map<string, string>()

  const pathOf = (namespace: string, { kind, name }: Workload): string => `/apis/apps/v1/namespaces/${namespace}/${WORKLOADS[kind]}/${name}`
  const read = async (namespace: string, workload: Workload, signal: AbortSignal): Promise<JsonObject | undefined> => {
    try {
      return { apiVersion: 'apps/v1', kind: workload.kind, ...(await client.request(pathOf(namespace, workload), { signal })) }
    } catch (error) {
      if (error instanceof KubeError && error.status === 404) return undefined
      throw error
    }
  }

  return policyController('repair', deps, async (entry, writer, signal) => {
    const { policy } = entry
    const { namespace } = policy
    if (policy.spec.repair === 'Report') {
      lookedAt.delete(policy.uid)
      await writer.say(entry, notAsked(), signal)
      return {}
    }
    const now = clock.monotonic()
    const last = lookedAt.get(policy.uid) ?? -Infinity
    if (now - last < times.lookMs) return { againMs: times.lookMs - (now - last) }
    const { owners, left } = ownersOf(states(policy), copy.policiesIn(namespace))
    const say = async (condition: Parameters<typeof writer.say>[1]): Promise<void> => await writer.say(entry, condition, signal)
    if (owners.size === 0) {
      await say(repairCondition({ restarted: [], rolling: [], tried: [], next: [], waiting: [], left }))
      return {}
    }
    // Those of policies that are gone are not told apart: forgetting all costs one look too early.
    if (lookedAt.size > MAX_REMEMBERED) lookedAt.clear()
    lookedAt.set(policy.uid, now)
    try {
      const budgets = objectsAt(await client.request(`/apis/policy/v1/namespaces/${namespace}/poddisruptionbudgets`, { signal }), 'items')
      const found = { restarted: [] as string[], rolling: [] as string[], tried: [] as string[], next: [] as string[], waiting: [] as string[], left: [...left] }
      const ready: { readonly workload: Workload; readonly object: JsonObject; readonly stamp: string; readonly title: string }[] = []
      for (const [title, { workload, cause }] of [...owners].toSorted(([a], [b]) => (a < b ? -1 : 1)).slice(0, MAX_OWNERS)) {
        const object = await read(namespace, workload, signal)
        const stamp = digest(cause)
        const verdict = object === undefined ? { verdict: 'leave' as const, why: `${title} is gone` } : judge(object, budgets, stamp)
        const isDone = object !== undefined && restartedFor.get(uidOf(object)) === stamp
        if (verdict.verdict === 'restart' && isDone) found.tried.push(title)
        else if (verdict.verdict === 'restart' && object !== undefined) ready.push({ workload, object, stamp, title })
        else if (verdict.verdict === 'rolling') found.rolling.push(title)
        else if (verdict.verdict === 'tried') found.tried.push(title)
        else if (verdict.verdict === 'wait') found.waiting.push(verdict.why)
        else if (verdict.verdict === 'leave') found.left.push(verdict.why)
      }
      const [first] = ready
      let againMs = found.rolling.length > 0 || found.waiting.length > 0 ? times.everyMs : times.againMs
      if (first !== undefined && found.rolling.length === 0) {
        const probe = dueMs() > 0 ? undefined : await prove(policy, signal)
        if (probe !== undefined && probe.probe !== 'injected') {
          await say(notProved(probe.detail))
          return { againMs: times.againMs }
        }
        // While the dry run lasted, another policy may have had its turn.
        if (probe === undefined || dueMs() > 0) againMs = Math.max(1, dueMs())
        else {
          restartedMs = clock.monotonic()
          try {
            await restart(namespace, first, signal)
          } catch (error) {
            // Somebody's admission policy, which asking again at once would not change.
            if (!(error instanceof KubeError && (error.status === 400 || error.status === 422))) throw error
            await say(refused(first.title, error.message))
            return { againMs: times.againMs }
          }
          found.restarted.push(first.title)
          ready.shift()
          againMs = times.everyMs
        }
      }
      found.next.push(...ready.map(({ title }) => title))
      await say(repairCondition(found))
      return { againMs }
    } catch (error) {
      if (!(error instanceof KubeError && error.status === 403)) throw error
      await say(forbidden(error.message))
      return { againMs: times.againMs }
    }
  })

  async function restart(namespace: string, { workload: { kind, name }, object, stamp }: { readonly workload: Workload; readonly object: JsonObject; readonly stamp: string }, signal: AbortSignal): Promise<void> {
    const uid = uidOf(object)
    const resourceVersion = textAt(object['metadata'], 'resourceVersion') ?? ''
    // With the version it fails where somebody has changed it since it was judged.
    const wanted = { apiVersion: 'apps/v1', kind, metadata: { name, namespace, resourceVersion }, spec: { template: { metadata: { annotations: { [REPAIRED_ANNOTATION]: stamp } } } } }
    const applied = await applier.apply({ path: pathOf(namespace, { kind, name }), wanted: () => wanted, observed: object, isOurs: () => true }, signal)
    if (applied !== 'written') return
    if (restartedFor.size > MAX_REMEMBERED) restartedFor.clear()
    restartedFor.set(uid, stamp)
    events.tell({ namespace, regarding: { apiVersion: 'apps/v1', kind, namespace, name, uid }, type: 'Normal', reason: 'RestartedForRecording', action: 'Restart', note: 'Some of its pods had no recorder, or one of an earlier policy or installation: they are made anew.' })
  }
}

/**
 * @param policies all of the namespace
 * @returns owners that may be restarted, by title, with what that is for: the same for each policy that selects their pods, lest they restart them by turns; and pods that have none
 */
function ownersOf(standings: readonly PodStanding[], policies: readonly SessionPolicy[]): { readonly owners: ReadonlyMap<string, { readonly workload: Workload; readonly cause: string }>; readonly left: readonly string[] } {
  const owners = new Map<string, { workload: Workload; cause: string }>()
  const left: string[] = []
  for (const { pod, state } of standings) {
    // One that would lose its recorder is left as it is.
    if ((state.state !== 'missing' && state.state !== 'outdated') || state.wanted === '') continue
    const workload = workloadToRestart(pod)
    if (workload === undefined) left.push(`pod ${pod.name}`)
    else {
      const title = `${workload.kind} ${workload.name}`
      const cause = JSON.stringify([selecting(policies, pod.labels).map(({ uid, generation }) => [uid, generation]), state.wanted])
      const known = owners.get(title)
      // Pods of two templates may want two things; any order of them must give the same.
      owners.set(title, { workload, cause: known === undefined || cause > known.cause ? cause : known.cause })
    }
  }
  return { owners, left: left.toSorted() }
}

function uidOf(object: JsonObject): string {
  return textAt(object['metadata'], 'uid') ?? ''
}
