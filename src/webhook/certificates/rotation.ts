/**
 * When certificates change. Pure: what is there and the time say the next step; nothing is remembered but what the Secret holds, so that any replica can go on.
 * An authority is replaced in two phases: it is trusted everywhere first, signs only after that, and the one before stays trusted as long as a leaf of it may be served.
 */

import type { Authority, Leaf } from './issue.ts'
import { SKEW_MS } from './issue.ts'

export interface CertificateState {
  /** The leaf that is served, and the authority that has signed it. */
  readonly current?: { readonly authority: Authority; readonly leaf: Leaf }
  /** Signs from some time after it was seen in every configuration (ms since epoch). */
  readonly next?: { readonly authority: Authority; readonly observedAt?: number }
  /** Signs no more, is trusted until then (ms since epoch). */
  readonly old: readonly { readonly cert: string; readonly until: number }[]
}

export interface RotationTimes {
  /** Validity of an authority. */
  readonly authorityMs: number
  /** Validity of a leaf; less than a third of the authority's, so that the one before is forgotten in time. */
  readonly leafMs: number
  /** From when an authority was seen in every configuration until it signs: API servers learn of it a moment later. */
  readonly overlapMs: number
}

const DAY_MS = 86_400_000
export const TIMES: RotationTimes = { authorityMs: 365 * DAY_MS, leafMs: 30 * DAY_MS, overlapMs: 60_000 }
/** Renewed after this part of its validity. */
const RENEW_AT = 2 / 3

export type Step = 'begin' | 'drop' | 'announce' | 'observe' | 'unobserve' | 'promote' | 'renew' | 'wait'

/** @param inPlace every configuration trusts exactly `bundleOf(state)` */
export function nextStep(state: CertificateState, { now, inPlace, names }: { readonly now: number; readonly inPlace: boolean; readonly names: readonly string[] }, times: RotationTimes): Step {
  const { current, next } = state
  // Nothing that would still be accepted can be lost.
  if (current === undefined || current.authority.notAfter <= now) return 'begin'
  if (next?.observedAt !== undefined && !inPlace) return 'unobserve'
  if (next !== undefined && next.observedAt === undefined && inPlace) return 'observe'
  if (next?.observedAt !== undefined && now >= next.observedAt + times.overlapMs) return 'promote'
  if (now >= renewalOf(current.leaf) || names.some(name => !current.leaf.names.includes(name))) return 'renew'
  if (next === undefined && now >= renewalOf(current.authority)) return 'announce'
  if (state.old.some(({ until }) => until <= now)) return 'drop'
  return 'wait'
}

/** PEM of every authority to be trusted, in an order that does not change without need. */
export function bundleOf({ current, next, old }: CertificateState): string {
  return [...old.map(({ cert }) => cert), ...(current === undefined ? [] : [current.authority.cert]), ...(next === undefined ? [] : [next.authority.cert])].map(each => `${each.trim()}\n`).join('')
}

/** ms since epoch. */
function renewalOf({ notBefore, notAfter }: { readonly notBefore: number; readonly notAfter: number }): number {
  const from = notBefore + SKEW_MS
  return from + (notAfter - from) * RENEW_AT
}
