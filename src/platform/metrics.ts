/**
 * The recorder's metrics, under the names of the README. Labels come from closed sets or are folded into "other":
 * never a session, a person or an argument.
 */

import { Counter, Gauge, Histogram, Registry } from 'prom-client'

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
  observe(gauges: { readonly spoolBytes: () => number; readonly unshippedSeconds: () => number }): void
  text(): Promise<string>
  readonly contentType: string
}

/** Methods of MCP, all revisions. */
const METHODS = new Set([
  'completion/complete', 'elicitation/create', 'initialize', 'logging/setLevel', 'notifications/cancelled', 'ping', 'prompts/get', 'prompts/list', 'resources/list',
  'resources/read', 'resources/subscribe', 'resources/templates/list', 'resources/unsubscribe', 'roots/list', 'sampling/createMessage', 'server/discover',
  'subscriptions/listen', 'tasks/cancel', 'tasks/get', 'tasks/list', 'tasks/result', 'tasks/update', 'tools/call', 'tools/list',
])
const MAX_TOOLS = 100
const MAX_ERROR_TYPES = 30

/** OpenTelemetry's buckets for MCP operations, in seconds. */
const OPERATION_BUCKETS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300]
const SHORT_BUCKETS = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1]

export function createRecorderMetrics(): RecorderMetrics {
  const registry = new Registry()
  const registers = [registry]
  const counter = <L extends string>(name: string, help: string, label: L): Counter<L> => new Counter({ name, help, labelNames: [label], registers })
  const frames = counter('steno_frames_total', 'Frames written, by kind.', 'kind')
  const exchanges = counter('steno_exchanges_total', 'Exchanges ended, by outcome.', 'outcome')
  const blocked = counter('steno_blocked_total', 'Requests that were not forwarded, by reason.', 'reason')
  const gaps = counter('steno_gaps_total', 'Gaps declared in the recording, by reason.', 'reason')
  const shipRecords = counter('steno_ship_records_total', 'Segments sent to the sink, by result.', 'result')
  const shipBytes = new Counter({ name: 'steno_ship_bytes_total', help: 'Compressed bytes that the sink accepted.', registers })
  const shipAck = new Histogram({ name: 'steno_ship_ack_seconds', help: 'Time until the sink accepted a segment.', buckets: SHORT_BUCKETS.concat([5, 30]), registers })
  const fsync = new Histogram({ name: 'steno_fsync_seconds', help: 'Duration of a synced write to the spool.', buckets: SHORT_BUCKETS, registers })
  const added = new Histogram({ name: 'steno_added_latency_seconds', help: 'Time the recorder added before it passed something on, by phase.', labelNames: ['phase'], buckets: SHORT_BUCKETS, registers })
  const operations = new Histogram({ name: 'mcp_server_operation_duration_seconds', help: 'Duration of MCP requests.', labelNames: ['mcp_method_name', 'gen_ai_tool_name', 'error_type'], buckets: OPERATION_BUCKETS, registers })

  const phases = { request: added.labels('request'), response: added.labels('response') }
  const tools = new Set<string>()
  const errorTypes = new Set<string>()
  /** The label of a value: the first `most` distinct ones keep their name. */
  const bounded = (seen: Set<string>, most: number, value: string | undefined): string => {
    if (value === undefined) return ''
    if (seen.has(value)) return value
    if (seen.size >= most) return 'other'
    seen.add(value)
    return value
  }

  return {
    frames: kind => frames.inc({ kind }),
    exchange: outcome => exchanges.inc({ outcome }),
    blocked: reason => blocked.inc({ reason }),
    gap: reason => gaps.inc({ reason }),
    fsync: seconds => fsync.observe(seconds),
    addedLatency: (phase, seconds) => phases[phase].observe(seconds),
    shipRecords: (result, count) => shipRecords.inc({ result }, count),
    shipBytes: count => shipBytes.inc(count),
    shipAck: seconds => shipAck.observe(seconds),
    operation: ({ method, tool, errorType, seconds }) =>
      operations.observe({ mcp_method_name: METHODS.has(method) ? method : 'other', gen_ai_tool_name: bounded(tools, MAX_TOOLS, tool), error_type: bounded(errorTypes, MAX_ERROR_TYPES, errorType) }, seconds),
    observe: read => {
      new Gauge({
        name: 'steno_spool_bytes',
        help: 'Bytes in the spool that the sink has not accepted.',
        registers,
        collect() {
          this.set(read.spoolBytes())
        },
      })
      new Gauge({
        name: 'steno_unshipped_seconds',
        help: 'Age of the oldest frame that the sink has not accepted.',
        registers,
        collect() {
          this.set(read.unshippedSeconds())
        },
      })
    },
    text: () => registry.metrics(),
    contentType: registry.contentType,
  }
}
