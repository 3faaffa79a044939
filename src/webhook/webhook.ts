/**
 * The injector as one thing: its copy of the cluster, its certificate, the HTTPS server, the admin port.
 * States: starting → serving → draining → stopped. An API server goes on using its connections to a pod that ends: while draining everything is answered.
 */

import { createServer } from 'node:https'
import { setTimeout as wait } from 'node:timers/promises'

import type { InjectorSettings } from '../inject/settings.ts'
import type { KubeClient } from '../kube/client.ts'
import { createEventRecorder } from '../kube/events.ts'
import type { Address } from '../platform/address.ts'
import { createAdminServer } from '../platform/admin-server.ts'
import type { Clock } from '../platform/clock.ts'
import { listen } from '../platform/listen.ts'
import type { Log } from '../platform/log.ts'
import { watchTlsFiles } from '../platform/tls-files.ts'
import type { TlsPair } from '../platform/tls-files.ts'
import { createApp } from './app.ts'
import type { OwnCertificates } from './certificates/issuer.ts'
import { watchOwnPair } from './certificates/own-pair.ts'
import { createClusterView } from './cluster-view.ts'
import type { ClusterViewOptions } from './cluster-view.ts'
import { createWebhookMetrics } from './metrics.ts'
import { mutatePod } from './mutate-pod.ts'
import { validateConnect } from './validate-connect.ts'
import type { AccessLog } from './validate-connect.ts'
import { validatePod } from './validate-pod.ts'
import { validatePolicy } from './validate-policy.ts'

export interface WebhookOptions {
  readonly listen: Address
  readonly admin: Address
  /** Files that something else replaces; else the installation makes its own. */
  readonly certificate: { readonly certFile: string; readonly keyFile: string } | { readonly own: OwnCertificates }
  readonly settings: InjectorSettings
  readonly client: KubeClient
  /** Name of this replica, for Events. */
  readonly instance: string
  readonly clock: Clock
  readonly log: Log
  readonly random: () => number
  /** Where it is recorded who reached past a recorder; nowhere when absent. The caller's to close. */
  readonly access?: AccessLog
  /** How long everything is still answered after it was told to stop. */
  readonly drainMs?: number
  /** How often the certificate is looked at. */
  readonly certificateEveryMs?: number
  readonly reflector?: Pick<ClusterViewOptions, 'quietMs' | 'maxWaitMs'>
}

export interface Webhook {
  readonly port: number
  readonly adminPort: number
  /** Resolves when it is ready to answer. */
  readonly synced: Promise<unknown>
  stop(): Promise<void>
}

/**
 * The API server keeps idle connections for 90 s and sends a POST on one at any time: the side that closes first loses a request, so it must not be us.
 * Sources: k8s.io/client-go, transport; kubernetes#75791.
 */
const KEEP_ALIVE_MS = 95_000
const HEADERS_MS = 32_000
const REQUEST_MS = 60_000
const CHECK_CONNECTIONS_MS = 5000
const DRAIN_MS = 10_000
/** After the drain, for what is still being answered. */
const FINISH_MS = 5000

/** Rejects with `config.invalid` or `listen.failed`. */
export async function startWebhook(options: WebhookOptions): Promise<Webhook> {
  const { client, clock, log, settings } = options
  let state: 'starting' | 'serving' | 'draining' | 'stopped' = 'starting'
  const metrics = createWebhookMetrics()
  const view = createClusterView({ client, clock, log, random: options.random, ...options.reflector })
  const events = createEventRecorder({ client, controller: 'steno.dev/injector', instance: options.instance, clock, log })
  const deps = { view, settings, metrics, events }
  const app = createApp({
    handlers: {
      '/mutate-pod': async (request, signal) => await mutatePod(request, deps, signal),
      '/validate-pod': async (request, signal) => await validatePod(request, deps, signal),
      '/validate-connect': async (request, signal) => await validateConnect(request, { ...deps, client, log, access: options.access }, signal),
      '/validate-policy': async (request, signal) => await validatePolicy(request, deps, signal),
    },
    metrics,
    clock,
    log,
    draining: () => state === 'draining',
  })
  // For connections to come; those that are open go on with the certificate they have seen.
  const onChange = ({ cert, key }: TlsPair): void => server.setSecureContext({ cert, key, minVersion: 'TLSv1.3' })
  const tls =
    'own' in options.certificate
      ? watchOwnPair({ ...options.certificate.own, client, identity: options.instance, clock, log, random: options.random, onStep: metrics.certificateStep, onChange })
      : await watchTlsFiles({ ...options.certificate, log, onChange, ...(options.certificateEveryMs === undefined ? {} : { everyMs: options.certificateEveryMs }) })
  const pair = tls.current
  // Without a pair no connection comes about, and the admin port says why.
  const server = createServer({ ...(pair === undefined ? {} : { cert: pair.cert, key: pair.key }), minVersion: 'TLSv1.3', keepAliveTimeout: KEEP_ALIVE_MS, headersTimeout: HEADERS_MS, requestTimeout: REQUEST_MS, connectionsCheckingInterval: CHECK_CONNECTIONS_MS }, (req, res) => void app(req, res))
  metrics.observe({ certificateNotAfterMs: () => tls.current?.notAfter, nowMs: clock.now, blindMs: () => view.blindMs })
  const admin = createAdminServer({
    listen: options.admin,
    metrics,
    ready: () => {
      if (state === 'draining' || state === 'stopped') return { ready: false, reason: 'draining' }
      if (!view.isSynced) return { ready: false, reason: 'policies, namespaces and nodes are being read' }
      if (tls.current === undefined) return { ready: false, reason: 'there is no certificate yet' }
      return tls.current.notAfter > clock.now() ? { ready: true } : { ready: false, reason: 'the certificate has expired' }
    },
  })
  const close = async (): Promise<void> => {
    await tls.stop()
    await view.stop()
    await events.close()
    await admin.stop()
  }
  let ports: { readonly server: number; readonly admin: number }
  try {
    ports = { admin: (await admin.start()).port, server: await listen(server, options.listen, '--listen') }
  } catch (error) {
    await close()
    throw error
  }
  view.start()
  state = 'serving'
  let stopping: Promise<void> | undefined
  const stop = async (): Promise<void> => {
    state = 'draining'
    await wait(options.drainMs ?? DRAIN_MS)
    const closed = new Promise<void>(resolve => server.close(() => resolve()))
    server.closeIdleConnections()
    const finished = new AbortController()
    await Promise.race([closed.finally(() => finished.abort()), wait(FINISH_MS, undefined, { signal: finished.signal }).catch(() => {})])
    server.closeAllConnections()
    await closed
    state = 'stopped'
    await close()
  }
  return { port: ports.server, adminPort: ports.admin, synced: view.synced, stop: () => (stopping ??= stop()) }
}
