/**
 * What is written about one exchange: its start, its bodies, its end, and the session it belongs to. Knows no socket.
 * Precedence: `start`, then bodies of either side as they come, then `end`.
 */

import { hostPort } from '../../platform/address.ts'
import type { ClientInfo, FrameContent, FrameOf, Identity, Link, Outcome, Side } from '../../record/frame.ts'
import { classifyEra } from '../../record/jsonrpc.ts'
import type { Message } from '../../record/jsonrpc.ts'
import { recordableHeaders, recordableTarget } from '../../record/redact.ts'
import type { KeyedHash } from '../../record/redact.ts'
import { sessionIdOfTarget, sessionKey } from '../../record/session.ts'
import { observeIdentity, principalOf } from '../identity.ts'
import type { Journal, OnFailure } from '../journal.ts'
import type { LiveSession, SessionTable } from '../sessions.ts'
import type { BodyContext } from './body-frames.ts'
import { headerValue } from './headers.ts'

export interface RecordDeps {
  readonly journal: Journal
  readonly sessions: SessionTable
  readonly keyedHash: KeyedHash
  /** Name of the server for session ids. */
  readonly server: string
  /** What holds for an exchange that begins now. */
  readonly onFailure: () => OnFailure
}

export interface RequestHead {
  readonly method: string
  readonly target: string
  /** Name, value, … as they came. */
  readonly raw: readonly string[]
  readonly address: string
  readonly port: number
}

/** What came back, as far as it did. `status` is 0 without a head. */
export interface ResponseFacts {
  readonly status: number
  readonly headers: FrameOf<'exchange.end'>['headers']
  readonly bytes: number
  readonly events?: number | undefined
  readonly comments?: number | undefined
}

export class ExchangeRecord {
  readonly #deps: RecordDeps
  readonly #head: RequestHead
  readonly #exchange: number
  readonly #startedUs: number
  readonly #identity: Identity | undefined
  readonly #principal: string
  /** Session id that the request shows. */
  readonly #shown: string | undefined
  #messages: readonly Message[] = []
  #session: LiveSession | undefined
  #started = false
  #ended = false
  #missing = false
  #calls = 0
  #errors = 0
  requestBytes = 0
  /** As it was when the exchange began: what was refused and what passed must not change its name midway. */
  readonly onFailure: OnFailure

  /** @param exchange its number within the writer */
  constructor(deps: RecordDeps, head: RequestHead, exchange: number) {
    this.#deps = deps
    this.#head = head
    this.#exchange = exchange
    this.onFailure = deps.onFailure()
    this.#startedUs = deps.journal.elapsedUs()
    this.#identity = observeIdentity(headerValue(head.raw, 'authorization'), deps.keyedHash)
    this.#principal = principalOf(this.#identity)
    this.#shown = headerValue(head.raw, 'mcp-session-id') ?? sessionIdOfTarget(head.target)
  }

  /** Something of this exchange was not taken by the spool. */
  get missing(): boolean {
    return this.#missing
  }

  get started(): boolean {
    return this.#started
  }

  /** Since the request's head was there. */
  get elapsedUs(): number {
    return this.#deps.journal.elapsedUs() - this.#startedUs
  }

