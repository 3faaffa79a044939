/**
 * Capture `Redirect`: an init container writes one nftables table into the pod's network. What comes from outside to a recorded port goes to the
 * recorder; what starts inside the pod, such as the recorder's own requests, is left alone, so there is no loop.
 * The kubelet's probes get numbers of their own that lead to the app, past the recorder: liveness must never depend on it.
 */

import { isObject, numberAt, objectsAt } from '../policy/json.ts'
import type { Json, JsonObject } from '../policy/json.ts'
import { FIRST_PROBE_PORT, REDIRECT } from './marks.ts'
import type { InjectedPort } from './marks.ts'
import { mapProbePorts } from './probe-ports.ts'
import { withoutPooled } from './recorder-container.ts'
import type { InjectorSettings } from './settings.ts'

/** @param pooled see `PodFacts` */
export function redirectContainer(ports: readonly InjectedPort[], settings: InjectorSettings, pooled: boolean): JsonObject {
  return {
    name: REDIRECT,
    image: settings.image,
    imagePullPolicy: settings.imagePullPolicy,
    command: ['nft', redirectRules(ports)],
    resources: withoutPooled({ requests: { cpu: '10m', memory: '16Mi' }, limits: { cpu: '100m', memory: '32Mi' } }, pooled),
    securityContext: {
      allowPrivilegeEscalation: false,
      capabilities: { add: ['NET_ADMIN'], drop: ['ALL'] },
      privileged: false,
      readOnlyRootFilesystem: true,
      // Capabilities that are added reach root only.
      runAsNonRoot: false,
      runAsUser: 0,
      runAsGroup: 0,
      seccompProfile: { type: 'RuntimeDefault' },
    },
    terminationMessagePath: '/dev/termination-log',
    terminationMessagePolicy: 'FallbackToLogsOnError',
  }
}

/** Statements for one call of `nft`. Making the table anew first lets a container that is started again succeed. */
export function redirectRules(ports: readonly InjectedPort[]): string {
  const rules = ports.flatMap(({ port, listen }, index) => [rule(port, listen), rule(FIRST_PROBE_PORT + index, port)])
  return ['add table inet steno', 'delete table inet steno', 'add table inet steno', 'add chain inet steno prerouting { type nat hook prerouting priority dstnat; }', ...rules].join('; ')
}

function rule(from: number, to: number): string {
  return `add rule inet steno prerouting iifname != "lo" tcp dport ${from} redirect to :${to}`
}

/** Points what the kubelet asks at the numbers that lead past the recorder. */
export function probesPastRecorder(spec: JsonObject, ports: readonly InjectedPort[]): JsonObject {
  const past = new Map(ports.map(({ port }, index) => [port, FIRST_PROBE_PORT + index]))
  return mapContainers(spec, container => {
    const numberOf = (port: Json): number | undefined => (typeof port === 'number' ? port : numberAt(objectsAt(container, 'ports').find(each => each['name'] === port), 'containerPort'))
    return mapProbePorts(container, port => past.get(numberOf(port) ?? 0))
  })
}

/** Undoes `probesPastRecorder`, with numbers in place of names. */
export function probesAtApp(spec: JsonObject, ports: readonly { readonly port: number }[]): JsonObject {
  const back = new Map(ports.map(({ port }, index) => [FIRST_PROBE_PORT + index, port]))
  return mapContainers(spec, container => mapProbePorts(container, port => (typeof port === 'number' ? back.get(port) : undefined)))
}

function mapContainers(spec: JsonObject, map: (container: JsonObject) => JsonObject): JsonObject {
  const changed: Record<string, Json | undefined> = { ...spec }
  for (const list of ['containers', 'initContainers']) {
    const containers = spec[list]
    if (Array.isArray(containers)) changed[list] = containers.map((each: Json) => (isObject(each) ? map(each) : each))
  }
  return changed
}
