/**
 * Bodies to frames. A body held whole becomes `mcp` frames, one per JSON-RPC message, or one `http` frame.
 * A body too large to hold becomes a first frame and numbered `body` frames while it passes.
 * Never holds more than one part of a streamed body.
 */

import { createHash } from 'node:crypto'
import type { Link, Masked, RpcId, Side } from '../../record/frame.ts'
import { scanMessages } from '../../record/jsonrpc.ts'
import type { Message, Scan } from '../../record/jsonrpc.ts'
import { createStreamMasker } from '../../record/mask.ts'
import type { KeyedHash } from '../../record/redact.ts'
import { createUtf8Parts, decodeExact } from '../../record/utf8.ts'
import type { Journal } from '../journal.ts'

/** Text of one frame, in UTF-16 units, and bytes of one when they are not text. One frame always fits into a segment. */
const PART_CHARS = 128 * 1024
export const PART_BYTES = 96 * 1024

export interface BodyContext {
  readonly journal: Journal
  readonly keyedHash: KeyedHash
  readonly from: Side
  readonly exchange: number
  /** Read at every frame: the session of an `initialize` is known only at its answer. */
  readonly session: () => string | undefined
  readonly contentType: string | undefined
  /** Something was not taken by the spool. */
  readonly onMissed: (bytes: number) => void
}

export interface SseMark {
  readonly id?: string
  readonly type?: string
}

/** What to make of a body before it is written. */
export function scanBody(bytes: Uint8Array): { readonly text: string | undefined; readonly scan: Scan | undefined } {
  const text = decodeExact(bytes)
  if (text === undefined) return { text, scan: undefined }
  return { text, scan: scanMessages(text) }
}

/** Records a body held whole. */
export function recordWhole(context: BodyContext, bytes: Uint8Array, scanned: ReturnType<typeof scanBody>, event?: SseMark): void {
  if (bytes.length === 0) return
  const { text, scan } = scanned
  if (text !== undefined && scan?.ok === true) {
    scan.messages.forEach((message, index) => recordMessage(context, text, message, { batch: scan.batch ? index : undefined, whole: scan.batch ? undefined : bytes.length, event }))
    return
  }
  const reason = text === undefined ? 'invalid-utf8' : scan?.ok === false && /json/i.test(context.contentType ?? '') ? scan.reason : undefined
  writeParts(context, text === undefined ? maskBytes(bytes) : maskLoose(text), {
    kind: 'http',
    from: context.from,
    ...(context.contentType === undefined ? {} : { contentType: context.contentType }),
    ...(reason === undefined ? {} : { reason }),
    ...(event === undefined ? {} : { event }),
  }, bytes.length)
}

function recordMessage(context: BodyContext, text: string, message: Message, where: { batch: number | undefined; whole: number | undefined; event: SseMark | undefined }): void {
  // A message that is alone is kept with what stands around it: white space, as some servers write a line's end.
  const from = where.whole === undefined ? message.start : 0
  const source = where.whole === undefined ? text.slice(message.start, message.end) : text
  const bytes = where.whole ?? Buffer.byteLength(source)
  let body: string
  let masked: Masked[] | undefined
  const links: Link[] = []
  if (message.requestState !== undefined) {
    const { value, path } = message.requestState
    const start = message.requestState.start - from
    const end = message.requestState.end - from
    const hmac = context.keyedHash(value)
    body = `${maskLoose(source.slice(0, start))}"steno:hmac:${hmac}"${maskLoose(source.slice(end))}`
    masked = [{ path, bytes: Buffer.byteLength(value), hmac }]
    links.push({ type: 'requestState', id: hmac })
  } else body = maskLoose(source)
  if (message.taskId !== undefined) links.push({ type: 'task', id: message.taskId })
  if (message.subscriptionId !== undefined) links.push({ type: 'subscription', id: message.subscriptionId })
  const batch = where.batch === undefined ? {} : { batch: where.batch }
  const event = where.event === undefined ? {} : { event: where.event }
  if (message.type === 'invalid') {
    writeParts(context, body, { kind: 'http', from: context.from, reason: 'not-jsonrpc', ...event }, bytes)
    return
  }
  writeParts(context, body, {
    kind: 'mcp',
    from: context.from,
    type: message.type,
    ...(message.rpcId === undefined ? {} : { rpcId: message.rpcId }),
    ...(message.method === undefined ? {} : { method: message.method }),
    ...(message.name === undefined ? {} : { name: message.name }),
    ...(message.isError === undefined ? {} : { isError: message.isError }),
    ...(message.errorCode === undefined ? {} : { errorCode: message.errorCode }),
    ...(message.resultType === undefined ? {} : { resultType: message.resultType }),
    ...batch,
    ...event,
    ...(links.length === 0 ? {} : { links }),
    ...(masked === undefined ? {} : { masked }),
    ...(message.duplicateKeys === undefined || message.duplicateKeys.length === 0 ? {} : { duplicateKeys: message.duplicateKeys }),
  }, bytes)
}

