/** A pod that carries no injection, with a recorder put into it. */

import { listAt, objectAt, textAt } from '../policy/json.ts'
import type { Json, JsonObject } from '../policy/json.ts'
import { keepAdditions } from './keep-additions.ts'
import { INJECTED_ANNOTATION, RECORDED_LABEL, SAFE_TO_EVICT_ANNOTATION, VOLUMES } from './marks.ts'
import type { Injected, SidecarMode } from './marks.ts'
import { recorderParts } from './recorder-container.ts'
import type { RecorderInput } from './recorder-container.ts'
import { probesPastRecorder, redirectContainer } from './redirect.ts'
import type { Earlier, StrippedPod } from './strip-pod.ts'
import { takeOverPorts } from './take-over-ports.ts'

export function buildPod(stripped: StrippedPod, plan: RecorderInput): JsonObject {
  const { capture, ports, settings, policy, mode } = plan
  const original = objectAt(stripped.pod, 'spec')
  const names = capture === 'Port' ? ports.flatMap(({ name }) => name ?? []) : []
  const taken = takeOverPorts(capture === 'Redirect' ? probesPastRecorder(original, ports) : original, names)
  // With Redirect the app keeps its names: traffic is taken by number.
  const input = { ...plan, ports: capture === 'Port' ? ports : ports.map(({ port, listen }) => ({ port, listen })) }
  const parts = recorderParts(input)
  const redirect = capture === 'Redirect' ? redirectContainer(ports, settings, plan.facts.pooled) : undefined
  const injected: Injected = {
    version: settings.version,
    image: settings.image,
    // Without what a recorder takes up while it runs: that makes no pod outdated.
    configHash: plan.digest(JSON.stringify([recorderParts({ ...input, compiled: [] }), redirect ?? null])),
    mode,
    capture,
    ports,
    renamed: taken.renamed,
    policies: policy.names.map((name, index) => ({ name, uid: policy.uids[index] ?? '', generation: policy.generations[index] ?? 0 })),
  }
  const metadata = objectAt(stripped.pod, 'metadata')
  return {
    ...stripped.pod,
    metadata: {
      ...metadata,
      labels: { ...objectAt(metadata, 'labels'), [RECORDED_LABEL]: 'true' },
      annotations: { ...objectAt(metadata, 'annotations'), [SAFE_TO_EVICT_ANNOTATION]: safeToEvict(stripped.safeToEvict), [INJECTED_ANNOTATION]: JSON.stringify(injected) },
    },
    spec: { ...taken.spec, ...lists(taken.spec, stripped, { ...parts, redirect, mode }) },
  }
}

interface Parts {
  readonly container: JsonObject
  readonly volumes: readonly JsonObject[]
  readonly redirect: JsonObject | undefined
  readonly mode: SidecarMode
}

/**
 * A native recorder comes first, the redirect before it, so that no init container of the app talks to a network that is about to change.
 * A plain recorder comes last, so that the app stays the container that kubectl takes when none is named; its redirect too, since nothing
 * listens behind it until the containers start.
 */
function lists(spec: JsonObject, { earlier }: StrippedPod, { container, volumes, redirect, mode }: Parts): JsonObject {
  const inits = [...(redirect === undefined ? [] : [redirect]), ...(mode === 'native' ? [container] : [])]
  const initContainers = inserted(listAt(spec, 'initContainers'), inits, earlier.initContainers, mode === 'native' ? 'first' : 'last')
  return {
    containers: mode === 'plain' ? inserted(listAt(spec, 'containers'), [container], earlier.containers, 'last') : listAt(spec, 'containers'),
    ...(initContainers.length === 0 ? {} : { initContainers }),
    volumes: inserted(listAt(spec, 'volumes'), volumes, earlier.volumes, 'last', (wanted: JsonObject) => wanted),
  }
}

/** Where ours stood before they stay: another webhook may have put its own around them. */
function inserted(list: readonly Json[], ours: readonly JsonObject[], earlier: ReadonlyMap<string, Earlier>, otherwise: 'first' | 'last', adapt = keepAdditions): Json[] {
  const placed = ours.map(each => {
    const before = earlier.get(textAt(each, 'name') ?? '')
    return { value: adapt(each, before?.value), place: Math.min(before?.place ?? (otherwise === 'first' ? 0 : list.length), list.length) }
  })
  const at = (place: number): JsonObject[] => placed.filter(each => each.place === place).map(({ value }) => value)
  return [...list.flatMap((each, index) => [...at(index), each]), ...at(list.length)]
}

/** The spool of a pod that goes away is shipped while it ends: it must not keep the autoscaler from taking the node. */
function safeToEvict(present: string | undefined): string {
  const names = present === undefined ? [] : present.split(',').filter(name => name.trim() !== '')
  return [...names, ...[VOLUMES.spool, VOLUMES.noApiToken].filter(ours => !names.some(name => name.trim() === ours))].join(',')
}
