/**
 * Which session an exchange belongs to. First match wins, and the basis is stored: `mcp`, `conversation`, `trace`, `idle`.
 * The id is a hash of its inputs: the same on every replica, bound to the principal, and no capability.
 */

import type { SessionBasis } from './frame.ts'

/** Quiet time after which a session of basis `idle` is over. */
export const IDLE_GAP_MS = 30 * 60_000

export interface SessionFacts {
  /** Name of the server, equal on all replicas. */
  readonly server: string
  /** `issuer|subject` of the caller's token, or empty. */
  readonly principal: string
  /** `Mcp-Session-Id`, or `sessionId` of HTTP+SSE. */
  readonly mcp?: string | undefined
  readonly conversation?: string | undefined
  readonly traceparent?: string | undefined
  readonly client?: string | undefined
  readonly userAgent?: string | undefined
  /** Address without port. */
  readonly peer: string
}

export interface SessionKey {
  readonly basis: SessionBasis
  /** Inputs of the id. For `idle` the tracker adds the start time. */
  readonly inputs: readonly string[]
}

/** The key of an exchange, or undefined when the caller is unknown and nothing else groups it. */
export function sessionKey(facts: SessionFacts): SessionKey | undefined {
  const { server, principal } = facts
  if (facts.mcp !== undefined && facts.mcp !== '') return { basis: 'mcp', inputs: [server, principal, facts.mcp] }
  if (facts.conversation !== undefined && facts.conversation !== '') return { basis: 'conversation', inputs: [server, principal, facts.conversation] }
  const trace = traceId(facts.traceparent)
  if (trace !== undefined) return { basis: 'trace', inputs: [server, principal, trace] }
  // Many callers share one peer address behind a gateway: without any other mark they must not be thrown together.
  if (principal === '' && facts.client === undefined && facts.userAgent === undefined) return undefined
  return { basis: 'idle', inputs: [server, principal, facts.client ?? '', facts.userAgent ?? '', facts.peer] }
}

/** `sessionId` in the query of an HTTP+SSE (2024-11-05) message URL, in a request target or an `endpoint` event. */
export function sessionIdOfTarget(target: string): string | undefined {
  return /[?&](?:sessionId|session_id)=([^&]{1,1024})/.exec(target)?.[1]
}

/** Session id: `s` and 24 hex digits of a hash over basis and inputs. `hash` gives hex of at least 24 digits. */
export function sessionId(key: SessionKey, hash: (text: string) => string, extra: readonly string[] = []): string {
  return `s${hash(JSON.stringify(['steno-session/1', key.basis, ...key.inputs, ...extra])).slice(0, 24)}`
}

/** Trace id of a W3C traceparent (https://www.w3.org/TR/trace-context/), undefined when it is invalid. */
function traceId(traceparent: string | undefined): string | undefined {
  const match = /^\s*[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?\s*$/.exec(traceparent ?? '')
  return match?.[1] === undefined || /^0+$/.test(match[1]) ? undefined : match[1]
}
