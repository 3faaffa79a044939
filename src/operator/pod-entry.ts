/** What is kept of a pod: enough to decide on it as the injector would, and no more, since there may be many thousands. Pure. */

import { INJECTED_ANNOTATION, MIRROR_ANNOTATION, parseInjected, RECORDED_LABEL, RECORDER, SAFE_TO_EVICT_ANNOTATION } from '../inject/marks.ts'
import type { InjectedMark } from '../inject/marks.ts'
import { objectAt, objectsAt, textAt, textsAt } from '../policy/json.ts'
import type { Json, JsonObject } from '../policy/json.ts'

export interface PodEntry {
  readonly namespace: string
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly serviceAccount: string
  /** For `decide()`: without what it does not look at. */
  readonly pod: JsonObject
  /** Of a recorder that is there. */
  readonly mark: InjectedMark | undefined
  /** TCP ports that containers name in their lists, ours included. */
  readonly ports: readonly number[]
  /** Ending, or done: nobody connects to it, and nothing about it can change for the better. */
  readonly over: boolean
}

const ANNOTATIONS = [INJECTED_ANNOTATION, MIRROR_ANNOTATION, SAFE_TO_EVICT_ANNOTATION]
/** Of a container. Variables, commands and mounts are most of a pod. */
const CONTAINER_FIELDS = ['name', 'ports', 'resources', 'restartPolicy']

export function podEntry(object: JsonObject): PodEntry {
  const { metadata } = object
  const spec = objectAt(object, 'spec')
  const labels = textsAt(metadata, 'labels')
  const annotations = textsAt(metadata, 'annotations')
  const all = [...objectsAt(spec, 'containers'), ...objectsAt(spec, 'initContainers')]
  const isMarked = labels[RECORDED_LABEL] === 'true' && all.some(each => each['name'] === RECORDER)
  const phase = textAt(objectAt(object, 'status'), 'phase')
  const containers = (list: string): readonly JsonObject[] => objectsAt(spec, list).map(each => picked(each, CONTAINER_FIELDS))
  return {
    namespace: textAt(metadata, 'namespace') ?? '',
    name: textAt(metadata, 'name') ?? '',
    labels,
    serviceAccount: textAt(spec, 'serviceAccountName') || 'default',
    pod: {
      metadata: { ...picked(objectAt(object, 'metadata'), ['name', 'ownerReferences']), labels, annotations: Object.fromEntries(Object.entries(annotations).filter(([name]) => name.startsWith('steno.dev/') || ANNOTATIONS.includes(name))) },
      spec: {
        ...picked(spec, ['hostNetwork', 'os', 'nodeSelector', 'restartPolicy', 'serviceAccountName']),
        containers: containers('containers'),
        ...(spec['initContainers'] === undefined ? {} : { initContainers: containers('initContainers') }),
        volumes: objectsAt(spec, 'volumes').map(each => picked(each, ['name'])),
      },
    },
    mark: isMarked ? parseInjected(annotations[INJECTED_ANNOTATION] ?? '') : undefined,
    ports: all.flatMap(each => objectsAt(each, 'ports')).flatMap(each => (typeof each['containerPort'] === 'number' && (each['protocol'] ?? 'TCP') === 'TCP' ? [each['containerPort']] : [])),
    over: textAt(metadata, 'deletionTimestamp') !== undefined || phase === 'Succeeded' || phase === 'Failed',
  }
}

function picked(object: JsonObject, names: readonly string[]): JsonObject {
  return Object.fromEntries(names.flatMap((name): [string, Json][] => (object[name] === undefined ? [] : [[name, object[name]]])))
}
