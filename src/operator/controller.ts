/** What every controller is given, and how it writes: objects of a policy, and what it has to say in the policy's status. */

import { createApplier } from '../kube/apply.ts'
import type { Applied } from '../kube/apply.ts'
import type { KubeClient } from '../kube/client.ts'
import { conditionJson, findCondition } from '../kube/conditions.ts'
import type { Condition } from '../kube/conditions.ts'
import type { EventRecorder } from '../kube/events.ts'
import type { Reconcile } from '../kube/work-queue.ts'
import type { Clock } from '../platform/clock.ts'
import { numberAt, textAt } from '../policy/json.ts'
import type { JsonObject } from '../policy/json.ts'
import { GROUP, KIND, PLURAL, VERSION } from '../policy/session-policy.ts'
import type { SessionPolicy } from '../policy/session-policy.ts'
import { OWN_KINDS } from './cluster-copy.ts'
import type { ClusterCopy, OwnKind, PolicyEntry } from './cluster-copy.ts'
import { isOwnedBy } from './marks.ts'

export interface ControllerDeps {
  readonly client: KubeClient
  readonly copy: ClusterCopy
  readonly events: EventRecorder
  readonly clock: Clock
  /** Short digest of a text. */
  readonly digest: (text: string) => string
}

export interface Controller {
  /** Names its queue, its metrics and its field manager. */
  readonly name: string
  readonly reconcile: Reconcile
  /** Its keys are namespaces instead of policies. */
  readonly ofNamespaces?: boolean
}

export interface PolicyWriter {
  /** Makes the object as wanted, unless it is so already. `taken`: one of that name exists which is not ours. Rejects with a KubeError. */
  ensure(kind: OwnKind, entry: PolicyEntry, wanted: JsonObject, signal: AbortSignal): Promise<Applied>
  /** Deletes the object if there is one and it is ours. Rejects with a KubeError. */
  remove(kind: OwnKind, entry: PolicyEntry, name: string, signal: AbortSignal): Promise<void>
  /** Says a condition, and further fields of the status, unless they say so already. An Event tells when something is wrong, or well again. Rejects with a KubeError. */
  say(entry: PolicyEntry, condition: Condition, signal: AbortSignal, fields?: JsonObject): Promise<void>
}

/** @param manager of the fields that this controller writes; no other controller may use it */
export function createPolicyWriter({ client, copy, events, clock }: ControllerDeps, manager: string): PolicyWriter {
  const applier = createApplier(client, manager)
  const ownPath = (kind: OwnKind, namespace: string, name: string): string => `${OWN_KINDS[kind].group}/namespaces/${namespace}/${OWN_KINDS[kind].plural}/${name}`
  const [namespaceOf, nameOf] = ['namespace', 'name'].map(field => (object: JsonObject): string => textAt(object['metadata'], field) ?? '') as [Read, Read]

  return {
    ensure: async (kind, entry, wanted, signal) => {
      const namespace = namespaceOf(entry.object)
      const name = nameOf(wanted)
      const { apiVersion, kind: kindName } = OWN_KINDS[kind]
      return await applier.apply({ path: ownPath(kind, namespace, name), wanted: () => ({ apiVersion, kind: kindName, ...wanted }), observed: copy.own(kind, namespace, name), isOurs: object => isOwnedBy(nameOf(entry.object), object) }, signal)
    },
    remove: async (kind, entry, name, signal) => {
      const namespace = namespaceOf(entry.object)
      const observed = copy.own(kind, namespace, name)
      if (observed !== undefined && isOwnedBy(nameOf(entry.object), observed)) await applier.remove(ownPath(kind, namespace, name), observed, signal)
    },
    say: async ({ object }, condition, signal, fields = {}) => {
      const [namespace, name] = [namespaceOf(object), nameOf(object)]
      const uid = textAt(object['metadata'], 'uid') ?? ''
      const generation = numberAt(object['metadata'], 'generation') ?? 0
      let isNews = false
      const wanted = (current: JsonObject | undefined): JsonObject => {
        const before = current === undefined ? undefined : findCondition(current, condition.type)
        const differs = before?.['status'] !== condition.status || before['reason'] !== condition.reason
        // What is well from the start is no news.
        isNews = differs && (condition.status === 'False' || before?.['status'] === 'False')
        return { apiVersion: `${GROUP}/${VERSION}`, kind: KIND, metadata: { name, namespace }, status: { ...fields, conditions: [conditionJson(condition, before, generation, clock.now())] } }
      }
      const applied = await applier.apply({ path: `/apis/${GROUP}/${VERSION}/namespaces/${namespace}/${PLURAL}/${name}/status`, wanted, observed: object, isOurs: current => textAt(current['metadata'], 'uid') === uid }, signal)
      if (applied !== 'written' || !isNews) return
      const regarding = { apiVersion: `${GROUP}/${VERSION}`, kind: KIND, namespace, name, uid }
      events.tell({ namespace, regarding, type: condition.status === 'False' ? 'Warning' : 'Normal', reason: condition.reason, action: 'Reconcile', note: `${condition.type}: ${condition.message}` })
    },
  }
}

type Read = (object: JsonObject) => string

/** A controller that looks at one policy at a time. One that is gone, or on its way out, needs nothing: what was made for it goes with it. */
export function policyController(name: string, deps: ControllerDeps, reconcile: (entry: PolicyEntry & { readonly policy: SessionPolicy }, writer: PolicyWriter, signal: AbortSignal) => Promise<{ readonly againMs?: number }>): Controller {
  const writer = createPolicyWriter(deps, `steno-${name}`)
  return {
    name,
    reconcile: async (key, signal) => {
      const entry = deps.copy.policy(key)
      if (entry === undefined || entry.deleting || entry.policy === undefined) return {}
      return await reconcile({ ...entry, policy: entry.policy }, writer, signal)
    },
  }
}
