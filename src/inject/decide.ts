/** The one decision: may this pod be recorded, and how. Pure: the webhook, the command line and tests ask the same function. */

import { objectAt } from '../policy/json.ts'
import type { JsonObject } from '../policy/json.ts'
import { shippingRoleArn } from '../policy/aws-roles.ts'
import { compilePolicy } from '../policy/compile.ts'
import { mergePolicies } from '../policy/merge.ts'
import type { EffectivePolicy } from '../policy/merge.ts'
import { selecting } from '../policy/select.ts'
import type { Capture, SessionPolicy } from '../policy/session-policy.ts'
import { buildPod } from './build-pod.ts'
import { choosePorts } from './choose-ports.ts'
import { jsonPatch } from './json-patch.ts'
import type { PatchOperation } from './json-patch.ts'
import { ADMIN_PORT, FIRST_PROBE_PORT, INJECTED_ANNOTATION, KNOWN_ANNOTATIONS, OPENSHIFT_UID_ANNOTATION, POD_SECURITY_LABEL, RECORD_ANNOTATION, RECORDER, REDIRECT, SIDECAR_ANNOTATION, VOLUMES } from './marks.ts'
import type { InjectedPort, SidecarMode } from './marks.ts'
import { podFacts } from './pod-facts.ts'
import type { PodFacts } from './pod-facts.ts'
import type { InjectReason, SkipReason } from './reasons.ts'
import { commandWarnings } from './redirect.ts'
import type { InjectorSettings } from './settings.ts'
import { stripPod } from './strip-pod.ts'

export interface NamespaceFacts {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
}

export interface DecisionInput {
  /** As it came, fields that we do not know included. */
  readonly pod: JsonObject
  readonly namespace: NamespaceFacts
  /** All of the namespace. */
  readonly policies: readonly SessionPolicy[]
  readonly settings: InjectorSettings
  /** Minor version of the oldest kubelet; undefined when no node is known. */
  readonly oldestNodeMinor: number | undefined
  /** Short digest of a text, such as the first half of a SHA-256 in hex. */
  readonly digest: (text: string) => string
}

interface Decided {
  /** From the pod as it came to `pod`. */
  readonly patch: readonly PatchOperation[]
  readonly pod: JsonObject
  /** For the one who creates the pod; short. */
  readonly warnings: readonly string[]
  /** What the reason is about. */
  readonly detail?: string
}

export type Decision =
  | (Decided & { readonly decision: 'inject'; readonly reason: InjectReason; readonly capture: Exclude<Capture, 'Auto'>; readonly mode: SidecarMode; readonly ports: readonly InjectedPort[]; readonly policies: readonly string[] })
  | (Decided & { readonly decision: 'skip'; readonly reason: SkipReason })

/** Below it a native sidecar's port name is not followed by EndpointSlices (kubernetes#127976). */
export const NATIVE_MINOR = 33
/** Below it nothing is recorded. */
export const OLDEST_MINOR = 30

export function decide(input: DecisionInput): Decision {
  const { namespace, settings } = input
  const before = input.pod
  const stripped = stripPod(before)
  const facts = podFacts(stripped.pod)
  const skip = (reason: SkipReason, detail?: string, warnings: readonly string[] = []): Decision => ({
    decision: 'skip',
    reason,
    ...(detail === undefined ? {} : { detail }),
    // What an earlier run put in goes away with its reason.
    patch: jsonPatch(before, stripped.pod),
    pod: stripped.pod,
    warnings,
  })
  if (facts === undefined) return skip('malformed-pod')
  const policies = selecting(input.policies, facts.labels)
  if (namespace.name === settings.namespace) return skip('own-namespace')
  if (policies.length === 0) return skip('no-policy')
  const policy = mergePolicies(policies)
  const warnings = [...annotationWarnings(facts, policy), ...conflictWarnings(policy)].map(shortened)
  const unfit = unfitReason(facts, policy)
  if (unfit !== undefined) return skip(unfit, undefined, warnings)
  const mode = sidecarMode(facts, input.oldestNodeMinor)
  if ('reason' in mode) return skip(mode.reason, mode.detail, warnings)
  const choice = choosePorts(facts, { ports: policy.ports, capture: policy.capture, podSecurity: namespace.labels[POD_SECURITY_LABEL] })
  if ('reason' in choice) return skip(choice.reason, choice.detail, warnings)
  const clash = clashOf(facts, choice.ports, choice.capture)
  if (clash !== undefined) return skip(clash.reason, clash.detail, warnings)

  const { capture, ports } = choice
  const assignedUids = namespace.annotations[OPENSHIFT_UID_ANNOTATION] !== undefined
  const roleArn = settings.roleArn ?? (settings.aws && shippingRoleArn(settings.aws, namespace.name, policy.shippingPolicy, facts.serviceAccount, input.digest))
  const pod = buildPod(stripped, { facts, policy, settings, mode: mode.mode, capture, ports, assignedUids, roleArn, compiled: policies.map(each => compilePolicy(each, input.digest).text), digest: input.digest })
  const patch = jsonPatch(before, pod)
  const reason = patch.length === 0 ? 'unchanged' : stripped.injected ? 'updated' : 'injected'
  const commands = capture === 'Redirect' ? commandWarnings(objectAt(stripped.pod, 'spec'), ports) : []
  return { decision: 'inject', reason, patch, pod, warnings: [...warnings, ...[...choice.warnings, ...commands, ...pooledWarnings(facts, settings)].map(shortened)], capture, mode: mode.mode, ports, policies: policy.names }
}

