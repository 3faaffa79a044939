/**
 * One HTTP request and its answer on the data path. Order of things, never otherwise: record, wait until durable, release.
 * Reads the client's request and the upstream's answer, writes frames through the journal; never changes a byte of either.
 */

import { STATUS_CODES } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { Readable } from 'node:stream'
import type { Duplex } from 'node:stream'
import type { Dispatcher } from 'undici'
import type { StenoError } from '../../errors.ts'
import type { ClientInfo, FrameOf, Link, Outcome } from '../../record/frame.ts'
import { classifyEra } from '../../record/jsonrpc.ts'
import type { Message, Scan } from '../../record/jsonrpc.ts'
import { recordableHeaders, recordableTarget } from '../../record/redact.ts'
import type { KeyedHash } from '../../record/redact.ts'
import { sessionKey } from '../../record/session.ts'
import type { SessionFacts } from '../../record/session.ts'
import { observeIdentity, principalOf } from '../identity.ts'
import type { Journal } from '../journal.ts'
import type { LiveSession, SessionTable } from '../sessions.ts'
import { createAnswer } from './answer.ts'
import type { Answer } from './answer.ts'
import { createStreamedBody, recordWhole, scanBody } from './body-frames.ts'
import type { BodyContext } from './body-frames.ts'
import { inflateWhole } from './decoder.ts'
import { endToEnd, headerValue, rawText } from './headers.ts'
import { refuse, refusalEvents } from './refusal.ts'
import type { RefusalReason } from './refusal.ts'
import { openTunnel } from './tunnel.ts'
import type { Tunnel } from './tunnel.ts'

/** Bodies up to here are held whole, so that a message is classified before it is released. */
export const INSPECT_BYTES = 1024 * 1024
/** What a compressed request may become; past that it is recorded as it came. */
const MAX_INFLATED_BYTES = 8 * INSPECT_BYTES
/** Streams stop being read while this much of them waits for the log. Above the largest event that is held whole, or that event would never end. */
const MAX_WAITING_BYTES = 2 * 1024 * 1024

export interface ExchangeDeps {
  readonly journal: Journal
  readonly sessions: SessionTable
  readonly keyedHash: KeyedHash
  readonly upstream: Dispatcher
  /** Name of the server for session ids. */
  readonly server: string
  readonly onFailure: 'block' | 'allow'
  readonly nextExchange: () => number
  readonly observed: ExchangeObserver
}

/** What metrics want to know. */
export interface ExchangeObserver {
  ended(outcome: Outcome): void
  blocked(reason: string): void
  added(phase: 'request' | 'response', seconds: number): void
  operation(about: { method: string; tool?: string | undefined; errorType?: string | undefined; seconds: number }): void
}

const MAX_PENDING = 10_000

export interface LiveExchange {
  /** Ends an open stream that owes nobody an answer; leaves any other exchange alone. */
  endIfQuiet(): void
}

/** A request to leave HTTP behind; `head` came right after it. */
export interface Upgrade {
  readonly socket: Socket
  readonly head: Buffer
}

