/**
 * Watches policies and pods; reads workloads and PodDisruptionBudgets when there is something to do. Restarts owners by an annotation of their template, one after
 * the other, and writes the condition RepairReady.
 */

import { createApplier } from '../../kube/apply.ts'
import { KubeError } from '../../kube/client.ts'
import { ifFound } from '../../kube/if-found.ts'
import { REPAIRED_ANNOTATION } from '../../inject/marks.ts'
import { objectsAt, textAt } from '../../policy/json.ts'
import type { JsonObject } from '../../policy/json.ts'
import { selecting } from '../../policy/select.ts'
import type { SessionPolicy } from '../../policy/session-policy.ts'
import type { PodStanding, PodStates } from '../coverage/pod-states.ts'
import { policyController } from '../controller.ts'
import type { Controller, ControllerDeps } from '../controller.ts'
import type { Prove } from '../path/prover.ts'
import { controllerOf, forbidden, judge, notAsked, notProved, ownerToRestart, refused, repairCondition, WORKLOADS } from './decide.ts'
import type { PodOwner, Verdict, Workload } from './decide.ts'
import { createTurns } from './turns.ts'
import type { Seen, Turns } from './turns.ts'

export interface RepairTimes {
  /** Between two restarts in the whole cluster. */
  readonly everyMs: number
  /** Between two looks at the owners of a policy's pods. */
  readonly lookMs: number
  /** While something is in the way. */
  readonly againMs: number
}

const REPAIR_TIMES: RepairTimes = { everyMs: 10_000, lookMs: 2000, againMs: 60_000 }
/** Owners that are looked at in one go; each is a request. */
const MAX_OWNERS = 20
const MAX_REMEMBERED = 5000