function maskEverywhere(text: string): string {
  const masker = createStreamMasker({ keys: ['requestState'] })
  return masker.push(text) + masker.flush()
}

/** Every value of that key, wherever it stands: which of two equal keys a server takes, and what it takes for JSON, is its business. */
function maskLoose(text: string): string {
  return mayHoldState(text) ? maskEverywhere(text) : text
}

/** The key as it is, or with some of it escaped. */
function mayHoldState(text: string): boolean {
  return text.includes('requestState') || text.includes('\\u00')
}

/** Bytes that are no text, masked byte for character. */
function maskBytes(bytes: Uint8Array): Uint8Array {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1')
  return mayHoldState(text) ? Buffer.from(maskEverywhere(text), 'latin1') : bytes
}

type FirstFrame = Parameters<Journal['append']>[0] & { kind: 'mcp' | 'http' }

/** One frame, or a first one and its `body` frames. @param bytes length of the original */
function writeParts(context: BodyContext, stored: string | Uint8Array, first: FirstFrame, bytes: number): void {
  const at = { session: context.session(), exchange: context.exchange }
  const whole = typeof stored === 'string' ? stored.length <= PART_CHARS : stored.length <= PART_BYTES
  if (whole) {
    const content = { ...first, ...(typeof stored === 'string' ? { body: stored } : { base64: base64(stored) }), bytes }
    if (context.journal.append(content, at) === undefined) context.onMissed(bytes)
    return
  }
  const stream = createPartWriter(context, first)
  for (let from = 0; from < stored.length; ) {
    if (typeof stored === 'string') {
      let to = Math.min(stored.length, from + PART_CHARS)
      // Never between the halves of a surrogate pair.
      if (to < stored.length && (stored.charCodeAt(to) & 0xfc00) === 0xdc00) to--
      stream.part(stored.slice(from, to))
      from = to
    } else {
      stream.part(stored.subarray(from, from + PART_BYTES))
      from += PART_BYTES
    }
  }
  stream.end(bytes)
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64')
}

export interface Late {
  readonly type?: 'request' | 'response' | 'notification'
  readonly rpcId?: RpcId
}

/** Writes the parts of one body as they come, one behind: the last part is known only at the end. */
function createPartWriter(context: BodyContext, first: FirstFrame): { part(stored: string | Uint8Array): void; end(bytes: number, late?: Late): void } {
  const sha256 = createHash('sha256')
  let firstSeq: number | undefined
  let number = 0
  const write = (stored: string | Uint8Array, last?: { bytes: number; late: Late | undefined }): void => {
    const content = typeof stored === 'string' ? { body: stored } : { base64: base64(stored) }
    const at = { session: context.session(), exchange: context.exchange }
    if (number > 0 && firstSeq === undefined) {
      // Without its first part nothing says what the others belong to.
      context.onMissed(stored.length)
      return
    }
    sha256.update(stored)
    const end = last === undefined ? {} : { last: true as const, bytes: last.bytes, sha256: sha256.digest('hex'), ...(last.late === undefined ? {} : { late: last.late }) }
    const seq = number === 0
      ? context.journal.append({ ...first, ...content, more: true }, at)
      : context.journal.append({ kind: 'body', of: firstSeq ?? 0, part: number, ...content, ...end }, at)
    if (number === 0) firstSeq = seq
    if (seq === undefined) context.onMissed(stored.length)
    number++
  }
  return {
    part: stored => write(stored),
    end: (bytes, late) => write('', { bytes, late }),
  }
}

