/** What the kubelet does on probes and lifecycle hooks: ports that it asks, and commands. It resolves names of ports among those of the container that has them. */

import { isObject, objectAt, stringsAt } from '../policy/json.ts'
import type { Json, JsonObject } from '../policy/json.ts'

const PROBES = ['livenessProbe', 'readinessProbe', 'startupProbe'] as const
const HOOKS = ['postStart', 'preStop'] as const
const ACTIONS = ['httpGet', 'tcpSocket', 'grpc'] as const

/** @param portFor what is to stand in place of a name or number; undefined leaves it */
export function mapProbePorts(container: JsonObject, portFor: (port: Json) => number | undefined): JsonObject {
  const changed = mapHandlers(container, PROBES, portFor)
  const { lifecycle } = container
  return isObject(lifecycle) ? { ...changed, lifecycle: mapHandlers(lifecycle, HOOKS, portFor) } : changed
}

/** Commands that run in the container, with what they are for. */
export function commandsOf(container: JsonObject): { readonly handler: string; readonly command: string }[] {
  const within = (object: JsonObject, names: readonly string[]): { readonly handler: string; readonly command: string }[] => names.map(handler => ({ handler, command: stringsAt(objectAt(objectAt(object, handler), 'exec'), 'command').join(' ') }))
  return [...within(container, PROBES), ...within(objectAt(container, 'lifecycle'), HOOKS)].filter(({ command }) => command !== '')
}

function mapHandlers(object: JsonObject, names: readonly string[], portFor: (port: Json) => number | undefined): JsonObject {
  const changed: Record<string, Json | undefined> = { ...object }
  for (const name of names) {
    const handler = object[name]
    if (isObject(handler)) changed[name] = mapActions(handler, portFor)
  }
  return changed
}

function mapActions(handler: JsonObject, portFor: (port: Json) => number | undefined): JsonObject {
  const changed: Record<string, Json | undefined> = { ...handler }
  for (const name of ACTIONS) {
    const action = handler[name]
    const port = isObject(action) && action['port'] !== undefined ? portFor(action['port']) : undefined
    if (isObject(action) && port !== undefined) changed[name] = { ...action, port }
  }
  return changed
}
