/**
 * One HTTP request and its answer on the data path. Order of things, never otherwise: record, wait until durable, release.
 * Never changes a byte of either. States: gathering → recorded → forwarded → answering (or tunnel) → over; any of them may end in `over`.
 */

import { STATUS_CODES } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex, Readable } from 'node:stream'
import type { Dispatcher } from 'undici'
import { plainAddress } from '../../platform/address.ts'
import type { Outcome } from '../../record/frame.ts'
import type { Message, Scan } from '../../record/jsonrpc.ts'
import { recordableHeaders } from '../../record/redact.ts'
import { Answer } from './answer.ts'
import { createStreamedBody, recordWhole, scanBody } from './body-frames.ts'
import { inflateWhole } from './decoder.ts'
import { ExchangeRecord } from './exchange-record.ts'
import type { RecordDeps, ResponseFacts } from './exchange-record.ts'
import { endToEnd, headerValue, rawText } from './headers.ts'
import { OwedAnswers } from './owed-answers.ts'
import { refuse, refusalEvents } from './refusal.ts'
import type { Refusal, RefusalReason } from './refusal.ts'
import { gatherBody, startUpload } from './request-body.ts'
import type { Upload } from './request-body.ts'
import { openTunnel } from './tunnel.ts'
import type { Tunnel } from './tunnel.ts'

/** Bodies up to here are held whole, so that a message is classified before it is released. */
const INSPECT_BYTES = 1024 * 1024
/** What a compressed request may become; past that it is recorded as it came. */
const MAX_INFLATED_BYTES = 4 * INSPECT_BYTES
/** Streams stop being read while this much of them waits for the log. Above the largest event that is held whole, or that event would never end. */
const MAX_WAITING_BYTES = 2 * INSPECT_BYTES

export interface ExchangeDeps extends RecordDeps {
  readonly upstream: Dispatcher
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

/** A request to leave HTTP behind; `head` came right after it. */
export interface Upgrade {
  readonly socket: Socket
  readonly head: Buffer
}

export class Exchange {
  readonly #req: IncomingMessage
  readonly #res: ServerResponse
  readonly #deps: ExchangeDeps
  readonly #upgrade: Upgrade | undefined
  readonly #method: string
  readonly #record: ExchangeRecord
  readonly #owed = new OwedAnswers()
  #messages: readonly Message[] = []
  #batch = false
  #upload: Upload | undefined
  #controller: Dispatcher.DispatchController | undefined
  #answer: Answer | undefined
  #tunnel: Tunnel | undefined
  #tunnelBytes = 0
  #status = 0
  #answerHeaders: ResponseFacts['headers'] = {}
  /** The upstream has been asked. */
  #forwarded = false
  #over = false

  constructor(req: IncomingMessage, res: ServerResponse, deps: ExchangeDeps, upgrade?: Upgrade) {
    this.#req = req
    this.#res = res
    this.#deps = deps
    this.#upgrade = upgrade
    this.#method = req.method ?? 'GET'
    const { remoteAddress = '', remotePort = 0 } = req.socket
    this.#record = new ExchangeRecord(deps, { method: this.#method, target: req.url ?? '/', raw: req.rawHeaders, address: plainAddress(remoteAddress), port: remotePort }, deps.nextExchange())
  }

