/**
 * Who of several replicas acts: a Lease (coordination.k8s.io/v1), as client-go's leader election reads and writes it. Whether another's lease is over is
 * judged by our own clock since its last change was seen, never by the time that is written in it. Whoever cannot renew in time has lost, and must end.
 */

import { setTimeout as wait } from 'node:timers/promises'

import type { Clock } from '../platform/clock.ts'
import type { Log } from '../platform/log.ts'
import { numberAt, objectAt, textAt } from '../policy/json.ts'
import type { JsonObject } from '../policy/json.ts'
import { KubeError } from './client.ts'
import type { KubeClient } from './client.ts'
import { ifFound } from './if-found.ts'

export interface ElectionOptions {
  readonly client: KubeClient
  readonly namespace: string
  readonly name: string
  /** Of this process alone. */
  readonly identity: string
  readonly clock: Clock
  readonly log: Log
  /** 0 to 1, for jitter. */
  readonly random: () => number
  /** How long a lease holds without being renewed. */
  readonly leaseMs?: number
  /** After how long without success the holder gives up; shorter than `leaseMs`, so that there are never two. */
  readonly renewMs?: number
  readonly retryMs?: number
}

export interface Leadership {
  /** Resolves with the reason when leadership is lost; never after `release()`. */
  readonly lost: Promise<string>
  /** Gives the lease back, so that the next need not wait for its end. */
  release(): Promise<void>
}

const LEASE_MS = 15_000
const RENEW_MS = 10_000
const RETRY_MS = 2000

/** Waits until this process leads. Rejects when the signal aborts, with its reason. */
export async function lead(options: ElectionOptions, signal: AbortSignal): Promise<Leadership> {
  const { client, namespace, name, identity, clock, log } = options
  const leaseMs = options.leaseMs ?? LEASE_MS
  const renewMs = options.renewMs ?? RENEW_MS
  const retryMs = options.retryMs ?? RETRY_MS
  const collection = `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases`
  const path = `${collection}/${name}`
  /** What was last seen in the lease, and when it was first seen so. */
  let seen: { readonly version: string; readonly sinceMs: number } | undefined
  const pause = async (until: AbortSignal): Promise<void> => await wait(retryMs * (0.9 + 0.2 * options.random()), undefined, { signal: until }).catch(() => {})

  const read = async (timeout: AbortSignal): Promise<JsonObject | undefined> => await ifFound(client.request(path, { signal: timeout }))

  /** @returns the holder after it: us, or another */
  const attempt = async (timeout: AbortSignal): Promise<string> => {
    const now = microTime(clock.now())
    const ours = { holderIdentity: identity, leaseDurationSeconds: Math.max(1, Math.ceil(leaseMs / 1000)), renewTime: now }
    const lease = await read(timeout)
    if (lease === undefined) {
      await client.request(collection, { method: 'POST', body: { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata: { name, namespace }, spec: { ...ours, acquireTime: now, leaseTransitions: 0 } }, signal: timeout })
      return identity
    }
    const spec = objectAt(lease, 'spec')
    const holder = textAt(spec, 'holderIdentity') ?? ''
    const version = textAt(lease['metadata'], 'resourceVersion') ?? ''
    if (seen?.version !== version) seen = { version, sinceMs: clock.monotonic() }
    const theirMs = options.leaseMs ?? (numberAt(spec, 'leaseDurationSeconds') ?? LEASE_MS / 1000) * 1000
    const free = holder === '' || holder === identity || clock.monotonic() - seen.sinceMs > theirMs
    if (!free) return holder
    const kept = holder === identity ? { acquireTime: textAt(spec, 'acquireTime') ?? now, leaseTransitions: numberAt(spec, 'leaseTransitions') ?? 0 } : { acquireTime: now, leaseTransitions: (numberAt(spec, 'leaseTransitions') ?? 0) + 1 }
    // The version in the metadata makes this fail when another was quicker.
    await client.request(path, { method: 'PUT', body: { ...lease, spec: { ...spec, ...ours, ...kept } }, signal: timeout })
    return identity
  }

  /** @returns undefined when nothing could be learned */
  const tried = async (until: AbortSignal, ms: number): Promise<string | undefined> => {
    try {
      return await attempt(AbortSignal.any([until, AbortSignal.timeout(Math.max(1, Math.ceil(ms)))]))
    } catch (error) {
      if (until.aborted || (error instanceof KubeError && error.status === 409)) return undefined
      log.warn('the lease could not be read or written', { lease: `${namespace}/${name}`, reason: error instanceof Error ? error.message : String(error) })
      return undefined
    }
  }

  let renewedMs = clock.monotonic()
  for (;;) {
    signal.throwIfAborted()
    renewedMs = clock.monotonic()
    if ((await tried(signal, renewMs)) === identity) break
    await pause(signal)
  }
  log.info('leading', { lease: `${namespace}/${name}`, identity })

  const releasing = new AbortController()
  const lost = Promise.withResolvers<string>()
  const renew = async (): Promise<void> => {
    for (;;) {
      await pause(releasing.signal)
      if (releasing.signal.aborted) return
      const startedMs = clock.monotonic()
      const holder = await tried(releasing.signal, renewedMs + renewMs - startedMs)
      if (releasing.signal.aborted) return
      // From before the request: the API server counted from some time within it.
      if (holder === identity) renewedMs = startedMs
      else if (holder !== undefined) return lost.resolve(`another holds the lease: ${holder}`)
      if (clock.monotonic() - renewedMs >= renewMs) return lost.resolve(`the lease could not be renewed for ${renewMs} ms`)
    }
  }
  const renewing = renew()
  return {
    lost: lost.promise,
    release: async () => {
      releasing.abort()
      await renewing
      try {
        const timeout = AbortSignal.timeout(retryMs)
        const lease = await read(timeout)
        const spec = objectAt(lease, 'spec')
        if (lease === undefined || textAt(spec, 'holderIdentity') !== identity) return
        await client.request(path, { method: 'PUT', body: { ...lease, spec: { ...spec, holderIdentity: '', leaseDurationSeconds: 1 } }, signal: timeout })
      } catch (error) {
        log.warn('the lease could not be released; it ends by itself', { lease: `${namespace}/${name}`, reason: error instanceof Error ? error.message : String(error) })
      }
    },
  }
}

/** As `metav1.MicroTime`. */
function microTime(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, -1)}000Z`
}
