/**
 * Watches policies. Makes EKS access entries for the IAM roles of `access.connect`; writes the condition EntriesReady, `status.accessEntries` and the
 * finalizer `steno.dev/access-entries`. A role has one entry in a cluster, whichever policies name it: it goes with the last of them.
 */

import type { Condition } from '../../kube/conditions.ts'
import { findCondition } from '../../kube/conditions.ts'
import { hasFinalizer, setFinalizer } from '../../kube/finalizer.ts'
import type { ControlPlane } from '../../platform/aws/control-plane.ts'
import { AwsFailure } from '../../platform/aws/failure.ts'
import type { AwsInstallation } from '../../policy/aws-installation.ts'
import { numberAt, sameJson, stringsAt, textAt, textsAt } from '../../policy/json.ts'
import { GROUP, PLURAL, VERSION } from '../../policy/session-policy.ts'
import { AWS_TIMES, failureCondition, nextCheckMs, RETAIN_ANNOTATION, retryMs } from '../aws.ts'
import type { AwsTimes } from '../aws.ts'
import type { PolicyEntry } from '../cluster-copy.ts'
import { createPolicyWriter } from '../controller.ts'
import type { Controller, ControllerDeps } from '../controller.ts'
import { CONDITION, entriesCondition, entryTags, isOurs, notConfigured, wantedEntries } from './decide.ts'
import type { EntryResult, WantedEntry } from './decide.ts'

export const FINALIZER = 'steno.dev/access-entries'

export interface EntriesControllerOptions {
  readonly aws: AwsInstallation | undefined
  /** Undefined where the installation names no account. */
  readonly plane: ControlPlane | undefined
  readonly times?: Partial<AwsTimes> | undefined
  readonly random: () => number
}

interface Memory {
  readonly stamp: string
  readonly untilMs: number
  readonly failures: number
  readonly condition: Condition
  readonly entries: readonly string[]
}

