/**
 * The operator as one thing. Every replica keeps its copy of the cluster; the one that holds the lease acts.
 * States: starting → standby → leading → stopping → stopped. Losing the lease cannot be survived: whoever started this ends the process then.
 */

import { randomUUID } from 'node:crypto'

import type { InjectorSettings } from '../inject/settings.ts'
import { KubeError } from '../kube/client.ts'
import type { KubeClient } from '../kube/client.ts'
import { lead } from '../kube/election.ts'
import type { ElectionOptions, Leadership } from '../kube/election.ts'
import { createEventRecorder } from '../kube/events.ts'
import { createWorkQueue } from '../kube/work-queue.ts'
import type { WorkQueue } from '../kube/work-queue.ts'
import type { Address } from '../platform/address.ts'
import { createAdminServer } from '../platform/admin-server.ts'
import type { ControlPlane } from '../platform/aws/control-plane.ts'
import type { Clock } from '../platform/clock.ts'
import { shortDigest } from '../platform/digest.ts'
import type { Log } from '../platform/log.ts'
import { accessController } from './access/controller.ts'
import { CONDITION as ACCESS_READY } from './access/decide.ts'
import type { AwsTimes } from './aws.ts'
import { createClusterCopy } from './cluster-copy.ts'
import type { ClusterCopyOptions, OwnKind } from './cluster-copy.ts'
import { compileController } from './compile/controller.ts'
import { CONDITION as POLICY_READY } from './compile/decide.ts'
import type { Controller, ControllerDeps } from './controller.ts'
import { coverageController } from './coverage/controller.ts'
import { CONDITION as INJECTED } from './coverage/decide.ts'
import { createPodStates } from './coverage/pod-states.ts'
import { entriesController } from './entries/controller.ts'
import { CONDITION as ENTRIES_READY } from './entries/decide.ts'
import { createOperatorMetrics } from './metrics.ts'
import type { OperatorMetrics } from './metrics.ts'
import { networkController } from './network/controller.ts'
import { CONDITION as NETWORK_READY } from './network/decide.ts'
import { overlapController } from './overlap/controller.ts'
import { pathController } from './path/controller.ts'
import { CONDITION as PATH_READY } from './path/decide.ts'
import type { PathTimes } from './path/decide.ts'
import { createProver } from './path/prover.ts'
import { readyController } from './ready/controller.ts'
import { repairController } from './repair/controller.ts'
import type { RepairTimes } from './repair/controller.ts'
import { CONDITION as REPAIR_READY } from './repair/decide.ts'
import { roleController } from './role/controller.ts'
import { CONDITION as ROLE_READY } from './role/report.ts'

export interface OperatorOptions {
  readonly admin: Address
  readonly client: KubeClient
  /** Of the installation: the lease is in it. */
  readonly namespace: string
  /** Name of this replica. */
  readonly instance: string
  /** As the injector has them. */
  readonly settings: InjectorSettings
  readonly clock: Clock
  readonly log: Log
  readonly random: () => number
  readonly reflector?: Pick<ClusterCopyOptions, 'quietMs' | 'maxWaitMs'>
  readonly election?: Pick<ElectionOptions, 'leaseMs' | 'renewMs' | 'retryMs'>
  readonly pathTimes?: PathTimes
  readonly repairTimes?: RepairTimes
  /** AWS, where the settings name an account. */
  readonly controlPlane?: (onCall: (action: string, problem: string | undefined) => void) => ControlPlane
  readonly awsTimes?: Partial<AwsTimes>
  /** How long work that is under way may go on when told to stop. */
  readonly drainMs?: number
}

export interface Operator {
  readonly adminPort: number
  /** Resolves when this replica acts. */
  readonly leading: Promise<void>
  /** Resolves with the reason when leadership was lost: the process must end. */
  readonly lost: Promise<string>
  stop(): Promise<void>
}

/** Whose changes concern which controller. A change of a policy concerns all. */
const OWNERS: Readonly<Record<OwnKind, string>> = { configMap: 'compile', role: 'access', roleBinding: 'access', networkPolicy: 'network' }
/** Controllers that look at pods. */
const OF_PODS = ['access', 'network', 'coverage', 'repair', 'role', 'overlap']
/** Controllers that ask what the injector would do. */
const OF_DECISIONS = ['coverage', 'repair', 'overlap']
/** Everything is looked at again so often, without a list, and not at the same moment. */
const RESYNC_MS = 10 * 3_600_000
const RESYNC_JITTER = 0.1

