/** Several policies select one pod: the strictest value of each field wins. */

import type { Capture, FirehoseSink, PolicySpec, RecorderSpec, SessionPolicy } from './session-policy.ts'

export interface EffectivePolicy {
  /** Names of the policies it comes from, sorted. */
  readonly names: readonly string[]
  readonly uids: readonly string[]
  /** The highest of each policy's generation, by name: shows on the pod which state of the policies it was made from. */
  readonly generations: readonly number[]
  readonly ports: readonly (string | number)[]
  readonly capture: Capture
  readonly durability: PolicySpec['durability']
  readonly onFailure: PolicySpec['onFailure']
  readonly optOut: PolicySpec['optOut']
  readonly sink?: FirehoseSink
  /** Name of the policy that says where recordings go; the first where none does. */
  readonly shippingPolicy: string
  /** Fields on which the policies disagree and where one had to win. */
  readonly conflicts: readonly ('capture' | 'durability' | 'onFailure' | 'optOut' | 'sink')[]
}

/** From the most lenient to the strictest. `Redirect` sees all that `Port` sees, and more. */
const CAPTURE_ORDER: readonly Capture[] = ['Auto', 'Port', 'Redirect']

/** @param policies at least one, sorted by name. Of sinks, which have no order, the first named wins. */
export function mergePolicies(policies: readonly SessionPolicy[]): EffectivePolicy {
  const specs = policies.map(({ spec }) => spec)
  if (specs.length === 0) throw new TypeError('nothing to merge')
  const some = <K extends keyof PolicySpec>(field: K, value: PolicySpec[K]): boolean => specs.some(spec => spec[field] === value)
  const differ = (field: 'capture' | 'durability' | 'onFailure' | 'optOut'): boolean => new Set(specs.map(spec => spec[field])).size > 1
  const sinks = specs.flatMap(({ sink }) => (sink === undefined ? [] : [sink]))
  return {
    names: policies.map(({ name }) => name),
    uids: policies.map(({ uid }) => uid),
    generations: policies.map(({ generation }) => generation),
    ports: [...new Set(specs.flatMap(({ ports }) => ports))],
    capture: CAPTURE_ORDER.findLast(capture => some('capture', capture)) ?? 'Auto',
    ...mergeForRecorder(specs),
    optOut: some('optOut', 'Refuse') ? 'Refuse' : 'Allow',
    shippingPolicy: shippingPolicy(policies),
    conflicts: [
      ...(['capture', 'durability', 'onFailure', 'optOut'] as const).filter(differ),
      ...(new Set(sinks.map(({ stream, region }) => `${region}/${stream}`)).size > 1 ? ['sink' as const] : []),
    ],
  }
}

/** Name of the policy that says where recordings of a pod go, or of the first. @param policies that select it, sorted by name */
export function shippingPolicy(policies: readonly SessionPolicy[]): string {
  return (policies.find(({ spec }) => spec.sink !== undefined) ?? policies[0])?.name ?? ''
}

/** The part that a recorder goes by. @param specs in the order of their policies' names */
export function mergeForRecorder(specs: readonly RecorderSpec[]): RecorderSpec {
  const sink = specs.find(each => each.sink !== undefined)?.sink
  return {
    durability: specs.some(({ durability }) => durability === 'OffPod') ? 'OffPod' : 'Local',
    onFailure: specs.some(({ onFailure }) => onFailure === 'Block') ? 'Block' : 'Allow',
    ...(sink === undefined ? {} : { sink }),
  }
}