  /** Writes `exchange.start`. @param messages what the request's body says, when it was read */
  start(messages: readonly Message[], batch: boolean): void {
    const { keyedHash } = this.#deps
    const { method, target, raw, address, port } = this.#head
    this.#started = true
    this.#messages = messages
    for (const message of messages) if (message.type === 'request') this.#calls++
    if (!this.#isNamedByAnswer()) this.enter(this.#shown)
    const version = headerValue(raw, 'mcp-protocol-version')
    const { era, mismatch } = classifyEra({ method, headerVersion: version, headerMethod: headerValue(raw, 'mcp-method'), messages, batch })
    const lastEventId = headerValue(raw, 'last-event-id')
    const links: Link[] | undefined = lastEventId === undefined ? undefined : [{ type: 'resume', id: keyedHash(lastEventId) }]
    const client = this.#client()
    this.append({
      kind: 'exchange.start',
      method,
      target: recordableTarget(target, keyedHash),
      headers: recordableHeaders(raw, keyedHash),
      peer: hostPort(address, port),
      era,
      ...(version === undefined ? {} : { version }),
      ...(mismatch ? { mismatch: true as const } : {}),
      ...(links === undefined ? {} : { links }),
      ...(client === undefined ? {} : { client }),
      ...(this.#identity === undefined ? {} : { identity: this.#identity }),
    })
  }

  /** Puts the exchange into the session of an id, or, without one, of what else tells. The first time stands. */
  enter(mcpSession: string | undefined): void {
    if (this.#session !== undefined) return
    const { raw, address } = this.#head
    const first = this.#messages[0]
    const name = first?.claimed === true ? first.clientInfo : undefined
    const key = sessionKey({
      server: this.#deps.server,
      principal: this.#principal,
      peer: address,
      mcp: mcpSession,
      conversation: first?.conversation ?? headerValue(raw, 'x-anthropic-client'),
      traceparent: first?.traceparent ?? headerValue(raw, 'traceparent'),
      client: name === undefined ? undefined : `${name.name} ${name.version ?? ''}`,
      userAgent: headerValue(raw, 'user-agent'),
    })
    if (key === undefined) return
    this.#session = this.#deps.sessions.enter(key, { exchange: this.#exchange, principal: this.#principal, client: this.#client(), identity: this.#identity })
  }

  /** How bodies of one side are written. */
  bodies(from: Side, contentType: string | undefined): BodyContext {
    return {
      journal: this.#deps.journal,
      keyedHash: this.#deps.keyedHash,
      from,
      exchange: this.#exchange,
      session: () => this.#session?.id,
      contentType,
      onMissed: bytes => this.#missed(bytes),
    }
  }

  append(content: FrameContent, bytes = 0): void {
    if (this.#deps.journal.append(content, { session: this.#session?.id, exchange: this.#exchange }) === undefined) this.#missed(bytes)
  }

  countError(): void {
    this.#errors++
  }

  /** Writes `exchange.end`, once: what is known first stands, also when the client goes or the log fails before all of it is released. @returns whether this was the first */
  end(outcome: Outcome, reason: string | undefined, response: ResponseFacts): boolean {
    if (this.#ended) return false
    this.#ended = true
    // A client that neither named a session nor got one named: what else groups it decides.
    if (this.#shown === undefined) this.enter(undefined)
    this.append({
      kind: 'exchange.end',
      status: response.status,
      headers: response.headers,
      durationUs: this.elapsedUs,
      requestBytes: this.requestBytes,
      responseBytes: response.bytes,
      ...(response.events === undefined ? {} : { events: response.events, comments: response.comments ?? 0 }),
      outcome,
      ...(reason === undefined ? {} : { reason }),
    })
    if (this.#session !== undefined) this.#leave(this.#session, response)
    return true
  }

  #leave(session: LiveSession, { status, bytes }: ResponseFacts): void {
    session.totals.calls += this.#calls
    session.totals.errors += this.#errors
    session.totals.bytes += this.requestBytes + bytes
    this.#deps.sessions.leave(session)
    if (this.#head.method === 'DELETE' && status >= 200 && status < 300 && session.key.basis === 'mcp') this.#deps.sessions.end(session, 'delete')
  }

  /** The session of an `initialize`, or of an HTTP+SSE stream, is named by its answer. */
  #isNamedByAnswer(): boolean {
    if (this.#shown !== undefined) return false
    if (this.#head.method === 'GET') return /event-stream/i.test(headerValue(this.#head.raw, 'accept') ?? '')
    return this.#messages.some(message => message.method === 'initialize')
  }

  #client(): ClientInfo | undefined {
    const info = this.#messages[0]?.clientInfo
    return info === undefined ? undefined : { ...info, asserted: true }
  }

  #missed(bytes: number): void {
    this.#missing = true
    this.#deps.journal.missed(bytes, this.onFailure)
  }
}