  /** Handles it to its end. Never throws. */
  run(): void {
    const onClientGone = (): void => this.#clientGone()
    this.#res.on('close', onClientGone)
    this.#req.on('error', onClientGone)
    const { journal } = this.#deps
    gatherBody(this.#req, INSPECT_BYTES, {
      whole: body => journal.whenRoom(() => this.#forwardWhole(body)),
      large: soFar => journal.whenRoom(() => this.#forwardStream(soFar)),
    })
  }

  /** Ends an open stream that owes nobody an answer; leaves any other exchange alone. */
  endIfQuiet(): void {
    if (this.#over || !this.#owed.none || (this.#answer?.events === undefined && this.#tunnel === undefined)) return
    this.#leave('cut', 'the recorder is stopping')
    this.#deps.journal.commit(() => {
      if (this.#tunnel !== undefined) this.#tunnel.close()
      else if (this.#res.headersSent) this.#res.end()
      else this.#res.destroy()
    })
  }

  // The request

  #forwardWhole(body: Buffer): void {
    // The client may have left while this waited.
    if (this.#over) return
    const { rawHeaders } = this.#req
    this.#record.requestBytes = body.length
    const plain = inflateWhole(headerValue(rawHeaders, 'content-encoding'), body, MAX_INFLATED_BYTES) ?? body
    const scanned = plain.length === 0 ? undefined : scanBody(plain)
    if (scanned?.scan?.ok === true) {
      this.#messages = scanned.scan.messages
      this.#batch = scanned.scan.batch
      for (const message of this.#messages) if (message.type === 'request') this.#owed.asked(message)
    }
    this.#record.start(this.#messages, this.#batch)
    if (scanned !== undefined) recordWhole(this.#record.bodies('client', headerValue(rawHeaders, 'content-type')), plain, scanned)
    const hasBody = body.length > 0 || headerValue(rawHeaders, 'content-length') !== undefined
    this.#whenDurable(() => this.#dispatch(hasBody ? body : null))
  }

  #forwardStream(soFar: Buffer): void {
    if (this.#over) return
    this.#record.start([], false)
    const upload = startUpload({
      req: this.#req,
      soFar,
      body: createStreamedBody(this.#record.bodies('client', headerValue(this.#req.rawHeaders, 'content-type')), { mcp: looksLikeMessage(soFar) }),
      whenRoom: then => this.#deps.journal.whenRoom(then),
      whenDurable: then => this.#whenDurable(then),
      onBytes: count => (this.#record.requestBytes += count),
      maxWaitingBytes: MAX_WAITING_BYTES,
    })
    this.#upload = upload
    // The log may have refused the first part at once.
    if (this.#over) upload.end()
    this.#whenDurable(() => this.#dispatch(upload.stream))
  }

  #dispatch(body: Buffer | Readable | null): void {
    this.#deps.observed.added('request', this.#record.elapsedUs / 1e6)
    const { rawHeaders, url } = this.#req
    const upgrade = this.#upgrade === undefined ? {} : { upgrade: headerValue(rawHeaders, 'upgrade') ?? '' }
    try {
      this.#deps.upstream.dispatch(
        { path: url ?? '/', method: this.#method as Dispatcher.HttpMethod, headers: endToEnd(rawHeaders, { trailers: false }), body, ...upgrade },
        {
          onRequestStart: controller => {
            // There is a connection, and the request is about to be written to it.
            this.#forwarded = true
            this.#controller = controller
            if (this.#over) controller.abort(new Error('client closed the connection'))
          },
          onResponseStart: (controller, status, _headers, text = '') => this.#startAnswer(controller, status, text),
          onRequestUpgrade: (controller, status, _headers, peer) => this.#startTunnel(status, rawText(controller.rawHeaders), peer),
          onResponseData: (_controller, chunk) => this.#answer?.data(chunk),
          onResponseEnd: controller => this.#answer?.finish(rawText(controller.rawTrailers)),
          onResponseError: (_controller, error) => this.#upstreamFailed(error),
        },
      )
    } catch (error) {
      // A head that cannot be sent on, such as an odd target.
      this.#upstreamFailed(error instanceof Error ? error : new Error(String(error)))
    }
  }

  // The answer

  #startAnswer(controller: Dispatcher.DispatchController, status: number, text: string): void {
    const raw = rawText(controller.rawHeaders)
    if (status < 200) {
      writeInformational(this.#res, status, text, raw)
      return
    }
    this.#noteHead(status, raw)
    const named = headerValue(raw, 'mcp-session-id')
    if (named !== undefined) this.#record.enter(named)
    this.#answer = new Answer({
      res: this.#res,
      requestMethod: this.#method,
      status,
      statusText: text,
      raw,
      context: this.#record.bodies('server', headerValue(raw, 'content-type')),
      whenDurable: then => this.#whenDurable(then),
      sender: controller,
      maxWaitingBytes: MAX_WAITING_BYTES,
      inspectBytes: INSPECT_BYTES,
      onScanned: scan => this.#readAnswers(scan),
      onEndpoint: id => this.#record.enter(id),
      onReleased: seconds => this.#deps.observed.added('response', seconds),
      recordEnd: outcome => this.#end(outcome),
      onOver: () => {
        this.#over = true
        this.#upload?.end()
      },
    })
    this.#answer.start()
  }

  /** The upstream has agreed to leave HTTP: from here on bytes pass, recorded as they are. */
  #startTunnel(status: number, raw: readonly string[], upstream: Duplex): void {
    const upgrade = this.#upgrade
    if (this.#over || upgrade === undefined) {
      upstream.destroy()
      return
    }
    this.#noteHead(status, raw)
    this.#res.detachSocket(upgrade.socket)
    upgrade.socket.write(headText(status, STATUS_CODES[status] ?? '', raw), 'latin1')
    this.#tunnel = openTunnel({
      client: upgrade.socket,
      upstream,
      head: upgrade.head,
      record: (from, chunk, release) => this.#deps.journal.whenRoom(() => {
        if (this.#over) return
        if (from === 'client') this.#record.requestBytes += chunk.length
        else this.#tunnelBytes += chunk.length
        this.#record.append({ kind: 'http', from, reason: 'upgraded', base64: chunk.toString('base64'), bytes: chunk.length }, chunk.length)
        this.#whenDurable(release)
      }),
      onEnd: outcome => {
        this.#over = true
        this.#end(outcome)
      },
    })
  }

  #noteHead(status: number, raw: readonly string[]): void {
    this.#status = status
    this.#answerHeaders = recordableHeaders(raw, this.#deps.keyedHash)
  }

