/**
 * Makes and rotates the certificates of all replicas: one at a time issues, by a Lease. A step is one write of the Secret at the version that was read, so that
 * an issuer that has lost its lease without noticing changes nothing. API servers are told whom to trust by server-side apply of `caBundle` alone.
 */

import { setTimeout as wait } from 'node:timers/promises'

import { KubeError } from '../../kube/client.ts'
import type { KubeClient } from '../../kube/client.ts'
import { ifFound } from '../../kube/if-found.ts'
import { lead } from '../../kube/election.ts'
import type { Clock } from '../../platform/clock.ts'
import type { Log } from '../../platform/log.ts'
import { objectAt, objectsAt, textAt } from '../../policy/json.ts'
import type { JsonObject } from '../../policy/json.ts'
import { issueAuthority, issueLeaf } from './issue.ts'
import { bundleOf, nextStep, TIMES } from './rotation.ts'
import type { CertificateState, RotationTimes, Step } from './rotation.ts'
import { readState, withState } from './secret.ts'

export interface OwnCertificates {
  /** Of the Secret and the Lease. */
  readonly namespace: string
  /** Names by which API servers reach the injector. */
  readonly names: readonly string[]
  readonly times?: RotationTimes
  readonly everyMs?: number
  /** As for an election. */
  readonly leaseMs?: number
  readonly renewMs?: number
  readonly retryMs?: number
}

export interface IssuerOptions extends OwnCertificates {
  readonly client: KubeClient
  readonly identity: string
  readonly clock: Clock
  readonly log: Log
  readonly random: () => number
  /** What was done, for a metric. */
  readonly onStep: (step: Step | 'trust' | 'failed') => void
}

export interface Issuer {
  stop(): Promise<void>
}

/** Names of what `webhooks/certificates.yaml` installs. */
export const SECRET = 'steno-injector-certificates'
const LEASE = 'steno-injector-certificates'
const CONFIGURATION = 'steno-injector'
const COLLECTIONS = ['mutatingwebhookconfigurations', 'validatingwebhookconfigurations'] as const
const MANAGER = 'steno-certificates'
const EVERY_MS = 10_000
const DEADLINE_MS = 10_000

