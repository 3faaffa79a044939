/** Each metric of each part once, as the part itself would say it. The values mean nothing; names, types, help and labels do. */

import { createOperatorMetrics } from '../../src/operator/metrics.ts'
import { createWorkQueue } from '../../src/kube/work-queue.ts'
import { systemClock } from '../../src/platform/clock.ts'
import { createLog } from '../../src/platform/log.ts'
import { createRecorderMetrics } from '../../src/platform/metrics.ts'
import { createWebhookMetrics } from '../../src/webhook/metrics.ts'
import type { Exposition } from './metrics.ts'

export async function expositions(): Promise<Exposition[]> {
  return [
    { part: 'Recorder', text: await recorder() },
    { part: 'Injector', text: await injector() },
    { part: 'Operator', text: await operator() },
  ]
}

async function recorder(): Promise<string> {
  const metrics = createRecorderMetrics()
  metrics.frames('mcp')
  metrics.exchange('ok')
  metrics.blocked('recording')
  metrics.gap('cut')
  metrics.fsync(0)
  metrics.addedLatency('request', 0)
  metrics.shipRecords('accepted', 1)
  metrics.shipBytes(1)
  metrics.shipAck(0)
  metrics.operation({ method: 'tools/call', tool: 'search', seconds: 0 })
  metrics.observe({ spoolBytes: () => 0, unshippedSeconds: () => 0, recording: () => true })
  metrics.observePolicies({ files: () => ({ current: 1 }), inForce: () => ({ name: 'tools', hash: '' }) })
  return await metrics.text()
}

async function injector(): Promise<string> {
  const metrics = createWebhookMetrics()
  metrics.decided('inject', 'injected')
  metrics.accessed('exec', 'allowed', true)
  metrics.answered('/mutate-pod', 200, 0)
  metrics.certificateStep('renew')
  metrics.observe({ certificateNotAfterMs: () => 0, nowMs: () => 0, blindMs: () => ({ pods: 0 }) })
  return await metrics.text()
}

async function operator(): Promise<string> {
  const metrics = createOperatorMetrics()
  metrics.added('coverage')
  metrics.retried('coverage')
  metrics.started('coverage', 0)
  metrics.ended('coverage', 'error', 0)
  metrics.requested('GET', 200)
  metrics.called('GetRole', undefined)
  const log = createLog({ level: 'error', write: () => {}, now: () => 0 })
  const queue = createWorkQueue({ name: 'coverage', reconcile: async () => await Promise.resolve({}), clock: systemClock, log, random: () => 0 })
  metrics.observe({ queues: () => [['coverage', queue]], leading: () => true, blindMs: () => ({ pods: 0 }), pods: () => new Map([['team-a/tools', { selected: 0, recorded: 0, outdated: 0, missing: 0, skipped: 0 }]]) })
  return await metrics.text()
}
