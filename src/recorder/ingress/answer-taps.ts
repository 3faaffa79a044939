/** What an answer's plain bytes become: a tap for each kind of body. Taps write frames; they never hold back or change a byte. */

import type { Scan } from '../../record/jsonrpc.ts'
import { recordableTarget } from '../../record/redact.ts'
import { sessionIdOfTarget } from '../../record/session.ts'
import { createSseTap } from '../../record/sse.ts'
import type { SsePiece } from '../../record/sse.ts'
import { decodeExact } from '../../record/utf8.ts'
import { createStreamedBody, recordWhole, scanBody } from './body-frames.ts'
import type { BodyContext, SseMark, StreamedBody } from './body-frames.ts'

export interface Tap {
  push(plain: Buffer): void
  /** @param cut the body broke off */
  end(cut: boolean): void
  /** Offset in the plain body up to which it is in frames. */
  readonly recorded: number
}

export interface TapOptions {
  readonly context: BodyContext
  /** Bodies and events up to here are held until they are whole, so that they are recorded as messages. */
  readonly inspectBytes: number
  readonly onScanned: (scan: Scan | undefined) => void
  /** An HTTP+SSE `endpoint` event named the session. */
  readonly onEndpoint: (session: string) => void
}

/** Counts of a stream of events. */
export interface EventCounts {
  events: number
  comments: number
}

/** Of bytes that nobody here can read. */
export function opaqueTap(context: BodyContext): Tap {
  let body: StreamedBody | undefined
  return {
    push: plain => {
      body ??= createStreamedBody(context, { mcp: false })
      body.push(plain)
    },
    end: () => body?.end(),
    get recorded() {
      return body?.recorded ?? 0
    },
  }
}

/** Held until it is whole, then recorded as messages; past the limit recorded in parts, as it comes. */
export function jsonTap({ context, inspectBytes, onScanned }: TapOptions): Tap {
  let held: Buffer[] = []
  let bytes = 0
  let streamed: StreamedBody | undefined
  return {
    push: plain => {
      if (streamed !== undefined) {
        streamed.push(plain)
        return
      }
      held.push(plain)
      bytes += plain.length
      if (bytes <= inspectBytes) return
      streamed = createStreamedBody(context, { mcp: true })
      streamed.push(Buffer.concat(held))
      held = []
    },
    end: cut => {
      if (streamed !== undefined) {
        streamed.end()
        return
      }
      const body = held.length === 1 && held[0] !== undefined ? held[0] : Buffer.concat(held)
      held = []
      if (body.length === 0) return
      const scanned = scanBody(body)
      if (!cut) onScanned(scanned.scan)
      recordWhole(context, body, scanned)
    },
    get recorded() {
      return streamed?.recorded ?? 0
    },
  }
}

/** Each event a frame; what carries no message is only counted. */
export function sseTap({ context, inspectBytes, onScanned, onEndpoint }: TapOptions, counts: EventCounts): Tap {
  const sse = createSseTap({ maxEventBytes: inspectBytes })
  let large: StreamedBody | undefined
  let recorded = 0
  const take = (piece: SsePiece): void => {
    recorded += piece.bytes.length
    switch (piece.kind) {
      case 'quiet':
        counts.comments += piece.comments + piece.priming
        return
      case 'event': {
        counts.events++
        const mark = markOf(piece)
        if (piece.event === 'endpoint') {
          recordEndpoint(context, piece.data, mark, onEndpoint)
          return
        }
        const scanned = scanBody(piece.data)
        onScanned(scanned.scan)
        recordWhole(context, piece.data, scanned, mark)
        return
      }
      case 'part':
        if (piece.first) {
          counts.events++
          const mark = markOf(piece)
          large = createStreamedBody(context, { mcp: true, ...(mark === undefined ? {} : { event: mark }) })
        }
        large?.push(piece.data)
        if (piece.last) {
          large?.end()
          large = undefined
        }
        return
      case 'tail':
        recordTail(context, piece.bytes)
    }
  }
  return {
    push: plain => sse.push(plain).forEach(take),
    end: () => {
      sse.end().forEach(take)
      large?.end()
    },
    get recorded() {
      return recorded
    },
  }
}

function markOf(piece: { readonly id?: string; readonly event?: string }): SseMark | undefined {
  if (piece.id === undefined && piece.event === undefined) return undefined
  return { ...(piece.id === undefined ? {} : { id: piece.id }), ...(piece.event === undefined ? {} : { type: piece.event }) }
}

/** What a stream left unfinished. It may be the beginning of an `endpoint` event, so what looks like a query is hashed. */
function recordTail(context: BodyContext, bytes: Uint8Array): void {
  const text = decodeExact(bytes)
  const stored = text?.replace(/\?[^\s"]*/g, query => recordableTarget(query, context.keyedHash))
  recordWhole(context, bytes, { text: stored, scan: undefined })
}

/** The `endpoint` event of HTTP+SSE (2024-11-05) carries the session id in a URL: recorded with the id hashed. */
function recordEndpoint(context: BodyContext, data: Uint8Array, mark: SseMark | undefined, onEndpoint: (session: string) => void): void {
  const text = Buffer.from(data.buffer, data.byteOffset, data.length).toString('utf8')
  const id = sessionIdOfTarget(text)
  if (id !== undefined) onEndpoint(id)
  const stored = recordableTarget(text, context.keyedHash)
  const at = { session: context.session(), exchange: context.exchange }
  if (context.journal.append({ kind: 'http', from: 'server', ...(mark === undefined ? {} : { event: mark }), body: stored, bytes: data.length }, at) === undefined) context.onMissed(data.length)
}
