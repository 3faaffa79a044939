/** The injector's metrics. All labels are of closed sets. */

import { registerBlindGauge } from '../kube/blind-gauge.ts'
import { loadPromClient } from '../platform/prom-client.ts'

export interface WebhookMetrics {
  decided(decision: 'inject' | 'skip', reason: string): void
  /** Somebody reached for a recorded pod. */
  accessed(action: string, outcome: 'allowed' | 'refused', recorded: boolean): void
  /** `status`: of the HTTP answer. */
  answered(path: string, status: number, seconds: number): void
  /** A step in the life of certificates; see `certificates/rotation.ts`. */
  certificateStep(step: string): void
  /** Values that are read when someone asks. */
  observe(gauges: { readonly certificateNotAfterMs: () => number | undefined; readonly nowMs: () => number; readonly blindMs: () => Readonly<Record<string, number>> }): void
  text(): Promise<string>
  readonly contentType: string
}

const BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5]

export function createWebhookMetrics(): WebhookMetrics {
  const { Registry, Counter, Gauge, Histogram } = loadPromClient()
  const registry = new Registry()
  const registers = [registry]
  const injections = new Counter({ name: 'steno_injections_total', help: 'Pods that were decided on, by decision and reason.', labelNames: ['decision', 'reason'], registers })
  const admission = new Histogram({ name: 'steno_admission_seconds', help: 'Duration of admission reviews.', labelNames: ['path'], buckets: BUCKETS, registers })
  const reviews = new Counter({ name: 'steno_admission_reviews_total', help: 'Admission reviews, by path and status of the answer.', labelNames: ['path', 'status'], registers })
  const accesses = new Counter({ name: 'steno_accesses_total', help: 'Connections to recorded pods past their recorder, by action, outcome, and whether a frame says so.', labelNames: ['action', 'outcome', 'recorded'], registers })
  const steps = new Counter({ name: 'steno_certificate_steps_total', help: 'Steps that this replica took for the certificates of all, and attempts that failed.', labelNames: ['step'], registers })
  return {
    decided: (decision, reason) => injections.inc({ decision, reason }),
    accessed: (action, outcome, recorded) => accesses.inc({ action, outcome, recorded: String(recorded) }),
    answered: (path, status, seconds) => {
      admission.observe({ path }, seconds)
      reviews.inc({ path, status: String(status) })
    },
    certificateStep: step => steps.inc({ step }),
    observe: read => {
      new Gauge({
        name: 'steno_certificate_expiry_seconds',
        help: 'Seconds until the serving certificate expires; 0 without one.',
        registers,
        collect() {
          const notAfter = read.certificateNotAfterMs()
          this.set(notAfter === undefined ? 0 : (notAfter - read.nowMs()) / 1000)
        },
      })
      registerBlindGauge(registry, read.blindMs)
    },
    text: () => registry.metrics(),
    contentType: registry.contentType,
  }
}
