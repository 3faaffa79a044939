/** Names that injection leaves on a pod. They are read back on the next run, by the operator and by people: they do not change. */

import { isObject, numberAt, objectsAt, textAt } from '../policy/json.ts'
import type { Capture } from '../policy/session-policy.ts'

export const RECORDER = 'steno-recorder'
export const REDIRECT = 'steno-redirect'
export const VOLUMES = { spool: 'steno-spool', noApiToken: 'steno-no-api-token', policy: 'steno-policy', key: 'steno-key', awsToken: 'steno-aws-token', archive: 'steno-archive' } as const

/** `"true"` on a pod that has its recorder. */
export const RECORDED_LABEL = 'steno.dev/recorded'
/** JSON: see `Injected`. */
export const INJECTED_ANNOTATION = 'steno.dev/injected'
/** `"false"` asks not to be recorded. */
export const RECORD_ANNOTATION = 'steno.dev/record'
/** `native` or `plain`: overrides the choice by node version. */
export const SIDECAR_ANNOTATION = 'steno.dev/sidecar'
/** On a pod template that the operator changed so that its pods are made anew: for which state of policy and installation. */
export const REPAIRED_ANNOTATION = 'steno.dev/repaired-for'
/** `"true"` on a namespace: no pod that should be recorded comes in without an intact recorder. */
export const STRICT_LABEL = 'steno.dev/strict'

/** What may stand on a pod under `steno.dev/`; anything else is a typo that is worth a warning. */
export const KNOWN_ANNOTATIONS: readonly string[] = [RECORD_ANNOTATION, SIDECAR_ANNOTATION, INJECTED_ANNOTATION, REPAIRED_ANNOTATION]

export const SAFE_TO_EVICT_ANNOTATION = 'cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes'
export const MIRROR_ANNOTATION = 'kubernetes.io/config.mirror'
export const POD_SECURITY_LABEL = 'pod-security.kubernetes.io/enforce'
/** OpenShift assigns uids to a namespace with it, and refuses others. */
export const OPENSHIFT_UID_ANNOTATION = 'openshift.io/sa.scc.uid-range'

/** The first listener; one number more for each further port. Below the admin port for as many ports as a policy may name. */
export const FIRST_LISTENER = 15_080
/** Not 15090, where every proxy of Istio has its metrics. */
export const ADMIN_PORT = 15_088
/** With `Redirect`, probes of the kubelet reach the app by these numbers, past the recorder. */
export const FIRST_PROBE_PORT = 15_100
/**
 * With `Redirect`, the recorder connects to the app from here; whoever else does so inside the pod gets past it. Any address of 127.0.0.0/8 would do,
 * but not Istio's 127.0.0.6: what Envoy passes on to the app is to be recorded.
 */
export const RECORDER_ADDRESS = '127.0.0.15'

export type SidecarMode = 'native' | 'plain'

export interface InjectedPort {
  /** Name by which Services reach it; absent when it has none. */
  readonly name?: string
  /** Number on which the app listens. */
  readonly port: number
  /** Number on which the recorder listens. */
  readonly listen: number
}

export interface RenamedPort {
  readonly container: string
  readonly from: string
  readonly to: string
}

/** Value of the `steno.dev/injected` annotation. */
export interface Injected {
  readonly version: string
  readonly image: string
  /** Equal on two pods whose recorders were set up alike. What a recorder takes up while it runs does not count. */
  readonly configHash: string
  readonly mode: SidecarMode
  readonly capture: Exclude<Capture, 'Auto'>
  readonly ports: readonly InjectedPort[]
  /** Ports of the app that gave their name to the recorder. */
  readonly renamed: readonly RenamedPort[]
  readonly policies: readonly { readonly name: string; readonly uid: string; readonly generation: number }[]
}

/** What undoing and checking an injection needs of it. */
export type InjectedMark = Pick<Injected, 'renamed' | 'configHash' | 'capture'> & { readonly ports: readonly Pick<InjectedPort, 'port' | 'listen'>[] }

/** @returns undefined when the text is not ours */
export function parseInjected(text: string): InjectedMark | undefined {
  // Most pods carry none, and an error costs more than the rest of the decision.
  if (text === '') return undefined
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  if (!isObject(value) || !Array.isArray(value['renamed']) || !Array.isArray(value['ports'])) return undefined
  const renamed = objectsAt(value, 'renamed').map(each => ({ container: textAt(each, 'container') ?? '', from: textAt(each, 'from') ?? '', to: textAt(each, 'to') ?? '' }))
  const ports = objectsAt(value, 'ports').map(each => ({ listen: numberAt(each, 'listen') ?? 0, port: numberAt(each, 'port') ?? 0 }))
  if (renamed.some(({ from, to }) => from === '' || to === '')) return undefined
  return { renamed, ports, configHash: textAt(value, 'configHash') ?? '', capture: value['capture'] === 'Redirect' ? 'Redirect' : 'Port' }
}