export function entriesController(deps: ControllerDeps, { aws, plane, random, ...options }: EntriesControllerOptions): Controller {
  const { client, copy, clock } = deps
  const times: AwsTimes = { ...AWS_TIMES, ...options.times }
  const writer = createPolicyWriter(deps, 'steno-entries')
  const memories = new Map<string, Memory>()
  const setup = aws === undefined || plane === undefined ? undefined : { aws, eks: plane.eks }
  /** Work on the entry of a role, one thing after another: of two policies one may need it while the other has just let it go. */
  const lines = new Map<string, Promise<unknown>>()

  const inLine = async <T>(principal: string, work: () => Promise<T>): Promise<T> => {
    const mine = (lines.get(principal) ?? Promise.resolve()).then(work, work)
    const last = mine.catch(() => {}).finally(() => {
      if (lines.get(principal) === last) lines.delete(principal)
    })
    lines.set(principal, last)
    return await mine
  }
  const isNamed = (principal: string, except: string): boolean => [...copy.policies()].some(({ key, policy, deleting }) => key !== except && !deleting && policy !== undefined && wantedEntries(policy).some(each => each.principal === principal))
  const finalize = async ({ object, key }: PolicyEntry, wanted: boolean, signal: AbortSignal): Promise<boolean> => {
    const [namespace = '', name = ''] = key.split('/')
    return await setFinalizer(client, `/apis/${GROUP}/${VERSION}/namespaces/${namespace}/${PLURAL}/${name}`, textAt(object['metadata'], 'uid') ?? '', FINALIZER, wanted, signal)
  }

  const ensure = async ({ aws: { cluster }, aws: installation, eks }: NonNullable<typeof setup>, { principal, group }: WantedEntry, signal: AbortSignal): Promise<EntryResult> => {
    const found = await eks.getEntry(cluster, principal, signal)
    if (found === undefined) {
      await eks.createEntry(cluster, { principal, groups: [group], tags: entryTags(installation) }, signal)
      return { result: 'ready', principal }
    }
    // Of somebody else's it is enough that the group is in it.
    if (!isOurs(found.tags, installation)) return found.groups.includes(group) ? { result: 'ready', principal } : { result: 'taken', principal, group }
    if (!sameJson([...found.groups], [group])) await eks.updateGroups(cluster, principal, [group], signal)
    return { result: 'ready', principal }
  }
  const drop = async ({ aws: installation, eks }: NonNullable<typeof setup>, principal: string, key: string, signal: AbortSignal): Promise<void> =>
    await inLine(principal, async () => {
      if (isNamed(principal, key)) return
      const found = await eks.getEntry(installation.cluster, principal, signal)
      if (found !== undefined && isOurs(found.tags, installation)) await eks.deleteEntry(installation.cluster, principal, signal)
    })

  return {
    name: 'entries',
    reconcile: async (key, signal) => {
      const entry = copy.policy(key)
      if (entry === undefined) memories.delete(key)
      if (entry === undefined || (entry.policy === undefined && !entry.deleting)) return {}
      const { object, policy, deleting } = entry
      const listed = stringsAt(object['status'], 'accessEntries')
      const wanted = policy === undefined || deleting ? [] : wantedEntries(policy)
      const principals = wanted.map(({ principal }) => principal)
      const finalizing = hasFinalizer(object, FINALIZER)
      if (deleting && !finalizing) return {}
      const isRetained = textsAt(object['metadata'], 'annotations')[RETAIN_ANNOTATION] === 'true'
      if (deleting && (isRetained || (setup === undefined && listed.length === 0))) {
        await finalize(entry, false, signal)
        return {}
      }
      const known = findCondition(object, CONDITION)
      if (setup === undefined) {
        if (wanted.length > 0 || finalizing) await writer.say(entry, notConfigured(), signal, { accessEntries: [...listed] })
        else if (known !== undefined) await writer.say(entry, entriesCondition([], ''), signal)
        return {}
      }
      const { cluster } = setup.aws
      const memory = memories.get(key)
      const stamp = JSON.stringify([cluster, wanted, deleting])
      const say = async (condition: Condition, entries: readonly string[]): Promise<void> => await writer.say(entry, condition, signal, { accessEntries: [...entries] })
      // Another leader saw it so: it is compared again in its turn.
      const isWell = memory === undefined && !deleting && known?.['status'] === 'True' && numberAt(known, 'observedGeneration') === numberAt(object['metadata'], 'generation') && sameJson([...listed].toSorted(), [...principals].toSorted())
      if (isWell) memories.set(key, { stamp, untilMs: clock.monotonic() + times.checkMs * random(), failures: 0, condition: entriesCondition(principals.map(principal => ({ result: 'ready', principal })), cluster), entries: listed })
      const current = memories.get(key)
      const waitMs = current === undefined || current.stamp !== stamp ? 0 : current.untilMs - clock.monotonic()
      if (current !== undefined && waitMs > 0) {
        await say(current.condition, current.entries)
        return { againMs: waitMs }
      }
      const before = current?.stamp === stamp ? current.failures : 0
      let failures = 0
      let againMs = nextCheckMs(times, random())
      let condition: Condition
      let entries: readonly string[] = principals
      try {
        if (wanted.length > 0) {
          // Before anything is made outside: what keeps the policy until it is undone, and where it can be found.
          if (!(await finalize(entry, true, signal))) return {}
          if (principals.some(each => !listed.includes(each))) await say({ type: CONDITION, status: 'Unknown', reason: 'Progressing', message: 'Access entries are being made.' }, [...new Set([...listed, ...principals])])
        }
        const results: EntryResult[] = []
        for (const each of wanted) results.push(await inLine(each.principal, async () => await ensure(setup, each, signal)))
        for (const principal of listed) if (!principals.includes(principal)) await drop(setup, principal, key, signal)
        condition = entriesCondition(results, cluster)
        if (condition.status !== 'True') {
          failures = before + 1
          againMs = retryMs(times, failures + 3, random())
        }
      } catch (error) {
        if (!(error instanceof AwsFailure)) throw error
        failures = before + 1
        againMs = retryMs(times, failures, random())
        entries = [...new Set([...listed, ...principals])]
        condition = failureCondition(CONDITION, error, deleting ? 'The deletion of the policy and of its access entries' : 'Access entries')
      }
      memories.set(key, { stamp, untilMs: clock.monotonic() + againMs, failures, condition, entries })
      if (finalizing && entries.length === 0) await finalize(entry, false, signal)
      if (deleting && entries.length === 0) return {}
      await say(condition, entries)
      return { againMs }
    },
  }
}
