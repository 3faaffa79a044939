/**
 * Watches policies, pods and service accounts. Makes the IAM roles of a policy and keeps them right; writes the condition RoleReady, `status.roles`,
 * `status.rolesHash` and the finalizer `steno.dev/roles`. What exists outside is written down before it is made: a leader that is killed leaves nothing
 * that the next does not find.
 */

import type { Condition } from '../../kube/conditions.ts'
import { findCondition } from '../../kube/conditions.ts'
import { hasFinalizer, setFinalizer } from '../../kube/finalizer.ts'
import type { ControlPlane } from '../../platform/aws/control-plane.ts'
import { AwsFailure } from '../../platform/aws/failure.ts'
import type { InjectorSettings } from '../../inject/settings.ts'
import type { AwsInstallation } from '../../policy/aws-installation.ts'
import { numberAt, stringsAt, textAt, textsAt } from '../../policy/json.ts'
import { shippingPolicy } from '../../policy/merge.ts'
import { selecting } from '../../policy/select.ts'
import { GROUP, KIND, PLURAL, VERSION } from '../../policy/session-policy.ts'
import type { SessionPolicy } from '../../policy/session-policy.ts'
import { AWS_TIMES, failureCondition, nextCheckMs, RETAIN_ANNOTATION, retryMs } from '../aws.ts'
import type { AwsTimes } from '../aws.ts'
import type { PolicyEntry } from '../cluster-copy.ts'
import { createPolicyWriter } from '../controller.ts'
import type { Controller, ControllerDeps } from '../controller.ts'
import { wantedRoles } from './decide.ts'
import type { WantedRole } from './decide.ts'
import { blockedCondition, CONDITION, pathDenied, roleCondition } from './report.ts'
import type { Blocked, RoleResult } from './report.ts'
import { proveRole, removeRole, settleRole } from './role.ts'
import type { RoleDeps } from './role.ts'

export const FINALIZER = 'steno.dev/roles'

export interface RoleControllerOptions {
  /** As the injector has them. */
  readonly settings: InjectorSettings
  /** Undefined where the installation names no account. */
  readonly plane: ControlPlane | undefined
  readonly times?: Partial<AwsTimes> | undefined
  readonly random: () => number
}

/** What this leader knows of a policy's roles. */
interface Memory {
  /** Of what was wanted when it was looked at. */
  stamp: string
  /** By our clock: nothing is asked before, unless something else is wanted. */
  untilMs: number
  failures: number
  condition: Condition | undefined
  /** Kept while nothing is asked. */
  roles: readonly string[]
  /** Service accounts with which a role was taken on, by its ARN. */
  readonly proved: Map<string, Set<string>>
  readonly refusals: Map<string, number>
  /** When a service account was last seen on a pod, by purpose. */
  readonly used: Map<string, number>
  /** ARNs of roles that are gone. */
  readonly gone: Set<string>
  readonly absentSince: Map<string, number>
}

interface Plan {
  readonly roles: readonly WantedRole[]
  readonly tooMany: readonly string[]
  readonly annotated: readonly string[]
  readonly stamp: string
}

interface Outcome {
  readonly condition: Condition
  /** ARNs of those that are there, or may be. */
  readonly roles: readonly string[]
  readonly againMs: number
}

