/** Which ports of a pod are recorded, and how traffic gets there. */

import { FIRST_LISTENER } from './marks.ts'
import type { InjectedPort } from './marks.ts'
import type { ContainerPort, PodFacts } from './pod-facts.ts'
import { MAX_PORTS } from '../policy/session-policy.ts'
import type { Capture } from '../policy/session-policy.ts'
import type { SkipReason } from './reasons.ts'

export type PortChoice =
  | { readonly capture: Exclude<Capture, 'Auto'>; readonly ports: readonly InjectedPort[]; readonly warnings: readonly string[] }
  | { readonly reason: SkipReason; readonly detail?: string }

export interface PortWish {
  /** Names and numbers of the policy; by convention when empty. */
  readonly ports: readonly (string | number)[]
  readonly capture: Capture
  /** The enforced pod security level of the namespace, where one is set. */
  readonly podSecurity?: string | undefined
}

interface Candidate {
  readonly name?: string
  readonly port: number
}

export function choosePorts(facts: PodFacts, wish: PortWish): PortChoice {
  const tcp = facts.ports.filter(({ protocol }) => protocol === 'TCP')
  const wanted = wish.ports.length === 0 ? byConvention(tcp) : byPolicy(tcp, wish.ports)
  if ('reason' in wanted) return wanted
  const captured = captureOf(wish, withOtherNames(tcp, wanted.found))
  if ('reason' in captured) return captured
  const numbered = captured.found.slice(0, MAX_PORTS).map((each, index) => ({ ...each, listen: FIRST_LISTENER + index }))
  return {
    capture: captured.capture,
    ports: numbered,
    warnings: [
      ...wanted.missing.map(port => `port ${port} of the policy is not a port of this pod`),
      ...captured.unnamed.map(({ port }) => `port ${port} has no name: capture Port does not record it`),
      ...captured.found.slice(MAX_PORTS).map(({ port }) => `port ${port} is not recorded: at most ${MAX_PORTS} are`),
      // It leads to the app's number, which with Redirect is the recorder's.
      ...tcp.flatMap(({ hostPort, port }) => (captured.capture === 'Port' && hostPort !== undefined && numbered.some(each => each.port === port) ? [`host port ${hostPort} reaches the server past the recorder`] : [])),
    ],
  }
}

type Wanted = { readonly found: readonly Candidate[]; readonly missing: readonly (string | number)[] } | { readonly reason: SkipReason; readonly detail?: string }

/** Containers that other injectors add. Their ports are not the server's, whether they came before or after us. */
const OTHER_SIDECARS: ReadonlySet<string> = new Set(['istio-proxy', 'linkerd-proxy', 'daprd', 'consul-dataplane', 'kuma-sidecar', 'vault-agent', 'otc-container', 'cloud-sql-proxy', 'datadog-agent'])

function byConvention(tcp: readonly ContainerPort[]): Wanted {
  const named = tcp.filter(({ name }) => name === 'mcp' || name?.startsWith('mcp-') === true)
  if (named.length > 0) return { found: distinct(named), missing: [] }
  const candidates = tcp.filter(({ container }) => !OTHER_SIDECARS.has(container))
  const [only, ...others] = distinct(candidates)
  if (only === undefined) return { reason: 'no-port' }
  return others.length === 0 ? { found: [only], missing: [] } : { reason: 'ambiguous-port', detail: candidates.map(({ name, port }) => name ?? String(port)).join(', ') }
}

/** A number need not be declared by the pod; a name must. */
function byPolicy(tcp: readonly ContainerPort[], ports: readonly (string | number)[]): Wanted {
  const found = ports.map(wanted => tcp.find(({ name, port }) => wanted === name || wanted === port) ?? (typeof wanted === 'number' ? { port: wanted } : wanted))
  const missing = found.filter(each => typeof each === 'string')
  const there = found.filter(each => typeof each !== 'string')
  return there.length === 0 ? { reason: 'no-port', detail: `the policy names ${ports.join(', ')}` } : { found: distinct(there), missing }
}

/** A port may have several names: by each of them a Service may lead to it. Another port that comes first under such a name keeps it. */
function withOtherNames(tcp: readonly ContainerPort[], found: readonly Candidate[]): Candidate[] {
  return found.flatMap(each => [each, ...tcp.flatMap(({ name, port }) => (name !== undefined && name !== each.name && port === each.port && tcp.find(other => other.name === name)?.port === port ? [{ name, port }] : []))])
}

/** One of each number; of two with one number, that with a name. */
function distinct(candidates: readonly Candidate[]): Candidate[] {
  const byNumber = new Map<number, Candidate>()
  for (const { name, port } of candidates) if (byNumber.get(port)?.name === undefined) byNumber.set(port, { ...(name === undefined ? {} : { name }), port })
  return [...byNumber.values()]
}

type Captured =
  | { readonly capture: Exclude<Capture, 'Auto'>; readonly found: readonly Candidate[]; readonly unnamed: readonly Candidate[] }
  | { readonly reason: SkipReason; readonly detail?: string }

/**
 * Precedence: what the policy says; with `Auto`, `Redirect` where the namespace is labelled privileged, else `Port`. Without a label the
 * cluster may still enforce a level that is set for all namespaces, and a pod with NET_ADMIN would be refused.
 */
function captureOf({ capture, podSecurity }: PortWish, found: readonly Candidate[]): Captured {
  const mode = capture === 'Auto' ? (podSecurity === 'privileged' ? 'Redirect' : 'Port') : capture
  if (mode === 'Redirect') {
    if (podSecurity === 'baseline' || podSecurity === 'restricted') return { reason: 'redirect-not-permitted', detail: `it is ${podSecurity}` }
    return { capture: mode, found: distinct(found), unnamed: [] }
  }
  const named = found.filter(({ name }) => name !== undefined)
  const unnamed = found.filter(({ name, port }) => name === undefined && !named.some(each => each.port === port))
  return named.length === 0 ? { reason: 'port-unnamed', detail: unnamed.map(({ port }) => port).join(', ') } : { capture: mode, found: named, unnamed }
}
