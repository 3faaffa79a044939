/**
 * Watches policies and namespaces, one namespace at a time. Runs dry runs where a policy says `unrecorded: Refuse`; writes the label `steno.dev/strict` of
 * the namespace, and the condition PathReady.
 */

import { STRICT_LABEL } from '../../inject/marks.ts'
import { KubeError } from '../../kube/client.ts'
import { findCondition } from '../../kube/conditions.ts'
import type { InjectorSettings } from '../../inject/settings.ts'
import { numberAt } from '../../policy/json.ts'
import type { SessionPolicy } from '../../policy/session-policy.ts'
import type { NamespaceEntry, PolicyEntry } from '../cluster-copy.ts'
import { createPolicyWriter } from '../controller.ts'
import type { Controller, ControllerDeps } from '../controller.ts'
import { PATH_MANAGER } from '../marks.ts'
import { CONDITION, isStrict, nextPath, nextProbeMs, notAsked, PATH_TIMES, pathCondition } from './decide.ts'
import type { PathState, PathTimes, Probe } from './decide.ts'
import type { Prove } from './prover.ts'

interface Known {
  readonly state: PathState
  /** The last dry runs, by policy. */
  readonly probes: ReadonlyMap<string, Probe>
  /** What they were run for. */
  readonly stamp: string
  readonly provedMs: number
  readonly dueMs: number
}

export interface PathOptions {
  readonly prove: Prove
  readonly settings: InjectorSettings
  readonly times?: PathTimes
  /** Looks at a namespace soon. */
  readonly look: (namespace: string) => void
}