/** Rejects with `listen.failed`. */
export async function startOperator(options: OperatorOptions): Promise<Operator> {
  const { clock, log, namespace, instance, random } = options
  let state: 'starting' | 'standby' | 'leading' | 'stopping' | 'stopped' = 'starting'
  const metrics = createOperatorMetrics()
  const client = counted(options.client, metrics)
  const queues = new Map<string, WorkQueue>()
  const addToAll = (key: string): void => controllers.forEach(({ name, ofNamespaces }) => void (ofNamespaces === true || queues.get(name)?.add(key)))
  const plane = options.settings.aws === undefined ? undefined : options.controlPlane?.(metrics.called)
  const copy = createClusterCopy({
    client,
    clock,
    log,
    random,
    ...options.reflector,
    accounts: plane !== undefined,
    changes: {
      policy: key => {
        addToAll(key)
        // Which policy of several says where a pod's recordings go depends on all of them.
        if (plane !== undefined) for (const { namespace: where, name } of copy.policiesIn(key.slice(0, key.indexOf('/')))) queues.get('role')?.add(`${where}/${name}`)
      },
      own: (kind, key) => queues.get(OWNERS[kind])?.add(key),
      pods: key => OF_PODS.forEach(name => queues.get(name)?.add(key)),
      surroundings: key => OF_DECISIONS.forEach(name => queues.get(name)?.add(key)),
      namespace: name => queues.get('path')?.add(name),
      networkPolicies: key => queues.get('network')?.add(key),
      accounts: key => queues.get('role')?.add(key),
    },
  })
  const events = createEventRecorder({ client, controller: 'steno.dev/operator', instance, clock, log })
  const deps: ControllerDeps = { client, copy, events, clock, digest: shortDigest }
  const states = createPodStates(deps, options.settings)
  const coverageOf = coverageController(deps, states)
  const prove = createProver(deps, options.settings)
  const path = pathController(deps, { prove, settings: options.settings, look: name => queues.get('path')?.add(name), ...(options.pathTimes === undefined ? {} : { times: options.pathTimes }) })
  const repair = repairController(deps, { states, prove, ...(options.repairTimes === undefined ? {} : { times: options.repairTimes }) })
  const roles = roleController(deps, { settings: options.settings, plane, times: options.awsTimes, random })
  const entries = entriesController(deps, { aws: options.settings.aws, plane, times: options.awsTimes, random })
  const controllers: readonly Controller[] = [compileController(deps), coverageOf, accessController(deps), networkController(deps), overlapController(deps), path, repair, roles, entries, readyController(deps, [POLICY_READY, PATH_READY, INJECTED, REPAIR_READY, ACCESS_READY, NETWORK_READY, ...(plane === undefined ? [] : [ROLE_READY, ENTRIES_READY])])]
  for (const { name, reconcile, ofNamespaces = false } of controllers) {
    const again = async (key: string, signal: AbortSignal): Promise<{ readonly againMs?: number }> => {
      const { againMs } = await reconcile(key, signal)
      // Nobody would ever take back the timer of what is gone.
      if ((ofNamespaces ? copy.namespace(key) : copy.policy(key)) === undefined) return {}
      return { againMs: againMs ?? RESYNC_MS * (1 + RESYNC_JITTER * (2 * random() - 1)) }
    }
    queues.set(name, createWorkQueue({ name, reconcile: again, clock, log, random, metrics, ...(options.drainMs === undefined ? {} : { drainMs: options.drainMs }) }))
  }
  metrics.observe({ queues: () => [...queues], leading: () => state === 'leading', blindMs: () => copy.blindMs, pods: () => coverageOf.counts })
  const admin = createAdminServer({
    listen: options.admin,
    metrics,
    ready: () => {
      if (state === 'stopping' || state === 'stopped') return { ready: false, reason: 'stopping' }
      return copy.isSynced ? { ready: true, reason: state } : { ready: false, reason: 'the cluster is being read' }
    },
  })
  const { port: adminPort } = await admin.start()

  const stopping = new AbortController()
  const lost = Promise.withResolvers<string>()
  const leading = Promise.withResolvers<void>()
  let leadership: Leadership | undefined
  const act = async (): Promise<void> => {
    await Promise.race([copy.synced, aborted(stopping.signal)])
    if (stopping.signal.aborted) return
    state = 'standby'
    leadership = await lead({ client, namespace, name: 'steno-operator', identity: `${instance}_${randomUUID()}`, clock, log, random, ...options.election }, stopping.signal)
    state = 'leading'
    void leadership.lost.then(lost.resolve)
    for (const queue of queues.values()) queue.start()
    leading.resolve()
  }
  copy.start()
  const acting = act().catch((error: unknown) => {
    if (!stopping.signal.aborted) lost.resolve(error instanceof Error ? error.message : String(error))
  })
  const stop = async (): Promise<void> => {
    state = 'stopping'
    stopping.abort()
    await acting
    await Promise.all([...queues.values()].map(async queue => await queue.stop()))
    // Only now: whoever leads next must not meet our work under way.
    await leadership?.release()
    await copy.stop()
    await events.close()
    plane?.close()
    await admin.stop()
    state = 'stopped'
  }
  let stopped: Promise<void> | undefined
  return { adminPort, leading: leading.promise, lost: lost.promise, stop: () => (stopped ??= stop()) }
}

function counted(client: KubeClient, metrics: OperatorMetrics): KubeClient {
  return {
    ...client,
    request: async (path, options) => {
      const method = options?.method ?? 'GET'
      try {
        const answer = await client.request(path, options)
        metrics.requested(method, 200)
        return answer
      } catch (error) {
        metrics.requested(method, error instanceof KubeError ? error.status : 0)
        throw error
      }
    },
  }
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return
  await new Promise<void>(resolve => signal.addEventListener('abort', () => resolve(), { once: true }))
}
