/** Policies, the pods that they select, and what is made for them. */

import { STRICT_LABEL } from '../../../inject/marks.ts'
import { holds } from '../../../kube/apply.ts'
import { eachOf } from '../../../kube/pages.ts'
import { planNetwork } from '../../../operator/network/decide.ts'
import { shortDigest } from '../../../platform/digest.ts'
import { numberAt, textAt } from '../../../policy/json.ts'
import type { JsonObject } from '../../../policy/json.ts'
import type { Check, CheckResult } from '../check.ts'
import { note, ok, problem, SeeFirst } from '../check.ts'
import { dryRuns } from './dry-run.ts'
import { causeOf, LEADER_CHECK } from './installation-checks.ts'
import { counted, Named, named } from './named.ts'
import { INJECTOR, MAX_POLICIES, versionOf } from './subject.ts'
import type { ClusterSubject } from './subject.ts'
import type { Survey } from './survey.ts'

/** The operator is given so long to look at what has changed. */
const LOOKING_MS = 60_000
/** Told of by checks of pods, or made of the others. */
const TOLD_ELSEWHERE = ['Injected', 'Ready']

/** What checks look at: the cluster, and its pods once. */
export interface PolicySubject extends ClusterSubject {
  survey(signal: AbortSignal): Promise<Survey>
}

type PolicyCheck = Check<PolicySubject>

export const POLICY_CHECKS: readonly PolicyCheck[] = [
  {
    id: 'policies.read',
    title: 'policies can be read',
    run: async (subject, signal) => {
      const views = await subject.policies(signal)
      const where = subject.namespace === undefined ? '' : ` in ${subject.namespace}`
      if (views.length === 0) return note(`there is no policy${where}`, 'nothing is recorded', 'write one: docs/policy.md')
      const odd = views.filter(each => each.policy === undefined)
      if (odd[0] !== undefined) return problem(`${counted(odd.length, 'policy', 'policies')} cannot be read: ${odd[0].key}: ${odd[0].problem}`, 'a program of this version records nothing by them', 'correct them, or bring definition, injector and operator to one version')
      if (views.length >= MAX_POLICIES) return note(`only the first ${MAX_POLICIES} policies are looked at`, 'the others are not judged', 'look at one namespace at a time: --namespace NAME')
      return ok(`${counted(views.length, 'policy', 'policies')}${where}`)
    },
  },
  {
    id: 'policies.conditions',
    title: 'policies have what they need',
    run: async (subject, signal) => {
      const wrong = new Named()
      const open = new Named()
      let isFalse = false
      for (const { key, conditions, generation, createdMs, deleting } of await subject.policies(signal)) {
        if (deleting) continue
        const current = conditions.filter(each => numberAt(each, 'observedGeneration') === generation)
        for (const each of current) {
          if (each['status'] === 'True' || TOLD_ELSEWHERE.includes(textAt(each, 'type') ?? '')) continue
          isFalse ||= each['status'] === 'False'
          wrong.add(conditionText(key, each))
        }
        if (!current.some(each => each['type'] === 'Ready') && subject.now() - createdMs > LOOKING_MS) open.add(key)
      }
      const change = 'docs/operate.md#status lists every reason and what to do'
      if (wrong.count > 0) return (isFalse ? problem : note)(wrong.text, 'what the policy asks for is not in place', change)
      if (open.count === 0) return ok('all conditions are True')
      const leader = await Promise.resolve(LEADER_CHECK.run(subject, signal)).catch(() => undefined)
      if (leader?.state !== 'ok') throw new SeeFirst(LEADER_CHECK.id)
      return problem(`the operator has not looked at ${open.text}`, 'their status says nothing, and nothing is made for them', "see the operator's log")
    },
  },
  {
    id: 'policies.pods',
    title: 'every policy selects pods',
    run: async (subject, signal) => {
      const { idle } = await subject.survey(signal)
      if (idle.count === 0) return ok('all do')
      return note(`${counted(idle.count, 'policy', 'policies')} without a pod that runs: ${idle.text}`, 'nothing is recorded by them', 'compare the selector with kubectl get pods --show-labels in the same namespace')
    },
  },
  {
    id: 'pods.recorded',
    title: 'pods that should be recorded are',
    run: async (subject, signal) => {
      const { before, missing, recorded } = await subject.survey(signal)
      if (before.count + missing.count === 0) return ok(`${counted(recorded, 'pod')} with a recorder`)
      const parts = [...(before.count === 0 ? [] : [`created before their policy: ${before.text}`]), ...(missing.count === 0 ? [] : [`created while no injector answered, or before the policy became what it is: ${missing.text}`])]
      return problem(`${counted(before.count + missing.count, 'pod')} without a recorder; ${parts.join('; ')}`, 'what they do is not recorded', 'restart their owners (kubectl rollout restart …), or set repair: Restart in the policy')
    },
  },
  {
    id: 'pods.recordable',
    title: 'pods that policies select can be recorded',
    run: async (subject, signal) => {
      const { skipped, skippedWhy } = await subject.survey(signal)
      if (skipped.count === 0) return ok('all can')
      return problem(`${counted(skipped.count, 'pod')} cannot be recorded: ${skipped.text}; the first: ${skippedWhy}`, 'what they do is not recorded', 'docs/inject.md#why-a-pod-is-not-recorded has every reason')
    },
  },
  {
    id: 'pods.current',
    title: 'recorders are as policies and installation say',
    run: async (subject, signal) => {
      const change = 'restart their owners (kubectl rollout restart …), or set repair: Restart in the policy'
      const why = 'they record as an earlier policy or installation said'
      // Another version may set recorders up otherwise.
      const installed = versionOf(await subject.deployment(INJECTOR, signal).catch(() => undefined))
      if (installed !== undefined && installed !== subject.version) {
        const counts = (await subject.policies(signal)).filter(each => each.outdated > 0)
        return counts.length === 0 ? ok('the operator counts none that is outdated') : note(`the operator counts outdated recorders: ${named(counts.map(each => `${each.key} ${each.outdated}`)).text}`, why, change)
      }
      const { outdated } = await subject.survey(signal)
      return outdated.count === 0 ? ok('all are') : note(`${counted(outdated.count, 'recorder')} outdated: ${outdated.text}`, why, change)
    },
  },
  {
    id: 'recorders.ready',
    title: 'recorders record',
    run: async (subject, signal) => {
      const { stuck } = await subject.survey(signal)
      if (stuck.count === 0) return ok('all are ready')
      return problem(`${counted(stuck.count, 'recorder')} not ready: ${stuck.text}`, 'their pods are not ready, and get no calls', 'kubectl logs POD -c steno-recorder; docs/troubleshooting.md#pods')
    },
  },
  {
    id: 'injector.dry-run',
    title: 'a pod that is only tried gets a recorder',
    run: async (subject, signal) => {
      const { injected, bare, away, refused, left } = await dryRuns(subject, signal)
      if (bare.count + away.count > 0) {
        const cause = await causeOf(subject, signal)
        if (cause !== undefined) throw new SeeFirst(cause)
        return problem(`no recorder in a dry run: ${[bare, away].filter(each => each.count > 0).map(each => each.text).join('; ')}`, 'new pods are not recorded, or in strict namespaces not let in', 'see whether the webhooks leave this namespace out, whether another webhook takes the recorder away, and whether the API server reaches the injector (firewall, NetworkPolicy)')
      }
      if (refused.count > 0) return { state: 'unknown', found: `refused for another reason: ${refused.text}`, change: 'let these credentials create pods in dry runs (hack/doctor/role.yaml), see what refuses them, or leave this check out with --skip' }
      if (injected === 0) return note('nothing to try it with', 'no policy selects a pod that could be recorded', 'see policies.read, or correct the selector')
      return ok(`in ${counted(injected, 'dry run')}${left === 0 ? '' : `; ${counted(left, 'policy', 'policies')} not tried`}`)
    },
  },
  {
    id: 'namespaces.strict',
    title: 'the injector is there for namespaces that are strict',
    run: async (subject, signal) => {
      const { strict } = await subject.namespaces(signal)
      if (strict.count === 0) return ok('none is strict')
      const cause = await causeOf(subject, signal)
      if (cause === undefined) return ok(strict.text)
      return problem(`${strict.text}, and the injector is away (see ${cause})`, 'pods that should be recorded cannot be created there, and nobody can connect to pods', `mend ${cause}; to let pods in unrecorded meanwhile: kubectl label namespace NAME ${STRICT_LABEL}-`)
    },
  },
  {
    id: 'nodes.versions',
    title: 'nodes are new enough for native sidecars',
    run: async (subject, signal) => {
      const { oldestMinor, count, unfit, plain } = await subject.nodes(signal)
      if (oldestMinor === undefined) return problem('no node has said its version', 'no pod gets a recorder', 'kubectl get nodes')
      if (unfit.count > 0) return problem(`older than 1.30: ${unfit.text}`, 'no pod gets a recorder while there is such a node', 'upgrade the node')
      if (plain.count > 0) return note(`older than 1.33: ${plain.text}`, 'recorders are plain containers: they start beside the server, and pods that are meant to end are not recorded', 'upgrade the node')
      return ok(`${counted(count, 'node')}, the oldest 1.${oldestMinor}`)
    },
  },
  { id: 'network.closed', title: 'direct ports are closed by NetworkPolicies', run: checkNetwork },
]

