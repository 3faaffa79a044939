/**
 * Capture `Port`: the app's named port gives its name to the recorder, and what meant the app by that name gets its number.
 * EndpointSlices, NetworkPolicies and PodMonitors follow the name, so they lead to the recorder. Probes and lifecycle hooks are the kubelet's
 * and keep asking the app: an app's liveness must never depend on the recorder.
 */

import { isObject, listAt, numberAt, objectsAt, textAt } from '../policy/json.ts'
import type { JsonObject } from '../policy/json.ts'
import type { RenamedPort } from './marks.ts'
import { mapProbePorts } from './probe-ports.ts'

/** IANA service names have at most 15 characters. */
const MAX_PORT_NAME = 15

export interface TakenOver {
  readonly spec: JsonObject
  readonly renamed: readonly RenamedPort[]
}

/** @param names of TCP ports that go to the recorder. Every port with such a name is renamed: the first that is left would win. */
export function takeOverPorts(spec: JsonObject, names: readonly string[]): TakenOver {
  const used = new Set(['containers', 'initContainers'].flatMap(list => objectsAt(spec, list)).flatMap(each => objectsAt(each, 'ports').flatMap(port => textAt(port, 'name') ?? [])))
  const renamed: RenamedPort[] = []
  const rename = (container: JsonObject): JsonObject => {
    const mine: { from: string; to: string; port: number | undefined }[] = []
    const ports = listAt(container, 'ports').map(port => {
      if (!isObject(port) || (textAt(port, 'protocol') ?? 'TCP') !== 'TCP') return port
      const from = names.find(name => name === port['name'])
      if (from === undefined) return port
      const to = freeName(from, used)
      used.add(to)
      mine.push({ from, to, port: numberAt(port, 'containerPort') })
      return { ...port, name: to }
    })
    if (mine.length === 0) return container
    renamed.push(...mine.map(({ from, to }) => ({ container: textAt(container, 'name') ?? '', from, to })))
    return mapProbePorts({ ...container, ports }, asked => mine.find(({ from }) => from === asked)?.port)
  }
  const containers = listAt(spec, 'containers').map(each => (isObject(each) ? rename(each) : each))
  if (!Array.isArray(spec['initContainers'])) return { spec: { ...spec, containers }, renamed }
  const initContainers = listAt(spec, 'initContainers').map(each => (isObject(each) && each['restartPolicy'] === 'Always' ? rename(each) : each))
  return { spec: { ...spec, containers, initContainers }, renamed }
}

/** `http` → `http-app`; cut where it would be too long, numbered where it is taken. */
function freeName(name: string, used: ReadonlySet<string>): string {
  for (let attempt = 1; ; attempt++) {
    const suffix = attempt === 1 ? '-app' : `-app${attempt}`
    const free = `${name.slice(0, MAX_PORT_NAME - suffix.length).replace(/-$/, '')}${suffix}`
    if (!used.has(free)) return free
  }
}