export interface StreamedBody {
  /** Records bytes; all but an unfinished UTF-8 sequence (at most 3 bytes) is in frames afterwards. */
  push(bytes: Uint8Array): void
  end(): void
  /** Original bytes that are in frames. */
  readonly recorded: number
}

/** Records a body that passes in pieces. @param mcp the body looks like a JSON-RPC message */
export function createStreamedBody(context: BodyContext, options: { readonly mcp: boolean; readonly event?: SseMark }): StreamedBody {
  const parts = createUtf8Parts({ partBytes: PART_BYTES })
  const masker = createStreamMasker({ keys: ['requestState'] })
  let writer: ReturnType<typeof createPartWriter> | undefined
  let received = 0
  let recorded = 0
  let head = ''
  let tail = ''

  const store = (stored: string | Uint8Array): void => {
    if (stored.length === 0) return
    writer ??= createPartWriter(context, firstFrame(context, options, head))
    for (let from = 0; from < stored.length; from += PART_CHARS) writer.part(stored.length <= PART_CHARS ? stored : stored.slice(from, from + PART_CHARS))
  }
  const take = (pieces: ReturnType<typeof parts.push>): void => {
    for (const piece of pieces) {
      recorded += piece.size
      if ('bytes' in piece) {
        store(masker.flush())
        store(piece.bytes)
        continue
      }
      if (head.length < EDGE_CHARS) head += piece.text.slice(0, EDGE_CHARS)
      tail = (tail + piece.text.slice(-EDGE_CHARS)).slice(-EDGE_CHARS)
      store(masker.push(piece.text))
    }
  }
  return {
    push: bytes => {
      received += bytes.length
      take(parts.push(bytes))
      take(parts.flush())
    },
    end: () => {
      take(parts.end())
      store(masker.flush())
      writer?.end(received, options.mcp ? lateFields(head, tail) : undefined)
    },
    get recorded() {
      return recorded
    },
  }
}

const EDGE_CHARS = 1024
const ID = String.raw`"id"\s*:\s*("(?:[^"\\]|\\.){0,512}"|-?\d[\d.eE+-]{0,64}|null)`

function firstFrame(context: BodyContext, options: { readonly mcp: boolean; readonly event?: SseMark }, head: string): FirstFrame {
  const event = options.event === undefined ? {} : { event: options.event }
  if (!options.mcp) return { kind: 'http', from: context.from, ...(context.contentType === undefined ? {} : { contentType: context.contentType }), ...event }
  const method = /^\s*\{(?:\s*"(?:jsonrpc|id)"\s*:\s*(?:"[^"\\]{0,512}"|[\d.eE+-]{1,64}|null)\s*,){0,2}\s*"method"\s*:\s*"([^"\\]{1,512})"/.exec(head)?.[1]
  const name = method === undefined ? undefined : /"params"\s*:\s*\{\s*"(?:name|uri)"\s*:\s*"([^"\\]{1,512})"/.exec(head)?.[1]
  const type = method !== undefined || context.from === 'client' ? 'request' : 'response'
  return { kind: 'mcp', from: context.from, type, ...(method === undefined ? {} : { method }), ...(name === undefined ? {} : { name }), ...event }
}

/** The id of a message, read at its edges: right after the opening brace, or right before the closing one, it can only be the message's own. */
function lateFields(head: string, tail: string): Late | undefined {
  const source = new RegExp(`^\\s*\\{(?:\\s*"jsonrpc"\\s*:\\s*"2\\.0"\\s*,)?\\s*${ID}`).exec(head)?.[1] ?? new RegExp(`,\\s*${ID}\\s*\\}\\s*$`).exec(tail)?.[1]
  if (source === undefined) return undefined
  const scan = scanMessages(`{"jsonrpc":"2.0","result":{},"id":${source}}`)
  const message = scan.ok ? scan.messages[0] : undefined
  return message?.rpcId === undefined ? undefined : { rpcId: message.rpcId }
}
