/** Pods that the API server sends through all webhooks and does not keep: `dryRun=All`. Nothing is stored, scheduled, or counted against a quota, and webhooks are told. */

import { decide } from '../../../inject/decide.ts'
import { KubeError } from '../../../kube/client.ts'
import { judgeExpected, judgePod, judgeRefusal, probePod } from '../../../operator/path/decide.ts'
import type { Probe } from '../../../operator/path/decide.ts'
import { shortDigest } from '../../../platform/digest.ts'
import type { SessionPolicy } from '../../../policy/session-policy.ts'
import { Named } from './named.ts'
import type { ClusterSubject } from './subject.ts'

/** Policies that are tried; of different namespaces first. */
const MAX_TRIED = 20

export interface DryRuns {
  readonly injected: number
  /** They came out without a recorder; the injector could not be asked. */
  readonly bare: Named
  readonly away: Named
  /** For reasons that say nothing about the injector. */
  readonly refused: Named
  /** Policies that were not tried. */
  readonly left: number
}

/** Rejects with a KubeError when the API server could not be asked. */
export async function dryRuns(subject: ClusterSubject, signal: AbortSignal): Promise<DryRuns> {
  const all = (await subject.policies(signal)).flatMap(each => (each.deleting ? [] : (each.policy ?? [])))
  const groups = [...Map.groupBy(all, each => each.namespace).values()]
  const firsts = new Set(groups.flatMap(group => group.slice(0, 1)))
  const tried = [...firsts, ...all.filter(each => !firsts.has(each))].slice(0, MAX_TRIED)
  const found = { injected: 0, bare: new Named(), away: new Named(), refused: new Named(), left: all.length - tried.length }
  for (const policy of tried) {
    const probe = await dryRun(subject, policy, signal)
    const about = `${policy.namespace}/${policy.name}`
    if (probe === undefined || probe.probe === 'unfit') continue
    if (probe.probe === 'injected') found.injected++
    else if (probe.probe === 'bare') found.bare.add(`${about}: ${probe.detail}`)
    else if (probe.probe === 'away') found.away.add(`${about}: ${probe.detail}`)
    else found.refused.add(`${about}: ${probe.detail}`)
  }
  return found
}

/** Undefined when no pod fits the selector. */
async function dryRun(subject: ClusterSubject, policy: SessionPolicy, signal: AbortSignal): Promise<Probe | undefined> {
  const { namespace } = policy
  const [settings, policies, { oldestMinor }, { facts }] = [await subject.settings(signal), await subject.policiesOf(namespace, signal), await subject.nodes(signal), await subject.namespaces(signal)]
  const pod = probePod(policy, policies, settings.image)
  if (pod === undefined) return undefined
  const about = facts.get(namespace) ?? { name: namespace, labels: {}, annotations: {} }
  const unfit = judgeExpected(decide({ pod, namespace: about, policies, settings, oldestNodeMinor: oldestMinor, digest: shortDigest }))
  if (unfit !== undefined) return unfit
  try {
    return judgePod(await subject.client.request(`/api/v1/namespaces/${namespace}/pods?dryRun=All`, { method: 'POST', body: pod, signal }))
  } catch (error) {
    const judged = error instanceof KubeError ? judgeRefusal(error.status, error.message) : undefined
    if (judged === undefined) throw error
    return judged
  }
}
