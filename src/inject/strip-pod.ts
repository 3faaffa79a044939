/** A pod without what an earlier injection put into it. Together with `build-pod.ts` this makes injection repeatable: the second run starts where the first did. */

import { isObject, objectAt, objectsAt, textAt, textsAt } from '../policy/json.ts'
import type { Json, JsonObject } from '../policy/json.ts'
import { INJECTED_ANNOTATION, parseInjected, RECORDED_LABEL, RECORDER, REDIRECT, SAFE_TO_EVICT_ANNOTATION, VOLUMES } from './marks.ts'
import type { RenamedPort } from './marks.ts'
import { probesAtApp } from './redirect.ts'

/** What stood in one list of the pod's spec under a name of ours. */
export interface Earlier {
  readonly value: JsonObject
  /** Its place among the entries that are not ours. */
  readonly place: number
}

export interface StrippedPod {
  readonly pod: JsonObject
  /** By list, then by name. Empty when no injection was found. */
  readonly earlier: Readonly<Record<'initContainers' | 'containers' | 'volumes', ReadonlyMap<string, Earlier>>>
  /** The autoscaler's annotation as it stood, ours included. */
  readonly safeToEvict?: string
  readonly injected: boolean
}

const OUR_CONTAINERS: readonly string[] = [RECORDER, REDIRECT]
const OUR_VOLUMES: readonly string[] = Object.values(VOLUMES)

/** A pod without our annotation is returned as it is: containers with our names are then someone else's. */
export function stripPod(pod: JsonObject): StrippedPod {
  const annotations = textsAt(pod['metadata'], 'annotations')
  const mark = parseInjected(annotations[INJECTED_ANNOTATION] ?? '')
  const safeToEvict = annotations[SAFE_TO_EVICT_ANNOTATION]
  const evict = safeToEvict === undefined ? {} : { safeToEvict }
  if (mark === undefined) return { pod, earlier: { initContainers: new Map(), containers: new Map(), volumes: new Map() }, ...evict, injected: false }
  const spec = probesAtApp(objectAt(pod, 'spec'), mark.capture === 'Redirect' ? mark.ports : [])
  const named = (each: JsonObject): JsonObject => withNames(each, mark.renamed)
  return {
    pod: {
      ...pod,
      metadata: withoutEmpty({ ...objectAt(pod, 'metadata'), labels: without(objectAt(pod['metadata'], 'labels'), RECORDED_LABEL), annotations: stripAnnotations(objectAt(pod['metadata'], 'annotations')) }, objectAt(pod, 'metadata'), ['labels', 'annotations']),
      spec: withoutEmpty(
        { ...spec, ...listWithout(spec, 'initContainers', OUR_CONTAINERS, named), ...listWithout(spec, 'containers', OUR_CONTAINERS, named), ...listWithout(spec, 'volumes', OUR_VOLUMES) },
        spec,
        ['initContainers', 'volumes'],
      ),
    },
    earlier: { initContainers: earlierIn(spec, 'initContainers', OUR_CONTAINERS), containers: earlierIn(spec, 'containers', OUR_CONTAINERS), volumes: earlierIn(spec, 'volumes', OUR_VOLUMES) },
    ...evict,
    injected: true,
  }
}

function earlierIn(spec: JsonObject, list: string, names: readonly string[]): ReadonlyMap<string, Earlier> {
  const found = new Map<string, Earlier>()
  let place = 0
  for (const value of objectsAt(spec, list)) {
    const name = textAt(value, 'name') ?? ''
    if (names.includes(name)) found.set(name, { value, place })
    else place++
  }
  return found
}

/** Gives the app's ports their names back. */
function withNames(container: JsonObject, renamed: readonly RenamedPort[]): JsonObject {
  const mine = renamed.filter(each => each.container === container['name'])
  if (mine.length === 0 || !Array.isArray(container['ports'])) return container
  const ports = container['ports'].map((port: Json) => {
    const from = isObject(port) ? mine.find(({ to }) => to === port['name'])?.from : undefined
    return from === undefined || !isObject(port) ? port : { ...port, name: from }
  })
  return { ...container, ports }
}

function stripAnnotations(annotations: JsonObject): JsonObject {
  const others = without(annotations, INJECTED_ANNOTATION)
  const evict = others[SAFE_TO_EVICT_ANNOTATION]
  if (typeof evict !== 'string') return others
  const kept = evict.split(',').filter(name => !OUR_VOLUMES.includes(name.trim()))
  return kept.length === 0 ? without(others, SAFE_TO_EVICT_ANNOTATION) : { ...others, [SAFE_TO_EVICT_ANNOTATION]: kept.join(',') }
}

function listWithout(spec: JsonObject, list: string, names: readonly string[], map = (each: JsonObject): JsonObject => each): JsonObject {
  const value = spec[list]
  if (!Array.isArray(value)) return {}
  return { [list]: value.filter((each: Json) => !names.includes(textAt(each, 'name') ?? '')).map((each: Json) => (isObject(each) ? map(each) : each)) }
}

function without(object: JsonObject, name: string): JsonObject {
  return Object.fromEntries(Object.entries(object).filter(([each]) => each !== name))
}

/** Leaves out those of the named members that were emptied here. What the user left empty stays. */
function withoutEmpty(object: JsonObject, before: JsonObject, names: readonly string[]): JsonObject {
  const isEmpty = (value: Json | undefined): boolean => (Array.isArray(value) ? value.length === 0 : isObject(value) && Object.keys(value).length === 0)
  return Object.fromEntries(Object.entries(object).filter(([name, value]) => !(names.includes(name) && isEmpty(value) && !(Object.hasOwn(before, name) && isEmpty(before[name])))))
}