export function repairController(deps: ControllerDeps, { states, prove, times = REPAIR_TIMES }: { readonly states: PodStates; readonly prove: Prove; readonly times?: RepairTimes }): Controller {
  const { client, clock, copy, events, digest } = deps
  const applier = createApplier(client, 'steno-repair')
  let restartedMs = -Infinity
  const dueMs = (): number => restartedMs + times.everyMs - clock.monotonic()
  /** Of policies, by their uid. */
  const looks = new Map<string, { readonly atMs: number; readonly turns: Turns }>()
  /** What each owner was restarted for, by its uid: who manages it may take off the annotation, again and again. */
  const restartedFor = new Map<string, string>()
  /** What ReplicaSets belong to, by their uid: that does not change. */
  const makers = new Map<string, PodOwner>()

  const pathOf = (namespace: string, { kind, name }: Workload): string => `/apis/apps/v1/namespaces/${namespace}/${WORKLOADS[kind]}/${name}`
  const read = async (namespace: string, workload: Workload, signal: AbortSignal): Promise<JsonObject | undefined> => {
    const object = await ifFound(client.request(pathOf(namespace, workload), { signal }))
    return object === undefined ? undefined : { apiVersion: 'apps/v1', kind: workload.kind, ...object }
  }

  /** Up to what may be restarted: a pod names only the ReplicaSet that it is of. */
  const followed = async (namespace: string, title: string, workload: PodOwner['workload'], signal: AbortSignal): Promise<{ readonly title: string; readonly workload: Workload | undefined }> => {
    if (workload?.kind !== 'ReplicaSet') return { title, workload }
    const known = makers.get(workload.uid)
    const maker = known ?? (await readMaker(namespace, workload.name, workload.uid, signal))
    if (maker === undefined) return { title: `ReplicaSet ${workload.name} is gone`, workload: undefined }
    if (makers.size > MAX_REMEMBERED) makers.clear()
    makers.set(workload.uid, maker)
    return { title: maker.title, workload: maker.workload?.kind === 'ReplicaSet' ? undefined : maker.workload }
  }
  const readMaker = async (namespace: string, name: string, uid: string, signal: AbortSignal): Promise<PodOwner | undefined> => {
    const replicaSet = await ifFound(client.request(`/apis/apps/v1/namespaces/${namespace}/replicasets/${name}`, { signal }))
    return replicaSet === undefined || uidOf(replicaSet) !== uid ? undefined : controllerOf(replicaSet)
  }

  return policyController('repair', deps, async (entry, writer, signal) => {
    const { policy } = entry
    const { namespace } = policy
    if (policy.spec.repair === 'Report') {
      looks.delete(policy.uid)
      await writer.say(entry, notAsked(), signal)
      return {}
    }
    const now = clock.monotonic()
    const last = looks.get(policy.uid)?.atMs ?? -Infinity
    if (now - last < times.lookMs) return { againMs: times.lookMs - (now - last) }
    const { owners, left } = ownersOf(states(policy), copy.policiesIn(namespace), digest)
    const say = async (condition: Parameters<typeof writer.say>[1]): Promise<void> => await writer.say(entry, condition, signal)
    if (owners.size === 0) {
      await say(repairCondition({ restarted: [], rolling: [], tried: [], next: [], waiting: [], left }))
      return {}
    }
    const { turns } = looks.get(policy.uid) ?? { turns: createTurns() }
    // Those of policies that are gone are not told apart: forgetting all costs one look too early.
    if (looks.size > MAX_REMEMBERED) looks.clear()
    looks.set(policy.uid, { atMs: now, turns })
    try {
      const budgets = objectsAt(await client.request(`/apis/policy/v1/namespaces/${namespace}/poddisruptionbudgets`, { signal }), 'items')
      const ready: { readonly owner: string; readonly workload: Workload; readonly object: JsonObject; readonly seen: Seen }[] = []
      for (const owner of turns.next(new Map([...owners].map(([title, { stamp }]) => [title, stamp])), MAX_OWNERS)) {
        const known = owners.get(owner)
        if (known === undefined) continue
        const { stamp } = known
        const { title, workload } = await followed(namespace, owner, known.workload, signal)
        const object = workload === undefined ? undefined : await read(namespace, workload, signal)
        const verdict: Verdict = workload === undefined ? { verdict: 'leave', why: title } : object === undefined ? { verdict: 'leave', why: `${title} is gone` } : judge(object, budgets, stamp)
        const isDone = verdict.verdict === 'restart' && object !== undefined && restartedFor.get(uidOf(object)) === stamp
        const seen: Seen = { title, stamp, verdict: isDone ? { verdict: 'tried' } : verdict, refused: turns.get(owner)?.refused === true }
        turns.put(owner, seen)
        if (seen.verdict.verdict === 'restart' && workload !== undefined && object !== undefined) ready.push({ owner, workload, object, seen })
      }
      const all = turns.all()
      const titles = (verdict: Verdict['verdict']): string[] => all.filter(each => each.verdict.verdict === verdict).map(({ title }) => title)
      const whys = (wanted: 'wait' | 'leave'): string[] => all.flatMap(({ verdict }) => (verdict.verdict === wanted ? [verdict.why] : []))
      const found = { restarted: [] as string[], rolling: titles('rolling'), tried: titles('tried'), waiting: whys('wait'), left: [...new Set([...left, ...whys('leave')])].toSorted() }
      ready.sort((a, b) => Number(a.seen.refused) - Number(b.seen.refused) || (a.owner < b.owner ? -1 : 1))
      const [first] = ready
      let againMs = all.length < owners.size ? times.lookMs : found.rolling.length > 0 || found.waiting.length > 0 ? times.everyMs : times.againMs
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
            await restart(namespace, { ...first, stamp: first.seen.stamp }, signal)
          } catch (error) {
            // Somebody's admission policy, which asking again at once would not change.
            if (!(error instanceof KubeError && (error.status === 400 || error.status === 422))) throw error
            turns.put(first.owner, { ...first.seen, refused: true })
            await say(refused(first.seen.title, error.message))
            return { againMs: ready.length > 1 ? times.everyMs : times.againMs }
          }
          found.restarted.push(first.seen.title)
          turns.put(first.owner, { ...first.seen, verdict: { verdict: 'rolling' } })
          againMs = times.everyMs
        }
      }
      await say(repairCondition({ ...found, next: titles('restart').filter(title => !found.restarted.includes(title)) }))
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
 * @returns owners of pods that should be made anew, by title, with what that is for: the same for each policy that selects their pods, lest they restart them by turns; and what is never restarted
 */
function ownersOf(standings: readonly PodStanding[], policies: readonly SessionPolicy[], digest: (text: string) => string): { readonly owners: ReadonlyMap<string, { readonly workload: PodOwner['workload']; readonly stamp: string }>; readonly left: readonly string[] } {
  const causes = new Map<string, { workload: PodOwner['workload']; cause: string }>()
  const left = new Set<string>()
  for (const { pod, state } of standings) {
    // One that would lose its recorder is left as it is.
    if ((state.state !== 'missing' && state.state !== 'outdated') || state.wanted === '') continue
    const owner = ownerToRestart(pod)
    if (owner?.workload === undefined) left.add(owner?.title ?? `pod ${pod.name}`)
    else {
      const { title, workload } = owner
      const cause = JSON.stringify([selecting(policies, pod.labels).map(({ uid, generation }) => [uid, generation]), state.wanted])
      const known = causes.get(title)
      // Pods of two templates may want two things; any order of them must give the same.
      causes.set(title, { workload, cause: known === undefined || cause > known.cause ? cause : known.cause })
    }
  }
  return { owners: new Map([...causes].map(([title, { workload, cause }]) => [title, { workload, stamp: digest(cause) }])), left: [...left] }
}

function uidOf(object: JsonObject): string {
  return textAt(object['metadata'], 'uid') ?? ''
}
