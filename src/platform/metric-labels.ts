/** Label values of a bounded number: what a peer can choose freely must not be able to fill a metrics server. */

const MAX_LABEL_LENGTH = 128

/** Requests of MCP, all revisions. */
export const METHODS: ReadonlySet<string> = new Set([
  'completion/complete', 'elicitation/create', 'initialize', 'logging/setLevel', 'ping', 'prompts/get', 'prompts/list', 'resources/list', 'resources/read',
  'resources/subscribe', 'resources/templates/list', 'resources/unsubscribe', 'roots/list', 'sampling/createMessage', 'server/discover', 'subscriptions/listen',
  'tasks/cancel', 'tasks/get', 'tasks/list', 'tasks/result', 'tasks/update', 'tools/call', 'tools/list',
])

/** `tool_error` is OpenTelemetry's word for a result with `isError`; the rest are the JSON-RPC codes that MCP gives a meaning. */
export const ERROR_TYPES: ReadonlySet<string> = new Set([
  'tool_error', '-32700', '-32600', '-32601', '-32602', '-32603', '-32000', '-32001', '-32002', '-32020', '-32021', '-32022', '-32042',
  // The recorder's own: it cannot record, it cannot reach the server.
  '-31001', '-31002',
])

export function methodLabel(method: string): string {
  return METHODS.has(method) ? method : 'other'
}

/** Empty when nothing went wrong. */
export function errorTypeLabel(errorType: string | undefined): string {
  if (errorType === undefined) return ''
  return ERROR_TYPES.has(errorType) ? errorType : 'other'
}

/** @returns the label of a name: the first `most` distinct ones keep theirs, and one of absurd length never does */
export function boundedLabels(most: number): (name: string | undefined) => string {
  const seen = new Set<string>()
  return name => {
    if (name === undefined) return ''
    if (seen.has(name)) return name
    if (seen.size >= most || name.length > MAX_LABEL_LENGTH) return 'other'
    seen.add(name)
    return name
  }
}
