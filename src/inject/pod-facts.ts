/** What of a pod matters to injection, read from its raw JSON once. */

import { isObject, numberAt, objectAt, objectsAt, stringsAt, textAt, textsAt } from '../policy/json.ts'
import type { JsonObject } from '../policy/json.ts'
import { MIRROR_ANNOTATION } from './marks.ts'

export interface ContainerPort {
  readonly container: string
  readonly name?: string
  readonly port: number
  readonly protocol: string
  readonly hostPort?: number
}

export interface PodFacts {
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
  readonly hostNetwork: boolean
  readonly windows: boolean
  readonly mirror: boolean
  readonly deleting: boolean
  /** `Deployment/web`, as far as it can be told from the pod alone. */
  readonly workload?: string
  /** Meant to run until it is deleted, not until it is done. */
  readonly runsForEver: boolean
  /** All containers ask for exactly what they may use (Kubernetes, "Pod Quality of Service Classes"). */
  readonly guaranteed: boolean
  /** CPU or memory is given to the pod as a whole (`spec.resources`): what its containers ask for must fit into it. */
  readonly pooled: boolean
  readonly serviceAccount: string
  readonly containerNames: readonly string[]
  readonly volumeNames: readonly string[]
  /** Ports that take traffic, in the order in which the name of one is looked up: regular containers, then native sidecars. */
  readonly ports: readonly ContainerPort[]
}

/** @returns undefined when the pod has no shape to speak of */
export function podFacts(pod: JsonObject): PodFacts | undefined {
  const spec = objectAt(pod, 'spec')
  const containers = objectsAt(spec, 'containers')
  const inits = objectsAt(spec, 'initContainers')
  if (containers.length === 0 || [...containers, ...inits].some(each => textAt(each, 'name') === undefined)) return undefined
  const annotations = textsAt(pod['metadata'], 'annotations')
  const workload = workloadOf(pod)
  return {
    labels: textsAt(pod['metadata'], 'labels'),
    annotations,
    hostNetwork: spec['hostNetwork'] === true,
    windows: textAt(objectAt(spec, 'os'), 'name') === 'windows' || textsAt(spec, 'nodeSelector')['kubernetes.io/os'] === 'windows' || hasWindowsAffinity(spec),
    mirror: annotations[MIRROR_ANNOTATION] !== undefined,
    deleting: textAt(pod['metadata'], 'deletionTimestamp') !== undefined,
    ...(workload === undefined ? {} : { workload }),
    runsForEver: (textAt(spec, 'restartPolicy') ?? 'Always') === 'Always',
    guaranteed: [...containers, ...inits].every(isGuaranteed),
    pooled: ['requests', 'limits'].some(list => Object.keys(objectAt(spec['resources'], list)).length > 0),
    // The API server fills it in before webhooks are asked; a file may leave it out.
    serviceAccount: textAt(spec, 'serviceAccountName') || 'default',
    containerNames: [...containers, ...inits].flatMap(each => textAt(each, 'name') ?? []),
    volumeNames: objectsAt(spec, 'volumes').flatMap(each => textAt(each, 'name') ?? []),
    ports: [...containers, ...inits.filter(each => each['restartPolicy'] === 'Always')].flatMap(portsOf),
  }
}

/** Of the terms of a required affinity one must hold: each has to ask for Windows. */
function hasWindowsAffinity(spec: JsonObject): boolean {
  const terms = objectsAt(objectAt(objectAt(objectAt(spec, 'affinity'), 'nodeAffinity'), 'requiredDuringSchedulingIgnoredDuringExecution'), 'nodeSelectorTerms')
  const asks = (each: JsonObject): boolean => each['key'] === 'kubernetes.io/os' && each['operator'] === 'In' && stringsAt(each, 'values').every(value => value === 'windows')
  return terms.length > 0 && terms.every(term => objectsAt(term, 'matchExpressions').some(asks))
}

function portsOf(container: JsonObject): ContainerPort[] {
  return objectsAt(container, 'ports').flatMap(each => {
    const port = numberAt(each, 'containerPort')
    if (port === undefined) return []
    const name = textAt(each, 'name')
    const hostPort = numberAt(each, 'hostPort')
    return [{ container: textAt(container, 'name') ?? '', ...(name === undefined || name === '' ? {} : { name }), port, protocol: textAt(each, 'protocol') ?? 'TCP', ...(hostPort === undefined ? {} : { hostPort }) }]
  })
}

function isGuaranteed(container: JsonObject): boolean {
  const limits = objectAt(container['resources'], 'limits')
  const requests = objectAt(container['resources'], 'requests')
  return ['cpu', 'memory'].every(name => limits[name] !== undefined && (requests[name] === undefined || requests[name] === limits[name]))
}

/** Labels by which the makers of ReplicaSets tell their pods apart: Deployments, and the Rollouts of Argo. */
const HASH_LABELS = { 'pod-template-hash': 'Deployment', 'rollouts-pod-template-hash': 'Rollout' } as const

/** A ReplicaSet is named after what it belongs to and the hash that the pod carries as a label. */
export function workloadOf(pod: JsonObject): string | undefined {
  const owner = objectsAt(pod['metadata'], 'ownerReferences').find(each => each['controller'] === true)
  const kind = owner && textAt(owner, 'kind')
  const name = owner && textAt(owner, 'name')
  if (kind === undefined || name === undefined) return undefined
  const labels = textsAt(pod['metadata'], 'labels')
  for (const [label, maker] of Object.entries(HASH_LABELS)) {
    const hash = labels[label]
    if (kind === 'ReplicaSet' && hash !== undefined && name.endsWith(`-${hash}`)) return `${maker}/${name.slice(0, -hash.length - 1)}`
  }
  return `${kind}/${name}`
}

/** Owner to tell of what was decided; the pod itself has no name yet when it is created from a template. */
export function ownerOf(pod: JsonObject): { readonly apiVersion: string; readonly kind: string; readonly name: string; readonly uid: string } | undefined {
  const owner = objectsAt(pod['metadata'], 'ownerReferences').find(each => isObject(each) && each['controller'] === true)
  if (owner === undefined) return undefined
  const [apiVersion, kind, name, uid] = ['apiVersion', 'kind', 'name', 'uid'].map(field => textAt(owner, field))
  return apiVersion === undefined || kind === undefined || name === undefined || uid === undefined ? undefined : { apiVersion, kind, name, uid }
}