  #readAnswers(scan: Scan | undefined): void {
    if (scan?.ok !== true) return
    for (const message of scan.messages) {
      if (message.type !== 'response') continue
      if (message.isError === true) this.#record.countError()
      const asked = this.#owed.answered(message)
      if (asked === undefined) continue
      const errorType = message.isError !== true ? undefined : message.errorCode === undefined ? 'tool_error' : String(message.errorCode)
      this.#deps.observed.operation({ method: asked.method ?? '', tool: asked.method === 'tools/call' ? asked.name : undefined, errorType, seconds: this.#record.elapsedUs / 1e6 })
    }
  }

  // The end

  /** Runs `then` once all recorded so far is durable; under `block` a failure ends the exchange instead. */
  #whenDurable(then: () => void): void {
    const mark = this.#owed.mark
    this.#deps.journal.commit(error => {
      if (this.#over) return
      if ((error !== undefined || this.#record.missing) && this.#record.onFailure === 'block') {
        this.#recordingFailed(error?.code === 'sink.late' ? 'sink' : 'recording')
        return
      }
      this.#owed.releasedTo(mark)
      then()
    })
  }

  #end(outcome: Outcome, reason?: string): void {
    const answer = this.#answer
    const response = { status: this.#status, headers: this.#answerHeaders, bytes: answer?.bytes ?? this.#tunnelBytes, events: answer?.events, comments: answer?.comments }
    if (this.#record.end(outcome, reason, response)) this.#deps.observed.ended(outcome)
  }

  #recordingFailed(why: 'recording' | 'sink'): void {
    this.#deps.observed.blocked(why)
    this.#leave('error', 'recording-impossible')
    this.#giveUp('recording-impossible')
  }

  #upstreamFailed(error: Error): void {
    if (this.#over) return
    if (this.#answer !== undefined) {
      this.#answer.cut()
      return
    }
    // Not a byte of an answer came. The request may have been processed: it is never sent again.
    const refusal = this.#refusal('upstream-unreachable')
    const body = Buffer.from(refusal.body)
    const scanned = scanBody(body)
    this.#status = refusal.status
    recordWhole(this.#record.bodies('server', 'application/json'), body, scanned)
    this.#readAnswers(scanned.scan)
    this.#end('error', `upstream: ${codeOf(error)}`)
    this.#whenDurable(() => {
      this.#over = true
      this.#giveUp('upstream-unreachable')
    })
  }

  #clientGone(): void {
    if (this.#over) return
    // A request that never came whole was not forwarded; that it was tried is recorded.
    if (!this.#record.started) this.#record.start([], false)
    this.#leave('cancelled')
  }

  /** Takes the exchange out of the flow: nothing more is released, the upstream is told at once (in the modern era that is the cancellation), the end is recorded. */
  #leave(outcome: Outcome, reason?: string): void {
    // Before the abort, which calls back at once: this is no failure of the upstream.
    this.#over = true
    this.#controller?.abort(new Error(reason ?? 'the client closed the connection'))
    this.#upload?.end()
    this.#answer?.abandon()
    this.#end(outcome, reason)
  }

  /** An answer of our own, as far as the client can still be told. */
  #giveUp(reason: RefusalReason): void {
    const res = this.#res
    this.#upload?.end()
    if (this.#tunnel !== undefined) {
      this.#tunnel.close()
      return
    }
    if (res.destroyed) return
    if (!res.headersSent) {
      const refusal = this.#refusal(reason)
      res.writeHead(refusal.status, [...refusal.headers])
      res.end(this.#method === 'HEAD' ? undefined : refusal.body)
    } else if (this.#answer?.events !== undefined && this.#answer.cleartext) {
      res.end(refusalEvents(reason, this.#owed.all(), this.#forwarded))
    } else {
      res.destroy()
    }
  }

  #refusal(reason: RefusalReason): Refusal {
    return refuse(reason, { method: this.#method, batch: this.#batch, messages: this.#messages, forwarded: this.#forwarded })
  }
}

/** Whether the first bytes of a body could begin a JSON-RPC message. */
function looksLikeMessage(bytes: Buffer): boolean {
  return /^\s*\{\s*"(?:jsonrpc|id|method|params|result|error)"/.test(bytes.toString('latin1', 0, 256))
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
