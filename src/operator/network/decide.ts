/**
 * A NetworkPolicy that admits everything to recorded pods but the ports that lead past the recorder. Pure.
 * The kubelet, whose probes need them, is on the pod's node, which no NetworkPolicy keeps out.
 */

import type { Condition } from '../../kube/conditions.ts'
import { FIRST_PROBE_PORT, RECORDED_LABEL } from '../../inject/marks.ts'
import type { InjectedMark } from '../../inject/marks.ts'
import { numberAt, objectAt, objectsAt, textAt, textsAt } from '../../policy/json.ts'
import type { JsonObject } from '../../policy/json.ts'
import { ownName } from '../../policy/own-name.ts'
import { selects } from '../../policy/select.ts'
import type { SessionPolicy } from '../../policy/session-policy.ts'
import { MANAGED_BY, MANAGER, ownMetadata, policyOwning } from '../marks.ts'
import type { PodEntry } from '../pod-entry.ts'
import { selectorOf } from '../selector.ts'

export const CONDITION = 'NetworkReady'
const LAST_PORT = 65_535

export type NetworkPlan =
  | { readonly plan: 'none'; readonly condition: Condition }
  | { readonly plan: 'close'; readonly object: JsonObject; readonly condition: Condition }

export function networkName(policy: string, digest: (text: string) => string): string {
  return ownName('network', policy, digest)
}

/**
 * NetworkPolicies only ever admit. Where another already decides what comes to one of the pods, ours would let in what that one keeps out:
 * then there is none of ours, and it is only said whether the other keeps the ports closed.
 * @param pods that the policy selects @param all NetworkPolicies of the namespace @param policies names of all policies of the namespace
 */
export function planNetwork(policy: SessionPolicy, pods: readonly PodEntry[], all: readonly JsonObject[], policies: readonly string[], digest: (text: string) => string): NetworkPlan {
  const say = (status: Condition['status'], reason: string, message: string): Condition => ({ type: CONDITION, status, reason, message })
  if (policy.spec.directPort === 'Open') return { plan: 'none', condition: say('True', 'NotAsked', 'The policy leaves direct ports open.') }
  const recorded = pods.filter(({ mark }) => mark !== undefined)
  const direct = new Set(recorded.flatMap(({ mark }) => portsPast(mark)))
  // On another pod of the same policy the number may be something else; closing it there would break it.
  const used = recorded.flatMap(pod => [...pod.ports, ...portsThrough(pod.mark)].filter(port => direct.has(port) && !portsPast(pod.mark).includes(port)).map(port => ({ pod: pod.name, port })))
  const shared = used[0]
  const closed = [...direct].filter(port => !used.some(each => each.port === port)).toSorted((a, b) => a - b)
  const isOurs = (each: JsonObject): boolean => {
    // With its owner it is on its way out. What only carries our label is not ours: nobody would put it right.
    const owners = [...policies, policyOwning(each) ?? '']
    return isMarked(each) && owners.some(name => networkName(name, digest) === textAt(each['metadata'], 'name'))
  }
  const others = all.filter(each => !isOurs(each) && decidesIngressOf(each, recorded))
  const [foreign] = others
  if (foreign !== undefined && direct.size > 0) {
    const name = textAt(foreign['metadata'], 'name') ?? ''
    const open = others.find(each => [...direct].some(port => admits(each, port)))
    return {
      plan: 'none',
      condition:
        open === undefined
          ? say('True', 'OtherPolicies', `NetworkPolicy ${name} decides what comes to the pods, and does not admit the direct ports (${[...direct].join(', ')}).`)
          : say('False', 'OtherPolicyAdmits', `NetworkPolicy ${textAt(open['metadata'], 'name') ?? ''} may admit the direct port (${[...direct].join(', ')}), past the recorder: let it admit ${[...new Set(recorded.flatMap(({ mark }) => portsThrough(mark)))].join(', ')} instead, or set directPort: Open.`),
    }
  }
  if (closed.length === 0 && shared === undefined) return { plan: 'none', condition: say('True', 'NothingToClose', 'No recorded pod has a port that could be reached past the recorder.') }
  const condition =
    shared === undefined
      ? say('True', 'Closed', `NetworkPolicy ${networkName(policy.name, digest)} keeps the direct ports closed: ${closed.join(', ')}. It takes a network plugin that enforces NetworkPolicies.`)
      : say('False', 'PortShared', `Port ${shared.port} leads past the recorder on one pod and is something else on ${shared.pod}, so it stays open on both: write a policy for each.`)
  return closed.length === 0 ? { plan: 'none', condition } : { plan: 'close', object: wantedNetworkPolicy(policy, closed, digest), condition }
}

/** With `Port` the app's own numbers, with `Redirect` those of probes. */
function portsPast(mark: InjectedMark | undefined): readonly number[] {
  return mark?.ports.map(({ port }, index) => (mark.capture === 'Port' ? port : FIRST_PROBE_PORT + index)) ?? []
}

/** By which callers reach the recorder. With `Redirect` no container need name them. */
function portsThrough(mark: InjectedMark | undefined): readonly number[] {
  return mark?.ports.map(({ port, listen }) => (mark.capture === 'Port' ? listen : port)) ?? []
}

function wantedNetworkPolicy(policy: SessionPolicy, closed: readonly number[], digest: (text: string) => string): JsonObject {
  const { matchLabels, matchExpressions } = policy.spec.selector
  const ports = [...openRanges(closed).map(([port, endPort]) => ({ protocol: 'TCP', port, endPort })), ...['UDP', 'SCTP'].map(protocol => ({ protocol, port: 1, endPort: LAST_PORT }))]
  return {
    metadata: ownMetadata(policy, networkName(policy.name, digest)),
    spec: {
      podSelector: {
        matchLabels: { ...matchLabels, [RECORDED_LABEL]: 'true' },
        ...(matchExpressions.length === 0 ? {} : { matchExpressions: matchExpressions.map(({ key, operator, values }) => ({ key, operator, ...(values.length === 0 ? {} : { values }) })) }),
      },
      policyTypes: ['Ingress'],
      ingress: [{ ports }],
    },
  }
}

/** All port numbers but these, as ranges. @param closed sorted */
export function openRanges(closed: readonly number[]): (readonly [first: number, last: number])[] {
  const edges = [0, ...closed, LAST_PORT + 1]
  return edges.slice(1).flatMap((next, index) => {
    const first = (edges[index] ?? 0) + 1
    return first <= next - 1 ? [[first, next - 1] as const] : []
  })
}

function isMarked(object: JsonObject): boolean {
  return textsAt(object['metadata'], 'labels')[MANAGED_BY] === MANAGER
}

function decidesIngressOf(networkPolicy: JsonObject, pods: readonly PodEntry[]): boolean {
  const spec = objectAt(networkPolicy, 'spec')
  const types = spec['policyTypes']
  if (Array.isArray(types) && !types.includes('Ingress')) return false
  const selector = selectorOf(objectAt(spec, 'podSelector'))
  return pods.some(({ labels }) => selects(selector, labels))
}

/** From anywhere. A named port is taken for another: the name that Services use is the recorder's. */
function admits(networkPolicy: JsonObject, port: number): boolean {
  return objectsAt(objectAt(networkPolicy, 'spec'), 'ingress').some(rule => {
    const ports = objectsAt(rule, 'ports')
    return ports.length === 0 || ports.some(each => {
      if ((each['protocol'] ?? 'TCP') !== 'TCP') return false
      const first = numberAt(each, 'port')
      if (first === undefined) return each['port'] === undefined
      return port >= first && port <= (numberAt(each, 'endPort') ?? first)
    })
  })
}
