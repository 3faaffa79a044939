/**
 * What is kept of a pod: enough to decide on it as the injector would, and no more, since there may be many thousands. Pods that one template made are alike
 * but for their names, and share all else, which is kept as text: it is looked into when something it depends on has changed. Pure.
 */

import { INJECTED_ANNOTATION, MIRROR_ANNOTATION, parseInjected, RECORDED_LABEL, RECORDER, SAFE_TO_EVICT_ANNOTATION } from '../inject/marks.ts'
import type { InjectedMark } from '../inject/marks.ts'
import { objectAt, objectsAt, textAt, textsAt } from '../policy/json.ts'
import type { Json, JsonObject } from '../policy/json.ts'

/** What pods of one template have in common. The same object for all of them. */
export interface PodShape {
  readonly namespace: string
  readonly labels: Readonly<Record<string, string>>
  readonly serviceAccount: string
  /** Of a recorder that is there. */
  readonly mark: InjectedMark | undefined
  /** TCP ports that containers name in their lists, ours included. */
  readonly ports: readonly number[]
  /** JSON for `decide()`: without what it does not look at, and without a name. */
  readonly text: string
}

export interface PodEntry extends Omit<PodShape, 'text'> {
  readonly name: string
  readonly shape: PodShape
  /** For `decide()`. Made anew each time. */
  readonly pod: JsonObject
  /** Ending, or done: nobody connects to it, and nothing about it can change for the better. */
  readonly over: boolean
}

const ANNOTATIONS = [INJECTED_ANNOTATION, MIRROR_ANNOTATION, SAFE_TO_EVICT_ANNOTATION]
/** Of a container. Variables, commands and mounts are most of a pod. */
const CONTAINER_FIELDS = ['name', 'ports', 'resources', 'restartPolicy']

/** @returns reads a pod, and shares with those that it has read before and that are still kept by somebody */
export function createPodReader(): (object: JsonObject) => PodEntry {
  const shapes = new Map<string, WeakRef<PodShape>>()
  const gone = new FinalizationRegistry<string>(key => {
    if (shapes.get(key)?.deref() === undefined) shapes.delete(key)
  })

  return object => {
    const text = JSON.stringify(trimmed(object))
    const namespace = textAt(object['metadata'], 'namespace') ?? ''
    const key = `${namespace}/${text}`
    let shape = shapes.get(key)?.deref()
    if (shape === undefined) {
      shape = shapeOf(object, namespace, text)
      shapes.set(key, new WeakRef(shape))
      gone.register(shape, key)
    }
    const phase = textAt(objectAt(object, 'status'), 'phase')
    return new SharedPod(textAt(object['metadata'], 'name') ?? '', textAt(object['metadata'], 'deletionTimestamp') !== undefined || phase === 'Succeeded' || phase === 'Failed', shape)
  }
}

/** A class, since the getters of a literal are as many functions for each pod. */
class SharedPod implements PodEntry {
  readonly name: string
  readonly over: boolean
  readonly shape: PodShape

  constructor(name: string, over: boolean, shape: PodShape) {
    this.name = name
    this.over = over
    this.shape = shape
  }

  get namespace(): string {
    return this.shape.namespace
  }

  get labels(): Readonly<Record<string, string>> {
    return this.shape.labels
  }

  get serviceAccount(): string {
    return this.shape.serviceAccount
  }

  get mark(): InjectedMark | undefined {
    return this.shape.mark
  }

  get ports(): readonly number[] {
    return this.shape.ports
  }

  get pod(): JsonObject {
    return JSON.parse(this.shape.text) as JsonObject
  }
}

function shapeOf(object: JsonObject, namespace: string, text: string): PodShape {
  const { metadata } = object
  const spec = objectAt(object, 'spec')
  const labels = textsAt(metadata, 'labels')
  const all = [...objectsAt(spec, 'containers'), ...objectsAt(spec, 'initContainers')]
  const isMarked = labels[RECORDED_LABEL] === 'true' && all.some(each => each['name'] === RECORDER)
  return {
    namespace,
    labels,
    serviceAccount: textAt(spec, 'serviceAccountName') || 'default',
    mark: isMarked ? parseInjected(textsAt(metadata, 'annotations')[INJECTED_ANNOTATION] ?? '') : undefined,
    ports: all.flatMap(each => objectsAt(each, 'ports')).flatMap(each => (typeof each['containerPort'] === 'number' && (each['protocol'] ?? 'TCP') === 'TCP' ? [each['containerPort']] : [])),
    text,
  }
}

function trimmed(object: JsonObject): JsonObject {
  const spec = objectAt(object, 'spec')
  const metadata = objectAt(object, 'metadata')
  const annotations = textsAt(metadata, 'annotations')
  const containers = (list: string): readonly JsonObject[] => objectsAt(spec, list).map(each => picked(each, CONTAINER_FIELDS))
  return {
    metadata: { ...picked(metadata, ['ownerReferences']), labels: textsAt(metadata, 'labels'), annotations: Object.fromEntries(Object.entries(annotations).filter(([name]) => name.startsWith('steno.dev/') || ANNOTATIONS.includes(name))) },
    spec: {
      ...picked(spec, ['hostNetwork', 'os', 'nodeSelector', 'restartPolicy', 'serviceAccountName']),
      containers: containers('containers'),
      ...(spec['initContainers'] === undefined ? {} : { initContainers: containers('initContainers') }),
      volumes: objectsAt(spec, 'volumes').map(each => picked(each, ['name'])).filter(each => !textAt(each, 'name')?.startsWith('kube-api-access-')),
    },
  }
}

function picked(object: JsonObject, names: readonly string[]): JsonObject {
  return Object.fromEntries(names.flatMap((name): [string, Json][] => (object[name] === undefined ? [] : [[name, object[name]]])))
}
