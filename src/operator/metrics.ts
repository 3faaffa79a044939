/** The operator's metrics, under the names that dashboards made for controller-runtime know. All labels are of closed sets. */

import { registerBlindGauge } from '../kube/blind-gauge.ts'
import type { WorkQueue, WorkQueueMetrics } from '../kube/work-queue.ts'
import { loadPromClient } from '../platform/prom-client.ts'
import type { Counts } from './coverage/decide.ts'

export interface OperatorMetrics extends WorkQueueMetrics {
  /** `status`: of the HTTP answer; 0 when none came. */
  requested(method: string, status: number): void
  /** A call to AWS, and what kind of problem it met. */
  readonly called: (action: string, problem: string | undefined) => void
  /** Values that are read when someone asks. */
  observe(gauges: { readonly queues: () => readonly (readonly [name: string, queue: WorkQueue])[]; readonly leading: () => boolean; readonly blindMs: () => Readonly<Record<string, number>>; readonly pods: () => ReadonlyMap<string, Counts> }): void
  text(): Promise<string>
  readonly contentType: string
}

const BUCKETS = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]

export function createOperatorMetrics(): OperatorMetrics {
  const { Registry, Counter, Gauge, Histogram } = loadPromClient()
  const registry = new Registry()
  const registers = [registry]
  const reconciles = new Counter({ name: 'controller_runtime_reconcile_total', help: 'Reconciles, by controller and result.', labelNames: ['controller', 'result'], registers })
  const errors = new Counter({ name: 'controller_runtime_reconcile_errors_total', help: 'Reconciles that failed, by controller.', labelNames: ['controller'], registers })
  const seconds = new Histogram({ name: 'controller_runtime_reconcile_time_seconds', help: 'Duration of reconciles.', labelNames: ['controller'], buckets: BUCKETS, registers })
  const adds = new Counter({ name: 'workqueue_adds_total', help: 'Keys added, those that waited already included.', labelNames: ['name'], registers })
  const retries = new Counter({ name: 'workqueue_retries_total', help: 'Keys that were put back after a failure.', labelNames: ['name'], registers })
  const queued = new Histogram({ name: 'workqueue_queue_duration_seconds', help: 'How long keys waited for a worker.', labelNames: ['name'], buckets: BUCKETS, registers })
  const worked = new Histogram({ name: 'workqueue_work_duration_seconds', help: 'How long a worker took.', labelNames: ['name'], buckets: BUCKETS, registers })
  const requests = new Counter({ name: 'rest_client_requests_total', help: 'Requests to the API server, by method and status.', labelNames: ['method', 'code'], registers })
  const calls = new Counter({ name: 'steno_aws_calls_total', help: 'Calls to AWS, by action and problem.', labelNames: ['action', 'result'], registers })
  return {
    called: (action, problem) => calls.inc({ action, result: problem ?? 'ok' }),
    added: name => adds.inc({ name }),
    retried: name => retries.inc({ name }),
    started: (name, waited) => queued.observe({ name }, waited),
    ended: (name, result, took) => {
      reconciles.inc({ controller: name, result })
      if (result === 'error') errors.inc({ controller: name })
      seconds.observe({ controller: name }, took)
      worked.observe({ name }, took)
    },
    requested: (method, status) => requests.inc({ method, code: status === 0 ? '<error>' : String(status) }),
    observe: read => {
      const perQueue = (name: string, help: string, value: (queue: WorkQueue) => number): void => {
        new Gauge({
          name,
          help,
          labelNames: ['name'],
          registers,
          collect() {
            for (const [queue, each] of read.queues()) this.set({ name: queue }, value(each))
          },
        })
      }
      perQueue('workqueue_depth', 'Keys that wait for a worker.', queue => queue.depth)
      // Errors that are counted say little of one that lasts: it is tried ever more seldom.
      perQueue('steno_failing_keys', 'Policies, or namespaces, that a controller failed on when it last looked at them.', queue => queue.failing)
      perQueue('workqueue_unfinished_work_seconds', 'Time that the work under way has taken so far.', queue => queue.unfinished.sum)
      perQueue('workqueue_longest_running_processor_seconds', 'Time that the longest work under way has taken so far.', queue => queue.unfinished.longest)
      new Gauge({
        name: 'leader_election_master_status',
        help: '1 while this replica acts.',
        labelNames: ['name'],
        registers,
        collect() {
          this.set({ name: 'steno-operator' }, read.leading() ? 1 : 0)
        },
      })
      new Gauge({
        name: 'steno_pods',
        help: 'Pods that policies select, by state; recorded ones include the outdated.',
        labelNames: ['namespace', 'policy', 'state'],
        registers,
        collect() {
          this.reset()
          for (const [key, counts] of read.pods()) {
            const [namespace = '', policy = ''] = key.split('/')
            for (const [state, count] of Object.entries(counts)) this.set({ namespace, policy, state }, count)
          }
        },
      })
      registerBlindGauge(registry, read.blindMs)
    },
    text: () => registry.metrics(),
    contentType: registry.contentType,
  }
}