/** Handles one exchange to its end. Never throws. */
export function handleExchange(req: IncomingMessage, res: ServerResponse, deps: ExchangeDeps, upgrade?: Upgrade): LiveExchange {
  const { journal, sessions } = deps
  const exchange = deps.nextExchange()
  const startedUs = journal.elapsedUs()
  const method = req.method ?? 'GET'
  const target = req.url ?? '/'
  const identity = observeIdentity(headerValue(req.rawHeaders, 'authorization'), deps.keyedHash)
  const principal = principalOf(identity)
  const shownSession = headerValue(req.rawHeaders, 'mcp-session-id') ?? sessionIdOfQuery(target)

  let session: LiveSession | undefined
  let messages: readonly Message[] = []
  let batch = false
  let requestBytes = 0
  let controller: Dispatcher.DispatchController | undefined
  let answer: Answer | undefined
  let tunnel: Tunnel | undefined
  let tunnelBytes = 0
  let clientGone = false
  let over = false
  let started = false
  let ended = false
  /** The upstream has been asked. */
  let forwarded = false
  /** A frame of this exchange was not taken. */
  let unrecorded = false
  let calls = 0
  let errors = 0
  let status = 0
  let answerHeaders: FrameOf<'exchange.end'>['headers'] = {}
  /** Requests of this exchange without an answer, by typed id. */
  const pending = new Map<string, Message>()
  /** Requests whose answers came but are not released yet; `released` counts those that are and were dropped from the front. */
  const answered: Message[] = []
  let released = 0
  /** Lets go of an upload: its record ends with what came, the rest is read and dropped. */
  let endUpload = (): void => {}

  const at = (): { session: string | undefined; exchange: number } => ({ session: session?.id, exchange })
  const missed = (bytes: number): void => {
    unrecorded = true
    journal.missed(bytes)
  }
  const facts = (mcp: string | undefined): SessionFacts => {
    const first = messages[0]
    const conversation = first?.conversation ?? headerValue(req.rawHeaders, 'x-anthropic-client')
    const traceparent = first?.traceparent ?? headerValue(req.rawHeaders, 'traceparent')
    const userAgent = headerValue(req.rawHeaders, 'user-agent')
    const client = first?.claimed === true && first.clientInfo !== undefined ? `${first.clientInfo.name} ${first.clientInfo.version ?? ''}` : undefined
    return {
      server: deps.server,
      principal,
      peer: req.socket.remoteAddress ?? '',
      ...(mcp === undefined ? {} : { mcp }),
      ...(conversation === undefined ? {} : { conversation }),
      ...(traceparent === undefined ? {} : { traceparent }),
      ...(client === undefined ? {} : { client }),
      ...(userAgent === undefined ? {} : { userAgent }),
    }
  }
  const clientInfo = (): ClientInfo | undefined => {
    const info = messages[0]?.clientInfo
    return info === undefined ? undefined : { ...info, asserted: true }
  }
  const enter = (mcp: string | undefined): void => {
    if (session !== undefined) return
    const key = sessionKey(facts(mcp))
    if (key === undefined) return
    session = sessions.enter(key, { exchange, principal, client: clientInfo(), identity })
  }
  const context = (from: 'client' | 'server', contentType: string | undefined): BodyContext => ({
    journal,
    keyedHash: deps.keyedHash,
    from,
    exchange,
    session: () => session?.id,
    contentType,
    onMissed: missed,
  })
  /** Runs `then` once all recorded so far is durable; under `block` a failure ends the exchange instead. */
  const whenDurable = (then: () => void): void => {
    const releases = released + answered.length
    journal.commit((error?: StenoError) => {
      if (over) return
      if ((error !== undefined || unrecorded) && deps.onFailure === 'block') {
        fail('recording-impossible')
        return
      }
      if (releases > released) {
        answered.splice(0, releases - released)
        released = releases
      }
      then()
    })
  }

  const recordStart = (): boolean => {
    started = true
    // The session of an initialize, or of an HTTP+SSE stream, is named by its answer.
    const namedLater = shownSession === undefined && (messages.some(message => message.method === 'initialize') || (method === 'GET' && /event-stream/i.test(headerValue(req.rawHeaders, 'accept') ?? '')))
    if (!namedLater) enter(shownSession)
    const headerVersion = headerValue(req.rawHeaders, 'mcp-protocol-version')
    const { era, mismatch } = classifyEra({ method, headerVersion, headerMethod: headerValue(req.rawHeaders, 'mcp-method'), messages, batch })
    const lastEventId = headerValue(req.rawHeaders, 'last-event-id')
    const links: Link[] = lastEventId === undefined ? [] : [{ type: 'resume', id: deps.keyedHash(lastEventId) }]
    const client = clientInfo()
    const seq = journal.append(
      {
        kind: 'exchange.start',
        method,
        target: recordableTarget(target, deps.keyedHash),
        headers: recordableHeaders(req.rawHeaders, deps.keyedHash),
        peer: `${req.socket.remoteAddress ?? ''}:${req.socket.remotePort ?? 0}`,
        era,
        ...(headerVersion === undefined ? {} : { version: headerVersion }),
        ...(mismatch ? { mismatch: true as const } : {}),
        ...(links.length === 0 ? {} : { links }),
        ...(client === undefined ? {} : { client }),
        ...(identity === undefined ? {} : { identity }),
      },
      at(),
    )
    if (seq === undefined) missed(0)
    return seq !== undefined
  }

  const noteRequests = (): void => {
    for (const message of messages) {
      if (message.type !== 'request') continue
      calls++
      if (pending.size < MAX_PENDING) pending.set(JSON.stringify(message.rpcId), message)
    }
  }
  const noteAnswers = (scan: Scan | undefined): void => {
    if (scan?.ok !== true) return
    for (const message of scan.messages) {
      if (message.type !== 'response') continue
      if (message.isError === true) errors++
      const key = JSON.stringify(message.rpcId)
      const asked = pending.get(key)
      if (asked === undefined) continue
      pending.delete(key)
      answered.push(asked)
      const errorType = message.isError !== true ? undefined : message.errorCode === undefined ? 'tool_error' : String(message.errorCode)
      deps.observed.operation({ method: asked.method ?? '', tool: asked.method === 'tools/call' ? asked.name : undefined, errorType, seconds: (journal.elapsedUs() - startedUs) / 1e6 })
    }
  }

  /** Once: what is known first stands, also when the client goes or the log fails before all of it is released. */
  const recordEnd = (outcome: Outcome, reason?: string): void => {
    if (ended) return
    ended = true
    // A client that neither named a session nor got one named: what else groups it decides.
    if (session === undefined && shownSession === undefined) enter(undefined)
    const durationUs = journal.elapsedUs() - startedUs
    const responseBytes = answer?.bytes ?? tunnelBytes
    const seq = journal.append(
      {
        kind: 'exchange.end',
        status,
        headers: answerHeaders,
        durationUs,
        requestBytes,
        responseBytes,
        ...(answer?.events === undefined ? {} : { events: answer.events, comments: answer.comments }),
        outcome,
        ...(reason === undefined ? {} : { reason }),
      },
      at(),
    )
    if (seq === undefined) missed(0)
    deps.observed.ended(outcome)
    if (session === undefined) return
    session.totals.calls += calls
    session.totals.errors += errors
    session.totals.bytes += requestBytes + responseBytes
    sessions.leave(session)
    if (method === 'DELETE' && status >= 200 && status < 300 && session.key.basis === 'mcp') sessions.end(session, 'delete')
  }

  /** Ends the exchange with an answer of our own, as far as the client can still be told. */
  const fail = (reason: RefusalReason): void => {
    if (over) return
    over = true
    controller?.abort(new Error(reason))
    endUpload()
    if (reason === 'recording-impossible') {
      deps.observed.blocked('recording')
      recordEnd('error', reason)
    }
    if (tunnel !== undefined) {
      tunnel.close()
      return
    }
    if (res.destroyed) return
    if (!res.headersSent) {
      const refusal = refuse(reason, { method, batch, messages, forwarded })
      res.writeHead(refusal.status, [...refusal.headers])
      res.end(method === 'HEAD' ? undefined : refusal.body)
    } else if (answer?.events !== undefined && answer.cleartext) {
      res.end(refusalEvents(reason, [...answered, ...pending.values()], forwarded))
    } else {
      res.destroy()
    }
  }

  const upstreamFailed = (error: Error): void => {
    if (over) return
    if (answer !== undefined) {
      answer.cut()
      return
    }
    // Not a byte of an answer came. The request may have been processed: it is never sent again.
    status = 503
    const reason = 'upstream-unreachable'
    const refusal = refuse(reason, { method, batch, messages, forwarded })
    const scanned = scanBody(Buffer.from(refusal.body))
    recordWhole(context('server', 'application/json'), Buffer.from(refusal.body), scanned)
    noteAnswers(scanned.scan)
    recordEnd('error', `upstream: ${codeOf(error)}`)
    whenDurable(() => fail(reason))
  }

  const onClientGone = (): void => {
    if (over || clientGone) return
    clientGone = true
    // Before the abort, which calls back at once: this is no failure of the upstream.
    over = true
    // Passed on at once: in the modern era closing the stream is the cancellation.
    controller?.abort(new Error('client closed the connection'))
    endUpload()
    answer?.abandon()
    // A request that never came whole was not forwarded; that it was tried is recorded.
    if (!started) recordStart()
    recordEnd(res.writableFinished ? 'ok' : 'cancelled')
    journal.commit(() => {})
  }

  /** The upstream has agreed to leave HTTP: from here on bytes pass, recorded as they are. */
  const startTunnel = (socket: Socket, head: Buffer, upstream: Duplex, code: number, raw: readonly string[]): void => {
    status = code
    answerHeaders = recordableHeaders(raw, deps.keyedHash)
    res.detachSocket(socket)
    socket.write(headText(code, STATUS_CODES[code] ?? '', raw), 'latin1')
    tunnel = openTunnel({
      client: socket,
      upstream,
      head,
      record: (from, chunk, release) => {
        if (from === 'client') requestBytes += chunk.length
        else tunnelBytes += chunk.length
        if (journal.append({ kind: 'http', from, reason: 'upgraded', base64: chunk.toString('base64'), bytes: chunk.length }, at()) === undefined) missed(chunk.length)
        whenDurable(release)
      },
      onEnd: () => {
        over = true
        recordEnd('ok')
        journal.commit(() => {})
      },
    })
  }

  const dispatch = (body: Buffer | Readable | null): void => {
    deps.observed.added('request', (journal.elapsedUs() - startedUs) / 1e6)
    const headers = endToEnd(req.rawHeaders, { trailers: false })
    forwarded = true
    try {
      deps.upstream.dispatch(
        { path: target, method: method as Dispatcher.HttpMethod, headers, body, ...(upgrade === undefined ? {} : { upgrade: headerValue(req.rawHeaders, 'upgrade') ?? '' }) },
        {
          onRequestStart: started => {
            controller = started
            if (over) started.abort(new Error('client closed the connection'))
          },
          onResponseStart: (from, code, _headers, text) => {
            const raw = rawText(from.rawHeaders)
            if (code < 200) {
              writeInformational(res, code, text ?? '', raw)
              return
            }
            status = code
            answerHeaders = recordableHeaders(raw, deps.keyedHash)
            const named = headerValue(raw, 'mcp-session-id')
            if (named !== undefined) enter(named)
            answer = createAnswer({
              res,
              requestMethod: method,
              status: code,
              statusText: text ?? '',
              raw,
              context: context('server', headerValue(raw, 'content-type')),
              whenDurable,
              elapsedUs: journal.elapsedUs,
              pause: () => from.pause(),
              resume: () => from.resume(),
              maxWaitingBytes: MAX_WAITING_BYTES,
              inspectBytes: INSPECT_BYTES,
              onScanned: noteAnswers,
              onEndpoint: id => enter(id),
              onReleased: seconds => deps.observed.added('response', seconds),
              end: (outcome, reason) => recordEnd(outcome, reason),
              over: () => {
                over = true
                endUpload()
              },
            })
            answer.start()
          },
          onRequestUpgrade: (from, code, _headers, peer) => {
            if (over || upgrade === undefined) peer.destroy()
            else startTunnel(upgrade.socket, upgrade.head, peer, code, rawText(from.rawHeaders))
          },
          onResponseData: (_from, chunk) => answer?.data(chunk),
          onResponseEnd: from => answer?.finish(rawText(from.rawTrailers)),
          onResponseError: (_from, error) => upstreamFailed(error),
        },
      )
    } catch (error) {
      // A head that cannot be sent on (two Host fields, an odd target).
      upstreamFailed(error instanceof Error ? error : new Error(String(error)))
    }
  }

  const start = (body: Buffer): void => {
    const contentType = headerValue(req.rawHeaders, 'content-type')
    const plain = inflateWhole(headerValue(req.rawHeaders, 'content-encoding'), body, MAX_INFLATED_BYTES) ?? body
    const scanned = plain.length === 0 ? undefined : scanBody(plain)
    if (scanned?.scan?.ok === true) {
      messages = scanned.scan.messages
      batch = scanned.scan.batch
    }
    noteRequests()
    const recorded = recordStart()
    if (scanned !== undefined && recorded) recordWhole(context('client', contentType), plain, scanned)
    else if (scanned !== undefined) missed(body.length)
    whenDurable(() => dispatch(body.length === 0 && headerValue(req.rawHeaders, 'content-length') === undefined ? null : body))
  }

  const stream = (soFar: Buffer): void => {
    recordStart()
    const body = createStreamedBody(context('client', headerValue(req.rawHeaders, 'content-type')), { mcp: looksLikeMessage(soFar) })
    const upload = new Readable({ read: () => req.resume(), highWaterMark: MAX_WAITING_BYTES })
    upload.on('error', () => {})
    const record = (chunk: Buffer): void => {
      req.pause()
      body.push(chunk)
      whenDurable(() => {
        if (!upload.destroyed && upload.push(chunk)) req.resume()
      })
    }
    const onData = (chunk: Buffer): void => {
      requestBytes += chunk.length
      record(chunk)
    }
    const onEnd = (): void => {
      body.end()
      whenDurable(() => upload.push(null))
    }
    endUpload = () => {
      endUpload = () => {}
      upload.destroy()
      req.off('data', onData)
      req.off('end', onEnd)
      if (!req.complete) body.end()
      req.resume()
    }
    req.on('data', onData)
    req.on('end', onEnd)
    record(soFar)
    whenDurable(() => dispatch(upload))
  }

  res.on('close', onClientGone)
  req.on('error', onClientGone)
  collect(req, INSPECT_BYTES, {
    whole: body => {
      requestBytes = body.length
      start(body)
    },
    large: soFar => {
      requestBytes = soFar.length
      stream(soFar)
    },
  })
  return {
    endIfQuiet: () => {
      const owed = [...pending.values()].some(message => message.method !== 'subscriptions/listen')
      if (over || owed || (answer?.events === undefined && tunnel === undefined)) return
      over = true
      answer?.abandon()
      recordEnd('cut', 'the recorder is stopping')
      controller?.abort(new Error('the recorder is stopping'))
      journal.commit(() => {
        if (tunnel === undefined) res.end()
        else tunnel.close()
      })
    },
  }
}

