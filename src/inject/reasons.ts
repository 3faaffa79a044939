/** Why a pod got, or did not get, its recorder: one closed set for sentence, metric label, warning and Event. "Not injected" is never an error. */

export const INJECT_REASONS = {
  injected: 'The pod gets a recorder.',
  updated: 'The recorder of the pod is brought up to date.',
  unchanged: 'The pod has its recorder already.',
} as const

export const SKIP_REASONS = {
  'no-policy': 'No SessionPolicy of this namespace selects the pod.',
  'own-namespace': 'The namespace is that of Steno itself, which is not recorded.',
  'opted-out': 'The pod asks not to be recorded, and its policy allows that.',
  deleting: 'The pod is being deleted.',
  mirror: 'The pod is the mirror of a static pod; what runs is decided on its node.',
  windows: 'The pod runs on Windows, for which there is no recorder.',
  'host-network': "The pod uses its node's network, where ports cannot be taken over; remove hostNetwork.",
  'no-port': 'No port to record: name the port of the MCP server mcp, or give it in spec.ports of the policy.',
  'ambiguous-port': 'Several ports, and none is named mcp: name one mcp, or give it in spec.ports of the policy.',
  'port-unnamed': 'The port has no name, so capture Port cannot take it over: give it a name, and let Services use that, or set capture: Redirect.',
  'redirect-not-permitted': 'capture: Redirect needs NET_ADMIN, which the pod security level of the namespace forbids: set capture: Port, or label the namespace privileged.',
  'port-clash': 'A container of the pod uses a port number that the recorder needs.',
  'name-clash': 'The pod has a container or volume with a name that the recorder needs, and it is not ours.',
  'unsupported-node': 'The nodes are too old to record this pod: Kubernetes 1.30 is needed, and 1.33 for pods that are meant to end.',
  'no-nodes': 'No node has said its version yet.',
  'malformed-pod': 'The pod is not what an API server would accept.',
} as const

export type InjectReason = keyof typeof INJECT_REASONS
export type SkipReason = keyof typeof SKIP_REASONS
export type Reason = InjectReason | SkipReason

/** Skips that nobody needs to hear of: nothing was asked for. */
const SILENT: ReadonlySet<Reason> = new Set<Reason>(['no-policy', 'own-namespace', 'deleting', 'mirror', 'unchanged'])

/** @param detail what it is about, such as the name of a port */
export function sentence(reason: Reason, detail?: string): string {
  const text: string = { ...INJECT_REASONS, ...SKIP_REASONS }[reason]
  return detail === undefined ? text : `${text} (${detail})`
}

/** Whether the owner is told by an Event, and the one who creates the pod by a warning. */
export function isToldOf(reason: Reason): boolean {
  return !SILENT.has(reason)
}
