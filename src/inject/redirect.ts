/**
 * Capture `Redirect`: an init container writes one nftables table into the pod's network. What comes to a recorded port goes to the recorder, from
 * outside and from inside the pod (`kubectl port-forward` connects to localhost in the pod's network, other containers may). Only what the recorder
 * sends itself, from an address of its own, goes to the app, so there is no loop.
 * The kubelet's probes get numbers of their own that lead to the app, past the recorder: liveness must never depend on it. They do so for who comes
 * from outside only, else `kubectl port-forward` would get past by them.
 */

import { isObject, numberAt, objectsAt, textAt } from '../policy/json.ts'
import type { Json, JsonObject } from '../policy/json.ts'
import { FIRST_PROBE_PORT, RECORDER_ADDRESS, REDIRECT } from './marks.ts'
import type { InjectedPort } from './marks.ts'
import { commandsOf, mapProbePorts } from './probe-ports.ts'
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
  const outside = ports.flatMap(({ port, listen }, index) => [fromOutside(port, listen), fromOutside(FIRST_PROBE_PORT + index, port)])
  return [
    'add table inet steno',
    'delete table inet steno',
    'add table inet steno',
    'add chain inet steno prerouting { type nat hook prerouting priority dstnat; }',
    ...outside,
    // nft knows dstnat as a name at prerouting only.
    'add chain inet steno output { type nat hook output priority -100; }',
    `add rule inet steno output ip saddr ${RECORDER_ADDRESS} accept`,
    ...ports.map(({ port, listen }) => `add rule inet steno output oifname "lo" tcp dport ${port} redirect to :${listen}`),
  ].join('; ')
}

function fromOutside(from: number, to: number): string {
  return `add rule inet steno prerouting iifname != "lo" tcp dport ${from} redirect to :${to}`
}

/** For who creates the pod: commands of probes and hooks that seem to ask the app. They run in the pod, where nobody can tell them from others. */
export function commandWarnings(spec: JsonObject, ports: readonly { readonly port: number }[]): string[] {
  return ['containers', 'initContainers'].flatMap(list => objectsAt(spec, list)).flatMap(container =>
    commandsOf(container).flatMap(({ handler, command }) => {
      const asked = ports.find(({ port }) => new RegExp(`(?<!\\d)${port}(?!\\d)`).test(command))
      return asked === undefined ? [] : [`container ${textAt(container, 'name') ?? ''}: the command of ${handler} seems to ask port ${asked.port}: through the recorder. httpGet does not`]
    }),
  )
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