/** Its keys are namespaces. */
export function pathController(deps: ControllerDeps, { prove, settings, look, times = PATH_TIMES }: PathOptions): Controller {
  const { client, copy, clock } = deps
  const writer = createPolicyWriter(deps, PATH_MANAGER)
  const known = new Map<string, Known>()
  /** When any dry run last came out recorded: the injector then served all namespaces alike. */
  let servedMs = -Infinity

  const label = async (namespace: string, strict: boolean, signal: AbortSignal): Promise<void> => {
    const body = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace, ...(strict ? { labels: { [STRICT_LABEL]: 'true' } } : {}) } }
    await client.request(`/api/v1/namespaces/${namespace}?fieldManager=${PATH_MANAGER}&force=true`, { method: 'PATCH', contentType: 'application/apply-patch+yaml', body, forget: true, signal })
  }

  const probed = async (namespace: string, policies: readonly SessionPolicy[], before: Known | undefined, stamp: string, strictNow: boolean, signal: AbortSignal): Promise<Known> => {
    const now = clock.monotonic()
    if (before !== undefined && before.stamp === stamp) {
      if (now < before.dueMs) return before
      const vouched = before.state.phase === 'proved' && now - servedMs < times.everyMs && now - before.provedMs < times.vouchMs * (0.5 + shareOf(namespace) / 2)
      if (vouched) return { ...before, dueMs: now + times.everyMs }
    }
    const probes = new Map<string, Probe>()
    for (const policy of policies) probes.set(policy.name, await prove(policy, signal))
    const all = [...probes.values()]
    const worst = all.find(({ probe }) => probe === 'away' || probe === 'bare') ?? all.find(({ probe }) => probe !== 'injected') ?? { probe: 'injected' as const }
    const afterMs = clock.monotonic()
    const served = worst.probe === 'injected'
    const isNews = served ? servedMs === -Infinity : (worst.probe === 'away' || worst.probe === 'bare') && servedMs !== -Infinity
    if (served) servedMs = afterMs
    else if (isNews) servedMs = -Infinity
    // What holds for one holds for all: those that were vouched for, or given up, are asked now.
    if (isNews) for (const [other, each] of known) {
      if (other === namespace || each.dueMs <= afterMs) continue
      known.set(other, { ...each, dueMs: afterMs })
      look(other)
    }
    const state = nextPath(before?.state ?? { phase: strictNow ? 'proved' : 'unproved', sinceMs: now }, worst, afterMs, times)
    return { state, probes, stamp, provedMs: worst.probe === 'injected' ? afterMs : (before?.provedMs ?? -Infinity), dueMs: afterMs + nextProbeMs(state, worst, times) }
  }

  /** Not all namespaces at the same time: from 0 to 1, always the same for one. */
  const shareOf = (namespace: string): number => Number.parseInt(deps.digest(namespace).slice(0, 4), 16) / 0xff_ff

  /** What the leader before us has proved, and nobody has changed since. Else each new leader would prove all namespaces at once. */
  const inherited = (entries: readonly PolicyEntry[], stamp: string): Known | undefined => {
    const proved = entries.every(({ object, policy }) => {
      const said = findCondition(object, CONDITION)
      return said?.['reason'] === 'Proved' && numberAt(said, 'observedGeneration') === policy?.generation
    })
    if (!proved) return undefined
    const now = clock.monotonic()
    return { state: { phase: 'proved', sinceMs: now }, probes: new Map(entries.map(({ policy }) => [policy?.name ?? '', { probe: 'injected' as const }])), stamp, provedMs: now, dueMs: now + times.everyMs }
  }

  return {
    name: 'path',
    ofNamespaces: true,
    reconcile: async (namespace, signal) => {
      const facts = copy.namespace(namespace)
      const entries = copy.entriesIn(namespace).filter((each): each is PolicyEntry & { readonly policy: SessionPolicy } => each.policy !== undefined && !each.deleting)
      const demanding = entries.filter(({ policy }) => policy.spec.unrecorded === 'Refuse')
      for (const entry of entries) if (!demanding.includes(entry)) await writer.say(entry, notAsked(), signal)
      if (facts === undefined || facts.deleting) {
        known.delete(namespace)
        return {}
      }
      if (demanding.length === 0) {
        known.delete(namespace)
        if (facts.strictIsOurs) await label(namespace, false, signal)
        return {}
      }
      const policies = demanding.map(({ policy }) => policy)
      const stamp = stampOf(policies, facts)
      const before = known.get(namespace) ?? (facts.strictIsOurs ? inherited(demanding, stamp) : undefined)
      const next = await probed(namespace, policies, before, stamp, facts.strictIsOurs, signal)
      known.set(namespace, next)
      const strict = isStrict(next.state)
      const isLabelled = facts.strictIsOurs && facts.labels[STRICT_LABEL] === 'true'
      let refusal: Probe | undefined
      try {
        if (strict !== isLabelled && (strict || facts.strictIsOurs)) await label(namespace, strict, signal)
      } catch (error) {
        if (!(error instanceof KubeError && error.status === 403)) throw error
        refusal = { probe: 'forbidden', detail: error.message }
      }
      const byHand = facts.labels[STRICT_LABEL] === 'true' && !facts.strictIsOurs
      for (const entry of demanding) {
        const own = next.probes.get(entry.policy.name) ?? { probe: 'injected' }
        // One that is proved waits for the others: there is one label for all.
        const probe = refusal ?? (own.probe === 'injected' ? ([...next.probes.values()].find(each => each.probe !== 'injected') ?? own) : own)
        const said = refusal === undefined ? next.state : { ...next.state, phase: 'unproved' as const }
        await writer.say(entry, pathCondition(said, probe, { namespace, installation: settings.namespace, byHand, times }), signal)
      }
      return { againMs: Math.max(1, next.dueMs - clock.monotonic()) }
    },
  }
}

/** A proof holds for these policies, and for a namespace that looks so to webhooks. */
function stampOf(policies: readonly SessionPolicy[], { labels, annotations }: NamespaceEntry): string {
  const others = Object.entries(labels).filter(([name]) => name !== STRICT_LABEL).toSorted()
  return JSON.stringify([policies.map(({ uid, generation }) => [uid, generation]), others, Object.keys(annotations).toSorted()])
}