/** Gathers a request body up to a limit; past it, hands over what came with the request paused. */
function collect(req: IncomingMessage, limit: number, done: { whole: (body: Buffer) => void; large: (soFar: Buffer) => void }): void {
  if (req.headers['content-length'] === undefined && req.headers['transfer-encoding'] === undefined) {
    req.resume()
    done.whole(EMPTY)
    return
  }
  const chunks: Buffer[] = []
  let bytes = 0
  const onData = (chunk: Buffer): void => {
    chunks.push(chunk)
    bytes += chunk.length
    if (bytes <= limit) return
    req.off('data', onData)
    req.off('end', onEnd)
    req.pause()
    done.large(Buffer.concat(chunks, bytes))
  }
  const onEnd = (): void => done.whole(chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks, bytes))
  req.on('data', onData)
  req.on('end', onEnd)
}
const EMPTY = Buffer.alloc(0)

/** Whether the first bytes of a body could begin a JSON-RPC message. */
export function looksLikeMessage(bytes: Uint8Array): boolean {
  return /^\s*\{\s*"(?:jsonrpc|id|method|params|result|error)"/.test(Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, 256)).toString('latin1'))
}

/** `sessionId` of the query of an HTTP+SSE message URL. */
function sessionIdOfQuery(target: string): string | undefined {
  return /[?&](?:sessionId|session_id)=([^&]{1,1024})/.exec(target)?.[1]
}

function codeOf(error: Error): string {
  return 'code' in error && typeof error.code === 'string' ? error.code : error.name
}

/** 103 and its kind pass as they came. 100 is the server's own to send. */
function writeInformational(res: ServerResponse, status: number, text: string, raw: readonly string[]): void {
  if (status === 100 || res.headersSent || res.socket === null || res.req.httpVersionMinor < 1) return
  res.socket.write(headText(status, text, raw), 'latin1')
}

function headText(status: number, text: string, raw: readonly string[]): string {
  let head = `HTTP/1.1 ${status} ${text}\r\n`
  for (let i = 0; i + 1 < raw.length; i += 2) head += `${raw[i]}: ${raw[i + 1]}\r\n`
  return `${head}\r\n`
}