async function checkNetwork(subject: PolicySubject, signal: AbortSignal): Promise<CheckResult> {
  const { shapes } = await subject.survey(signal)
  const wrong = new Named()
  let closed = 0
  const policies = await subject.policies(signal)
  const concerned = policies.flatMap(each => (each.policy?.spec.directPort === 'Close' && !each.deleting && shapes.has(each.key) ? [{ key: each.key, policy: each.policy }] : []))
  for (const [namespace, group] of Map.groupBy(concerned, each => each.policy.namespace)) {
    const there: JsonObject[] = []
    for await (const object of eachOf(subject.client, `/apis/networking.k8s.io/v1/namespaces/${namespace}/networkpolicies`, { signal })) there.push(object)
    const names = policies.filter(each => each.namespace === namespace).map(({ name }) => name)
    for (const { key, policy } of group) {
      const plan = planNetwork(policy, shapes.get(key) ?? [], there, names, shortDigest)
      // That the port cannot be closed is a condition.
      if (plan.plan === 'none') continue
      const name = textAt(plan.object['metadata'], 'name') ?? ''
      const found = there.find(each => textAt(each['metadata'], 'name') === name)
      if (found === undefined) wrong.add(`${key}: there is no NetworkPolicy ${name}`)
      else if (!holds(plan.object['spec'], found['spec'])) wrong.add(`${key}: NetworkPolicy ${name} is not as it should be`)
      else closed++
    }
  }
  if (wrong.count === 0) return ok(closed === 0 ? 'none is needed' : counted(closed, 'NetworkPolicy', 'NetworkPolicies'))
  return problem(wrong.text, "the server's own port can be reached past the recorder", "the operator makes it: see operator.leader and the operator's log")
}

function conditionText(policy: string, condition: JsonObject): string {
  return `${policy}: ${textAt(condition, 'type') ?? ''} is ${textAt(condition, 'status') ?? ''} (${textAt(condition, 'reason') ?? ''}): ${textAt(condition, 'message') ?? ''}`
}