/** The first that applies is named; what nobody can change comes before what somebody can. */
function unfitReason(facts: PodFacts, policy: EffectivePolicy): SkipReason | undefined {
  if (facts.deleting) return 'deleting'
  if (facts.mirror) return 'mirror'
  if (facts.windows) return 'windows'
  if (facts.annotations[RECORD_ANNOTATION] === 'false' && policy.optOut === 'Allow') return 'opted-out'
  if (facts.hostNetwork) return 'host-network'
  const ours: readonly string[] = [RECORDER, REDIRECT]
  const volumes: readonly string[] = Object.values(VOLUMES)
  if (facts.containerNames.some(name => ours.includes(name)) || facts.volumeNames.some(name => volumes.includes(name))) return 'name-clash'
  return undefined
}

/** Precedence: the pod's annotation, then the oldest node, since the pod may land on any. */
function sidecarMode(facts: PodFacts, oldestMinor: number | undefined): { readonly mode: SidecarMode } | { readonly reason: SkipReason; readonly detail?: string } {
  if (oldestMinor === undefined) return { reason: 'no-nodes' }
  if (oldestMinor < OLDEST_MINOR) return { reason: 'unsupported-node', detail: `the oldest node is 1.${oldestMinor}` }
  const asked = facts.annotations[SIDECAR_ANNOTATION]
  const mode = asked === 'native' || asked === 'plain' ? asked : oldestMinor >= NATIVE_MINOR ? 'native' : 'plain'
  // A plain sidecar never ends, and so would the pod.
  return mode === 'plain' && !facts.runsForEver ? { reason: 'unsupported-node', detail: `the oldest node is 1.${oldestMinor}` } : { mode }
}

function clashOf(facts: PodFacts, ports: readonly InjectedPort[], capture: Exclude<Capture, 'Auto'>): { readonly reason: SkipReason; readonly detail: string } | undefined {
  const taken = new Set([ADMIN_PORT, ...ports.map(({ listen }) => listen), ...(capture === 'Redirect' ? ports.map((_, index) => FIRST_PROBE_PORT + index) : [])])
  const clash = facts.ports.find(({ port, protocol }) => protocol === 'TCP' && taken.has(port))
  if (clash !== undefined) return { reason: 'port-clash', detail: `container ${clash.container}, port ${clash.port}` }
  const own = ports.find(({ port }) => taken.has(port))
  return own === undefined ? undefined : { reason: 'port-clash', detail: `port ${own.port} of the policy` }
}

function annotationWarnings(facts: PodFacts, policy: EffectivePolicy): string[] {
  const { annotations } = facts
  const record = annotations[RECORD_ANNOTATION]
  const sidecar = annotations[SIDECAR_ANNOTATION]
  return [
    ...Object.keys(annotations)
      .filter(name => name.startsWith('steno.dev/') && !KNOWN_ANNOTATIONS.includes(name))
      .map(name => `annotation ${name} is not known; known are ${RECORD_ANNOTATION} and ${SIDECAR_ANNOTATION}`),
    ...(record !== undefined && record !== 'true' && record !== 'false' ? [`annotation ${RECORD_ANNOTATION} must be "true" or "false"`] : []),
    ...(record === 'false' && policy.optOut === 'Refuse' ? [`annotation ${RECORD_ANNOTATION} is ignored: the policy refuses to opt out`] : []),
    ...(sidecar !== undefined && sidecar !== 'native' && sidecar !== 'plain' ? [`annotation ${SIDECAR_ANNOTATION} must be "native" or "plain"`] : []),
    // One that can be read was undone and is gone by now.
    ...(annotations[INJECTED_ANNOTATION] !== undefined ? [`annotation ${INJECTED_ANNOTATION} is written by the injector alone; what stood there is replaced`] : []),
  ]
}

function pooledWarnings({ pooled }: PodFacts, { cpu, memoryMib }: InjectorSettings): string[] {
  return pooled ? [`what the pod has in spec.resources is for the recorder too: leave room for CPU ${cpu} and memory ${memoryMib}Mi`] : []
}

/** Longer warnings may be cut by the API server, or dropped when they are too many. */
const MAX_WARNING = 120

function shortened(text: string): string {
  return text.length <= MAX_WARNING ? text : `${text.slice(0, MAX_WARNING - 1)}…`
}

function conflictWarnings({ names, conflicts }: EffectivePolicy): string[] {
  const ordered = conflicts.filter(field => field !== 'sink')
  return [
    ...(ordered.length === 0 ? [] : [`policies differ in ${ordered.join(', ')}: the strictest wins (${names.join(', ')})`]),
    ...(conflicts.includes('sink') ? [`policies name different sinks: the first wins (${names.join(', ')})`] : []),
  ]
}
