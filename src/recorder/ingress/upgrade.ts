/** Upgraded connections (WebSocket and the like): opaque bytes, recorded in both directions before they are released. */

import { Duplex } from 'node:stream'
import type { IncomingMessage } from 'node:http'
import httpProxy from 'http-proxy'
import type { Log } from '../../platform/log.ts'
import type { Side } from '../../record/frame.ts'
import { recordableHeaders, recordableTarget } from '../../record/redact.ts'
import type { ExchangeDeps } from './exchange.ts'

export interface UpgradeOptions {
  readonly upstream: URL
  readonly exchange: ExchangeDeps
  readonly log: Log
}

export function createUpgrade(options: UpgradeOptions): (req: IncomingMessage, socket: Duplex, head: Buffer) => void {
  const proxy = httpProxy.createProxyServer({ target: options.upstream.origin, ws: true })
  return (req, socket, head) => {
    const { journal, keyedHash, observed, onFailure } = options.exchange
    const exchange = options.exchange.nextExchange()
    const startedUs = journal.elapsedUs()
    const bytes = { client: 0, server: 0 }
    let ended = false

    const end = (outcome: 'ok' | 'error', reason?: string): void => {
      if (ended) return
      ended = true
      journal.append({ kind: 'exchange.end', status: outcome === 'ok' ? 101 : 503, headers: {}, durationUs: journal.elapsedUs() - startedUs, requestBytes: bytes.client, responseBytes: bytes.server, outcome, ...(reason === undefined ? {} : { reason }) }, { exchange })
      journal.commit(() => {})
      observed.ended(outcome)
    }
    /** Records bytes of one side, then runs `release`; under `block` a failure closes the connection. */
    const record = (from: Side, chunk: Buffer, release: () => void): void => {
      bytes[from] += chunk.length
      const taken = journal.append({ kind: 'http', from, reason: 'upgraded', base64: chunk.toString('base64'), bytes: chunk.length }, { exchange }) !== undefined
      if (!taken) journal.missed(chunk.length)
      journal.commit(error => {
        if ((error !== undefined || !taken) && onFailure === 'block') {
          observed.blocked('recording')
          socket.destroy()
        } else release()
      })
    }
    const tapped = new RecordedSocket(socket, record)
    // Until the upstream has agreed nobody else listens, and what a peer breaks must never end the process. The socket's close says the rest.
    tapped.on('error', () => {})
    socket.once('close', () => end('ok'))

    const started = journal.append({ kind: 'exchange.start', method: req.method ?? 'GET', target: recordableTarget(req.url ?? '/', keyedHash), headers: recordableHeaders(req.rawHeaders, keyedHash), peer: `${req.socket.remoteAddress ?? ''}:${req.socket.remotePort ?? 0}`, era: 'none' }, { exchange })
    journal.commit(error => {
      if ((error !== undefined || started === undefined) && onFailure === 'block') {
        observed.blocked('recording')
        socket.end('HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\nConnection: close\r\nContent-Length: 0\r\n\r\n')
        return
      }
      proxy.ws(req, tapped, head, {}, failure => {
        options.log.info('an upgraded connection could not be forwarded', { reason: failure.name })
        end('error', 'upstream')
        if (socket.writable) socket.end('HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\nConnection: close\r\nContent-Length: 0\r\n\r\n')
      })
    })
  }
}

/** Bytes of one frame: base64 of it, in JSON, stays far below a segment. */
const CHUNK_BYTES = 96 * 1024

/** Stands where http-proxy expects the client's socket, and lets nothing past unrecorded. */
class RecordedSocket extends Duplex {
  readonly #socket: Duplex
  readonly #record: (from: Side, chunk: Buffer, release: () => void) => void

  constructor(socket: Duplex, record: (from: Side, chunk: Buffer, release: () => void) => void) {
    super()
    this.#socket = socket
    this.#record = record
    socket.on('data', (chunk: Buffer) => {
      socket.pause()
      record('client', chunk, () => {
        if (this.push(chunk)) socket.resume()
      })
    })
    socket.on('end', () => this.push(null))
    socket.on('error', error => this.destroy(error))
    socket.on('close', () => this.destroy())
  }

  override _read(): void {
    this.#socket.resume()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    const part = chunk.subarray(0, CHUNK_BYTES)
    this.#record('server', part, () => {
      this.#socket.write(part, error => {
        if (error != null || part.length === chunk.length) done(error)
        else this._write(chunk.subarray(CHUNK_BYTES), _encoding, done)
      })
    })
  }

  override _final(done: () => void): void {
    if (this.#socket.writable) this.#socket.end(done)
    else done()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#socket.destroy()
    done(error)
  }

  // What http-proxy asks of a socket; the real one has them set already.
  setTimeout(): this {
    return this
  }

  setNoDelay(): this {
    return this
  }

  setKeepAlive(): this {
    return this
  }
}