export function startIssuer(options: IssuerOptions): Issuer {
  const { client, clock, log } = options
  const times = options.times ?? TIMES
  const secretPath = `/api/v1/namespaces/${options.namespace}/secrets/${SECRET}`
  const stopping = new AbortController()
  const pause = async (signal: AbortSignal): Promise<void> => await wait((options.everyMs ?? EVERY_MS) * (0.9 + 0.2 * options.random()), undefined, { signal }).catch(() => {})

  const apply = async (state: CertificateState, step: Step, now: number): Promise<CertificateState> => {
    const { current, next, old } = state
    switch (step) {
      case 'begin': {
        const authority = await issueAuthority(now, times.authorityMs)
        return { current: { authority, leaf: await issueLeaf(authority, options.names, now, times.leafMs) }, old: [] }
      }
      case 'announce':
        return { ...state, next: { authority: await issueAuthority(now, times.authorityMs) } }
      case 'observe':
        return next === undefined ? state : { ...state, next: { ...next, observedAt: now } }
      case 'unobserve':
        return next === undefined ? state : { ...state, next: { authority: next.authority } }
      case 'promote': {
        if (next === undefined || current === undefined) return state
        const leaf = await issueLeaf(next.authority, options.names, now, times.leafMs)
        // A replica that cannot read the Secret goes on with the leaf it has until that ends.
        return { current: { authority: next.authority, leaf }, old: [...old, { cert: current.authority.cert, until: current.leaf.notAfter }] }
      }
      case 'renew':
        return current === undefined ? state : { ...state, current: { ...current, leaf: await issueLeaf(current.authority, options.names, now, times.leafMs) } }
      case 'drop':
        return { ...state, old: old.filter(({ until }) => until > now) }
      case 'wait':
        return state
    }
  }

  const readConfiguration = async (collection: string, signal: AbortSignal): Promise<JsonObject | undefined> => await ifFound(client.request(`/apis/admissionregistration.k8s.io/v1/${collection}/${CONFIGURATION}`, { signal }))

  const trust = async (collection: string, configuration: JsonObject, bundle: string, signal: AbortSignal): Promise<void> => {
    if (bundlesOf(configuration).every(each => each === bundle)) return
    const body = {
      apiVersion: 'admissionregistration.k8s.io/v1',
      kind: collection === 'mutatingwebhookconfigurations' ? 'MutatingWebhookConfiguration' : 'ValidatingWebhookConfiguration',
      // At the version that was read before the Secret was: whoever is behind cannot take away an authority that another has announced meanwhile.
      metadata: { name: CONFIGURATION, resourceVersion: textAt(configuration['metadata'], 'resourceVersion') ?? '' },
      webhooks: objectsAt(configuration, 'webhooks').map(each => ({ name: textAt(each, 'name') ?? '', clientConfig: { caBundle: bundle } })),
    }
    await client.request(`/apis/admissionregistration.k8s.io/v1/${collection}/${CONFIGURATION}?fieldManager=${MANAGER}&force=true`, { method: 'PATCH', contentType: 'application/apply-patch+yaml', body, signal })
    options.onStep('trust')
    log.info('the API server is told whom to trust', { configuration: collection })
  }

  const tick = async (signal: AbortSignal): Promise<void> => {
    // In this order; see `trust`.
    const configurations = await Promise.all(COLLECTIONS.map(async collection => ({ collection, configuration: await readConfiguration(collection, signal) })))
    const secret = await client.request(secretPath, { signal })
    let state = readState(secret)
    const before = encoded(bundleOf(state))
    const inPlace = configurations.every(({ configuration }) => configuration === undefined || bundlesOf(configuration).every(each => each === before))
    const now = clock.now()
    const step = nextStep(state, { now, inPlace, names: options.names }, times)
    if (step !== 'wait') {
      state = await apply(state, step, now)
      await client.request(secretPath, { method: 'PUT', body: withState(secret, state), signal })
      options.onStep(step)
      log.info('certificates: a step was taken', { step })
    }
    const bundle = encoded(bundleOf(state))
    for (const { collection, configuration } of configurations) if (configuration !== undefined) await trust(collection, configuration, bundle, signal)
  }

  const issue = async (signal: AbortSignal): Promise<void> => {
    while (!signal.aborted) {
      try {
        await tick(AbortSignal.any([signal, AbortSignal.timeout(DEADLINE_MS)]))
      } catch (error) {
        // 409: another was quicker; what is right is decided anew.
        if (!signal.aborted && !(error instanceof KubeError && error.status === 409)) {
          options.onStep('failed')
          log.warn('certificates cannot be looked after; those that are there stay', { code: error instanceof KubeError ? error.code : 'unknown', reason: error instanceof Error ? error.message : String(error) })
        }
      }
      await pause(signal)
    }
  }

  const run = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      const leadership = await lead({ ...options, name: LEASE }, stopping.signal)
      const lost = new AbortController()
      void leadership.lost.then(reason => {
        log.warn('another replica issues certificates from now on', { reason })
        lost.abort()
      })
      await issue(AbortSignal.any([stopping.signal, lost.signal]))
      await leadership.release()
    }
  }
  const running = run().catch((error: unknown) => {
    if (!stopping.signal.aborted) log.error('certificates are not looked after any more', { reason: error instanceof Error ? error.message : String(error) })
  })
  return {
    stop: async () => {
      stopping.abort()
      await running
    },
  }
}

function bundlesOf(configuration: JsonObject): string[] {
  return objectsAt(configuration, 'webhooks').map(each => textAt(objectAt(each, 'clientConfig'), 'caBundle') ?? '')
}

function encoded(pem: string): string {
  return Buffer.from(pem).toString('base64')
}
