/** `/validate-connect`: whoever reaches a recorded pod past its recorder is written down, or refused where a policy says so. */

import { RECORDER } from '../inject/marks.ts'
import type { InjectorSettings } from '../inject/settings.ts'
import type { KubeClient } from '../kube/client.ts'
import { ifFound } from '../kube/if-found.ts'
import type { EventRecorder } from '../kube/events.ts'
import type { Log } from '../platform/log.ts'
import { objectAt, objectsAt, stringsAt, textAt, textsAt } from '../policy/json.ts'
import type { JsonObject } from '../policy/json.ts'
import { selecting } from '../policy/select.ts'
import type { SessionPolicy } from '../policy/session-policy.ts'
import type { FrameOf } from '../record/frame.ts'
import type { ClusterView } from './cluster-view.ts'
import type { WebhookMetrics } from './metrics.ts'
import type { AdmissionAnswer, AdmissionRequest } from './review.ts'

/** What a frame says of it. */
export type Access = Omit<FrameOf<'access'>, 'kind' | 'writer' | 'seq' | 'time' | 'elapsedUs' | 'salt' | 'session' | 'exchange'>

export interface AccessLog {
  /** Resolves with whether it is durable; gives up when the signal aborts. */
  record(access: Access, signal: AbortSignal): Promise<boolean>
}

export interface ConnectDeps {
  readonly view: ClusterView
  readonly settings: InjectorSettings
  readonly metrics: WebhookMetrics
  readonly events: EventRecorder
  readonly client: KubeClient
  readonly log: Log
  readonly access: AccessLog | undefined
}

const ACTIONS: Readonly<Record<string, Access['action']>> = { exec: 'exec', attach: 'attach', portforward: 'port-forward', ephemeralcontainers: 'ephemeral-container' }
/** Of what somebody else chose. */
const MAX_TEXT = 512
const MAX_GROUPS = 64

/** Rejects when namespace or pod cannot be read within the signal: the API server then does as failurePolicy says. */
export async function validateConnect(request: AdmissionRequest, deps: ConnectDeps, signal: AbortSignal): Promise<AdmissionAnswer> {
  const action = ACTIONS[request.subResource]
  if (action === undefined || (request.operation !== 'CONNECT' && request.operation !== 'UPDATE')) return { allowed: true }
  const { policies } = await deps.view.namespace(request.namespace, signal)
  // Most namespaces: nothing more is asked.
  if (policies.length === 0) return { allowed: true }
  const pod = request.operation === 'UPDATE' ? request.object : await readPod(request, deps.client, signal)
  if (pod === undefined || !isRecorded(pod)) return { allowed: true }
  const reason = refusal(request, selecting(policies, textsAt(pod['metadata'], 'labels')))
  const added = action === 'ephemeral-container' ? addedContainers(request) : [request.object]
  const accesses = added.map(each => accessOf(request, action, each, reason))
  // A dry run leaves no trace but its answer.
  const recorded = request.dryRun ? 'dry-run' : String(await write(accesses, pod, request, deps, signal))
  return {
    allowed: reason === undefined,
    ...(reason === undefined ? {} : { message: `steno: ${reason}` }),
    audit: { access: action, recorded, ...(reason === undefined ? {} : { refused: reason }) },
  }
}

async function write(accesses: readonly Access[], pod: JsonObject, { namespace }: AdmissionRequest, { access: log, metrics, events, log: talk }: ConnectDeps, signal: AbortSignal): Promise<boolean> {
  let all = true
  for (const access of accesses) {
    const recorded = log !== undefined && (await log.record(access, signal))
    if (!recorded) all = false
    metrics.accessed(access.action, access.allowed ? 'allowed' : 'refused', recorded)
    if (log !== undefined && !recorded) talk.error('somebody reached a recorded pod, and it could not be recorded', { code: 'spool.io', action: access.action, namespace, pod: access.pod })
    const note = `${access.user} ${access.allowed ? 'reached' : 'was refused'}: ${access.action}${access.container === undefined ? '' : ` of ${access.container}`}. ${recorded ? 'It is recorded.' : 'No frame says so.'}`
    events.tell({ namespace, regarding: { apiVersion: 'v1', kind: 'Pod', namespace, name: access.pod, uid: textAt(pod['metadata'], 'uid') ?? '' }, type: 'Warning', reason: access.allowed ? 'ReachedPastRecorder' : 'AccessRefused', action: 'Connect', note })
  }
  return all
}

async function readPod({ namespace, name }: AdmissionRequest, client: KubeClient, signal: AbortSignal): Promise<JsonObject | undefined> {
  return await ifFound(client.request(`/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(name)}`, { signal }))
}

/** The label is anybody's to set; the container is what records. */
function isRecorded(pod: JsonObject): boolean {
  return ['containers', 'initContainers'].some(list => objectsAt(pod['spec'], list).some(each => each['name'] === RECORDER))
}

/** Where several policies select the pod, the strictest counts; named in one of them is named. */
function refusal({ user, groups }: AdmissionRequest, policies: readonly SessionPolicy[]): string | undefined {
  const refusing = policies.filter(({ spec }) => spec.others === 'Refuse')
  if (refusing.length === 0) return undefined
  const named = policies.some(({ spec }) => spec.connect.some(({ kind, name }) => (kind === 'User' ? name === user : groups.includes(name))))
  return named ? undefined : `this pod is recorded, and the policy ${refusing.map(({ name }) => name).join(', ')} lets only those in access.connect reach it. Ask who writes the policies of this namespace.`
}

function addedContainers({ object, oldObject }: AdmissionRequest): readonly JsonObject[] {
  const before = new Set(objectsAt(objectAt(oldObject, 'spec'), 'ephemeralContainers').map(each => each['name']))
  return objectsAt(objectAt(object, 'spec'), 'ephemeralContainers').filter(each => !before.has(each['name'] ?? ''))
}

/** @param what options of a connection, or an ephemeral container */
function accessOf({ namespace, name, user, groups }: AdmissionRequest, action: Access['action'], what: JsonObject, reason: string | undefined): Access {
  const container = action === 'ephemeral-container' ? textAt(what, 'name') : textAt(what, 'container')
  const image = textAt(what, 'image')
  const command = stringsAt(what, 'command')
  const [program] = command
  return {
    action,
    namespace,
    pod: name,
    ...(container === undefined || container === '' ? {} : { container }),
    ...(image === undefined ? {} : { image: image.slice(0, MAX_TEXT) }),
    user: user.slice(0, MAX_TEXT),
    ...(groups.length === 0 ? {} : { groups: groups.slice(0, MAX_GROUPS).map(each => each.slice(0, MAX_TEXT)) }),
    ...(program === undefined ? {} : { program: program.slice(0, MAX_TEXT), arguments: command.length - 1 }),
    allowed: reason === undefined,
    ...(reason === undefined ? {} : { reason }),
  }
}