export function roleController(deps: ControllerDeps, { settings, plane, random, ...options }: RoleControllerOptions): Controller {
  const { client, copy, clock, digest, events } = deps
  const times: AwsTimes = { ...AWS_TIMES, ...options.times }
  const writer = createPolicyWriter(deps, 'steno-role')
  const memories = new Map<string, Memory>()
  const setup = plane === undefined || settings.aws === undefined ? undefined : { client, plane, aws: settings.aws, digest }

  const memoryOf = (key: string): Memory => {
    const known = memories.get(key)
    if (known !== undefined) return known
    const made: Memory = { stamp: '', untilMs: -Infinity, failures: 0, condition: undefined, roles: [], proved: new Map(), refusals: new Map(), used: new Map(), gone: new Set(), absentSince: new Map() }
    memories.set(key, made)
    return made
  }
  const finalize = async ({ object, key }: PolicyEntry, wanted: boolean, signal: AbortSignal): Promise<boolean> => {
    const [namespace = '', name = ''] = key.split('/')
    return await setFinalizer(client, `/apis/${GROUP}/${VERSION}/namespaces/${namespace}/${PLURAL}/${name}`, textAt(object['metadata'], 'uid') ?? '', FINALIZER, wanted, signal)
  }
  const tell = ({ object, key }: PolicyEntry, type: 'Normal' | 'Warning', reason: string, note: string): void => {
    const [namespace = '', name = ''] = key.split('/')
    events.tell({ namespace, regarding: { apiVersion: `${GROUP}/${VERSION}`, kind: KIND, namespace, name, uid: textAt(object['metadata'], 'uid') ?? '' }, type, reason, action: 'Reconcile', note })
  }

  const planOf = (aws: AwsInstallation, policy: SessionPolicy, memory: Memory): Plan => {
    const others = copy.policiesIn(policy.namespace)
    const pods = copy.selectedPods(policy)
    const now = clock.monotonic()
    const accounts = (purpose: string, current: readonly string[]): readonly string[] => {
      for (const account of current) memory.used.set(`${purpose} ${account}`, now)
      for (const [key, at] of memory.used) if (now - at > times.keepMs) memory.used.delete(key)
      return [...memory.used.keys()].flatMap(key => (key.startsWith(`${purpose} `) ? [key.slice(purpose.length + 1)] : []))
    }
    const shipping = accounts('ship', pods.filter(pod => shippingPolicy(selecting(others, pod.labels)) === policy.name).map(({ serviceAccount }) => serviceAccount))
    const working = accounts('work', pods.map(({ serviceAccount }) => serviceAccount))
    const installed = 'firehose' in settings.sink ? settings.sink.firehose : undefined
    const { roles, tooMany } = wantedRoles({ aws, policy, digest, shipping, working, sink: settings.roleArn === undefined ? (policy.spec.sink ?? installed) : undefined, policyArns: policy.spec.policyArns })
    const annotated = [...new Set(pods.map(({ serviceAccount }) => serviceAccount))].filter(account => copy.roleOfAccount(policy.namespace, account) !== undefined)
    return { roles, tooMany, annotated, stamp: digest(JSON.stringify([roles.map(({ tags, trust, inline, arn, policyArns }) => ({ tags, trust, inline, arn, policyArns })), tooMany, annotated, aws.boundary ?? ''])) }
  }

  /** Makes what should be there, takes away what should not. Rejects with an AwsFailure. */
  const act = async (setup: RoleDeps & { readonly aws: AwsInstallation }, boundary: string, entry: PolicyEntry & { readonly policy: SessionPolicy }, memory: Memory, plan: Plan, obsolete: readonly string[], signal: AbortSignal): Promise<Outcome> => {
    const results: RoleResult[] = []
    for (const wanted of plan.roles) results.push(await settle(setup, boundary, entry, memory, wanted, signal))
    // Ours by its tags, whether it is listed or not, and in the way of the one that should be.
    const elsewhere = results.flatMap(each => (each.result === 'elsewhere' ? [each.arn] : []))
    const { blocked, pending } = await removeAll(setup, entry.policy, memory, [...new Set([...obsolete, ...elsewhere])], signal)
    const condition = roleCondition({ results, blocked, tooMany: plan.tooMany, annotated: plan.annotated, boundary })
    const isSlow = results.some(({ result }) => result === 'propagating' || (result === 'elsewhere' && blocked.length === 0)) || pending.length > 0
    const isWell = condition.status === 'True' || condition.reason === 'ServiceAccountHasRole'
    memory.failures = isSlow || isWell ? 0 : memory.failures + 1
    const againMs = isSlow ? times.proveMs * (0.5 + random()) : isWell ? nextCheckMs(times, random()) : retryMs(times, memory.failures + 3, random())
    return { condition, againMs, roles: [...plan.roles.map(({ arn }) => arn), ...obsolete.filter(arn => !memory.gone.has(arn))] }
  }

  const settle = async (setup: RoleDeps, boundary: string, entry: PolicyEntry & { readonly policy: SessionPolicy }, memory: Memory, wanted: WantedRole, signal: AbortSignal): Promise<RoleResult> => {
    const { policy } = entry
    const { name, arn } = wanted
    memory.gone.delete(arn)
    memory.absentSince.delete(arn)
    const before = await settleRole(setup, policy, wanted, boundary, signal).catch((error: unknown) => {
      // A role of a moment ago, of which not all of IAM knows yet; a managed policy that is not there is another matter.
      if (error instanceof AwsFailure && error.problem === 'missing' && error.action !== 'iam:AttachRolePolicy') return error.message
      throw error
    })
    if (typeof before === 'string') return { result: 'propagating', name, detail: before }
    if (before.settled === 'unclear') return { result: 'propagating', name, detail: '' }
    if (before.settled === 'boundary') return { result: 'boundary', name, boundary: before.boundary }
    if (before.settled === 'elsewhere') return { result: 'elsewhere', name, arn: before.arn }
    if (before.settled !== 'right') return { result: before.settled, name }
    const known = memory.proved.get(arn)
    // Whom it let in before is let in still; of whom it did not, that has to be seen.
    const proved = before.isNew || known === undefined ? new Set<string>() : before.steps.includes('trust') ? new Set([...known].filter(account => before.trustedBefore.includes(account))) : known
    memory.proved.set(arn, proved)
    if (before.steps.length > 0 && !before.isNew && findCondition(entry.object, CONDITION)?.['status'] === 'True' && memory.stamp === textAt(entry.object['status'], 'rolesHash')) tell(entry, 'Warning', 'RoleRepaired', `Role ${name} was not as it should be and was put right: ${before.steps.join(', ')}.`)
    for (const account of wanted.serviceAccounts) {
      if (proved.has(account)) continue
      const proof = await proveRole(setup, policy.namespace, account, arn, signal)
      if (proof.proof === 'taken-on') {
        proved.add(account)
        memory.refusals.delete(arn)
        continue
      }
      if (proof.proof === 'no-account') return { result: 'no-account', name, detail: proof.detail }
      const refusals = (memory.refusals.get(arn) ?? 0) + 1
      memory.refusals.set(arn, refusals)
      return { result: refusals > times.proofs ? 'not-assumable' : 'propagating', name, detail: proof.detail }
    }
    return { result: 'ready', name, foreign: before.foreign }
  }

  /** @returns those that could not go, and those of which it is too early to say that they are gone. Rejects with an AwsFailure. */
  const removeAll = async (setup: RoleDeps, policy: Pick<SessionPolicy, 'namespace' | 'name'>, memory: Memory, arns: readonly string[], signal: AbortSignal): Promise<{ readonly blocked: readonly Blocked[]; readonly pending: readonly string[] }> => {
    const blocked: Blocked[] = []
    const pending: string[] = []
    for (const arn of arns) {
      const answer = await removeRole(setup, policy, arn.slice(arn.lastIndexOf('/') + 1), signal)
      if (answer.removed === 'blocked') blocked.push(answer.blocked)
      else if (answer.removed === 'gone' || isSettled(memory, arn)) memory.gone.add(arn)
      else pending.push(arn)
    }
    return { blocked, pending }
  }
  const isSettled = (memory: Memory, arn: string): boolean => {
    const now = clock.monotonic()
    const since = memory.absentSince.get(arn) ?? now
    memory.absentSince.set(arn, since)
    return now - since >= times.settleMs
  }

  const remove = async (entry: PolicyEntry, signal: AbortSignal): Promise<{ readonly againMs?: number }> => {
    if (!hasFinalizer(entry.object, FINALIZER)) return {}
    const listed = stringsAt(entry.object['status'], 'roles')
    if (textsAt(entry.object['metadata'], 'annotations')[RETAIN_ANNOTATION] === 'true') {
      tell(entry, 'Normal', 'RolesRetained', `Roles stay, as the annotation ${RETAIN_ANNOTATION} asks: ${listed.join(', ')}`)
      await finalize(entry, false, signal)
      return {}
    }
    const memory = memoryOf(entry.key)
    if (setup === undefined) {
      if (listed.length === 0) {
        await finalize(entry, false, signal)
        return {}
      }
      await writer.say(entry, notConfigured(listed), signal, { roles: [...listed] })
      return {}
    }
    const stamp = `deleting ${listed.join(' ')}`
    if (memory.stamp !== stamp) Object.assign(memory, { stamp, untilMs: -Infinity, failures: 0 })
    const waitMs = memory.untilMs - clock.monotonic()
    if (waitMs > 0) {
      if (memory.condition !== undefined) await writer.say(entry, memory.condition, signal, { roles: [...memory.roles] })
      return { againMs: waitMs }
    }
    const [namespace = '', name = ''] = entry.key.split('/')
    // Roles that were seen whole once are not of a moment ago.
    const wereWhole = textAt(entry.object['status'], 'rolesHash') !== undefined
    const left = (): string[] => listed.filter(arn => !memory.gone.has(arn))
    let condition: Condition
    let againMs: number
    try {
      if (wereWhole) for (const arn of listed) if (!memory.absentSince.has(arn)) memory.absentSince.set(arn, -Infinity)
      const { blocked } = await removeAll(setup, { namespace, name }, memory, left(), signal)
      if (left().length === 0) {
        await finalize(entry, false, signal)
        return {}
      }
      const stuck = blocked[0]
      memory.failures = stuck === undefined ? 0 : memory.failures + 1
      condition = stuck === undefined ? { type: CONDITION, status: 'Unknown', reason: 'Deleting', message: 'Roles that were just made are waited for, so that none is left behind.' } : blockedCondition(stuck)
      againMs = stuck === undefined ? times.settleMs / 3 : retryMs(times, memory.failures + 3, random())
    } catch (error) {
      if (!(error instanceof AwsFailure)) throw error
      memory.failures++
      condition = failureCondition(CONDITION, error, 'The deletion of the policy and of its roles')
      againMs = retryMs(times, memory.failures, random())
    }
    Object.assign(memory, { condition, roles: listed, untilMs: clock.monotonic() + againMs })
    await writer.say(entry, condition, signal, { roles: [...listed] })
    return { againMs }
  }

  const reconcile = async (key: string, signal: AbortSignal): Promise<{ readonly againMs?: number }> => {
    const entry = copy.policy(key)
    if (entry === undefined) memories.delete(key)
    if (entry === undefined || (!entry.deleting && entry.policy === undefined)) return {}
    if (entry.deleting) return await remove(entry, signal)
    const { policy, object } = entry
    if (policy === undefined) return {}
    const status = object['status']
    const listed = stringsAt(status, 'roles')
    const finalizing = hasFinalizer(object, FINALIZER)
    if (setup === undefined) {
      if (finalizing || findCondition(object, CONDITION) !== undefined) await writer.say(entry, notConfigured(listed), signal, { roles: [...listed] })
      return {}
    }
    const { aws } = setup
    const memory = memoryOf(key)
    const plan = planOf(aws, policy, memory)
    const wantedArns = plan.roles.map(({ arn }) => arn)
    const obsolete = listed.filter(arn => !wantedArns.includes(arn) && !memory.gone.has(arn))
    const sayWith = async (condition: Condition, roles: readonly string[], isWhole: boolean): Promise<void> => await writer.say({ ...entry, policy }, condition, signal, { roles: [...roles], ...(isWhole ? { rolesHash: plan.stamp } : {}) })

    if (aws.boundary === undefined && plan.roles.length > 0) {
      await sayWith({ type: CONDITION, status: 'False', reason: 'BoundaryNotSet', message: 'No role is made without a permissions boundary: set aws.boundary of the installation to the ARN of a managed policy (docs/aws.md has one).' }, listed, false)
      return {}
    }
    const known = findCondition(object, CONDITION)
    if (memory.condition === undefined && known?.['status'] === 'True' && numberAt(known, 'observedGeneration') === policy.generation && textAt(status, 'rolesHash') === plan.stamp && obsolete.length === 0) {
      // Another leader saw it whole: it is compared again in its turn, and not all at the moment of the change.
      Object.assign(memory, { stamp: plan.stamp, untilMs: clock.monotonic() + times.checkMs * random(), condition: { type: CONDITION, status: 'True', reason: textAt(known, 'reason') ?? '', message: textAt(known, 'message') ?? '' }, roles: listed })
      for (const { arn, serviceAccounts } of plan.roles) memory.proved.set(arn, new Set(serviceAccounts))
    }
    const waitMs = memory.stamp === plan.stamp ? memory.untilMs - clock.monotonic() : 0
    if (waitMs > 0 && memory.condition !== undefined) {
      await sayWith(memory.condition, memory.roles, memory.condition.status === 'True')
      return { againMs: waitMs }
    }
    // Due until it was looked at: a write that fails on the way is tried again, and what was said of something else is not repeated meanwhile.
    if (memory.stamp !== plan.stamp) Object.assign(memory, { stamp: plan.stamp, untilMs: -Infinity, failures: 0 })
    let outcome: Outcome
    try {
      if (plan.roles.length > 0 || obsolete.length > 0) {
        // Before anything is made outside: what keeps the policy until it is undone, and where it can be found.
        // The copy in memory may be older than what was taken away since.
        const isNew = wantedArns.some(arn => !listed.includes(arn) || memory.gone.has(arn))
        if ((isNew || !finalizing) && !(await finalize(entry, true, signal))) return {}
        if (isNew) await sayWith({ type: CONDITION, status: 'Unknown', reason: 'Progressing', message: 'Roles are being made.' }, [...new Set([...listed, ...wantedArns])], false)
      }
      outcome = await act(setup, aws.boundary ?? '', { ...entry, policy }, memory, plan, obsolete, signal)
    } catch (error) {
      if (!(error instanceof AwsFailure)) throw error
      memory.failures++
      const againMs = retryMs(times, error.problem === 'throttled' || error.problem === 'unreachable' ? memory.failures : memory.failures + 3, random())
      // What was well is not called in question by one answer that did not come.
      const isPassing = memory.failures < 3 && memory.condition?.status === 'True' && (error.problem === 'throttled' || error.problem === 'unreachable')
      const left = listed.find(arn => plan.roles.some(wanted => wanted.arn !== arn && arn.endsWith(`/${wanted.name}`)))
      const failure = error.problem === 'denied' && left !== undefined ? pathDenied(left, error.message) : failureCondition(CONDITION, error, 'Roles of the policy')
      outcome = { condition: isPassing && memory.condition !== undefined ? memory.condition : failure, againMs, roles: [...new Set([...listed, ...wantedArns])] }
    }
    Object.assign(memory, { condition: outcome.condition, roles: outcome.roles, untilMs: clock.monotonic() + outcome.againMs })
    await sayWith(outcome.condition, outcome.roles, outcome.condition.status === 'True')
    if (finalizing && outcome.roles.length === 0 && outcome.condition.status === 'True') await finalize(entry, false, signal)
    return { againMs: outcome.againMs }
  }
  return { name: 'role', reconcile }
}

function notConfigured(roles: readonly string[]): Condition {
  const message = roles.length === 0 ? 'The installation names no AWS account any more: recorders take on recorder.roleArn, or none.' : `The installation names no AWS account any more, so that roles made for this policy are neither kept nor deleted: set aws again, or set the annotation ${RETAIN_ANNOTATION}: "true" to let them be. ${roles.join(', ')}`
  return { type: CONDITION, status: roles.length === 0 ? 'True' : 'False', reason: roles.length === 0 ? 'NoRoles' : 'AwsNotConfigured', message }
}
