/**
 * The recorder's metrics. Labels come from closed sets or are folded into "other": never a session, a person or an argument.
 * Counting happens once a frame, so counters are plain numbers here and become Prometheus' only when someone asks.
 */

import { boundedLabels, errorTypeLabel, methodLabel } from './metric-labels.ts'
import { loadPromClient } from './prom-client.ts'

export interface OperationSample {
  readonly method: string
  readonly tool?: string | undefined
  readonly errorType?: string | undefined
  readonly seconds: number
}

export interface RecorderMetrics {
  frames(kind: string): void
  exchange(outcome: string): void
  blocked(reason: string): void
  gap(reason: string): void
  fsync(seconds: number): void
  addedLatency(phase: 'request' | 'response', seconds: number): void
  shipRecords(result: string, count: number): void
  shipBytes(count: number): void
  shipAck(seconds: number): void
  operation(sample: OperationSample): void
  /** Values that are read when someone asks. */
  observe(gauges: { readonly spoolBytes: () => number; readonly unshippedSeconds: () => number; readonly recording: () => boolean }): void
  /** The same, of a recorder that goes by policies. */
  observePolicies(read: { readonly files: () => Readonly<Record<string, number>>; readonly inForce: () => { readonly name: string; readonly hash: string } }): void
  text(): Promise<string>
  readonly contentType: string
}

const MAX_TOOLS = 100

/** OpenTelemetry's buckets for MCP operations, in seconds. */
const OPERATION_BUCKETS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300]
const SHORT_BUCKETS = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1]

export function createRecorderMetrics(): RecorderMetrics {
  const { Registry, Counter, Gauge, Histogram } = loadPromClient()
  const registry = new Registry()
  const registers = [registry]

  const counter = (name: string, help: string, label: string): ((value: string, count?: number) => void) => {
    const tally = new Map<string, number>()
    new Counter({
      name,
      help,
      labelNames: [label],
      registers,
      collect() {
        this.reset()
        for (const [value, count] of tally) this.inc({ [label]: value }, count)
      },
    })
    return (value, count = 1) => void tally.set(value, (tally.get(value) ?? 0) + count)
  }
  const gauge = (name: string, help: string, read: () => number): void => {
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read())
      },
    })
  }

  const shipBytes = new Counter({ name: 'steno_ship_bytes_total', help: 'Compressed bytes that the sink accepted.', registers })
  const shipAck = new Histogram({ name: 'steno_ship_ack_seconds', help: 'Time until the sink accepted a segment.', buckets: [...SHORT_BUCKETS, 5, 30], registers })
  const fsync = new Histogram({ name: 'steno_fsync_seconds', help: 'Duration of a synced write to the spool.', buckets: SHORT_BUCKETS, registers })
  const added = new Histogram({ name: 'steno_added_latency_seconds', help: 'Time the recorder added before it passed something on, by phase.', labelNames: ['phase'], buckets: SHORT_BUCKETS, registers })
  const operations = new Histogram({ name: 'mcp_server_operation_duration_seconds', help: 'Duration of MCP requests.', labelNames: ['mcp_method_name', 'gen_ai_tool_name', 'error_type'], buckets: OPERATION_BUCKETS, registers })
  const toolLabel = boundedLabels(MAX_TOOLS)
  /** One series each; looked up once a call, without sorting and hashing its labels again. */
  const series = new Map<string, { observe(seconds: number): void }>()
  const operation = (...labels: [string, string, string]): { observe(seconds: number): void } => {
    const key = labels.join('\n')
    let known = series.get(key)
    if (known === undefined) series.set(key, (known = operations.labels(...labels)))
    return known
  }
  const phases = { request: added.labels('request'), response: added.labels('response') }

  return {
    frames: counter('steno_frames_total', 'Frames written, by kind.', 'kind'),
    exchange: counter('steno_exchanges_total', 'Exchanges ended, by outcome.', 'outcome'),
    blocked: counter('steno_blocked_total', 'Requests that were not forwarded, and answers that were not released, by reason.', 'reason'),
    gap: counter('steno_gaps_total', 'Gaps declared in the recording, by reason.', 'reason'),
    shipRecords: counter('steno_ship_records_total', 'Records handed to the sink, by result.', 'result'),
    fsync: seconds => fsync.observe(seconds),
    addedLatency: (phase, seconds) => phases[phase].observe(seconds),
    shipBytes: count => shipBytes.inc(count),
    shipAck: seconds => shipAck.observe(seconds),
    operation: ({ method, tool, errorType, seconds }) => operation(methodLabel(method), toolLabel(tool), errorTypeLabel(errorType)).observe(seconds),
    observe: read => {
      gauge('steno_spool_bytes', 'Bytes in the spool that the sink has not accepted.', read.spoolBytes)
      gauge('steno_recording', 'Whether frames are taken: 0 while recording is impossible, and calls are refused or pass unrecorded.', () => (read.recording() ? 1 : 0))
      gauge('steno_unshipped_seconds', 'Age of the oldest frame that the sink has not accepted.', read.unshippedSeconds)
    },
    observePolicies: read => {
      new Gauge({
        name: 'steno_policy_files',
        help: 'Policies of the pod, by the state of their file: current, missing, or unreadable; the last good policy stays.',
        labelNames: ['state'],
        registers,
        collect() {
          for (const [state, count] of Object.entries(read.files())) this.set({ state }, count)
        },
      })
      new Gauge({
        name: 'steno_policy_info',
        help: 'What the recorder goes by: names and hash of the policies.',
        labelNames: ['name', 'hash'],
        registers,
        collect() {
          const { name, hash } = read.inForce()
          this.reset()
          this.set({ name, hash }, 1)
        },
      })
    },
    text: () => registry.metrics(),
    contentType: registry.contentType,
  }
}
