/**
 * What a client gets when the recorder, not the server, has to answer. MCP clients understand a JSON-RPC error in a 200 for a call;
 * for everything else 503 with Retry-After, because a 200 to a probe would make a client fall back to an older protocol.
 */

import type { Message } from '../../record/jsonrpc.ts'

export interface Refusal {
  readonly status: number
  readonly headers: readonly string[]
  readonly body: string
}

export type RefusalReason = 'recording-impossible' | 'upstream-unreachable'

/** Error codes of our own, outside the range that JSON-RPC and MCP reserve. */
const CODES: Record<RefusalReason, number> = { 'recording-impossible': -31_001, 'upstream-unreachable': -31_002 }
/** Whether the call reached the server decides whether it may be repeated, so it is told. */
function textOf(reason: RefusalReason, forwarded: boolean): string {
  if (reason === 'upstream-unreachable') {
    return forwarded
      ? 'The MCP server behind the recorder broke off before it answered. The call may have taken effect.'
      : 'The MCP server behind the recorder cannot be reached. Try again later.'
  }
  return forwarded
    ? 'The answer to this call cannot be recorded at the moment, so it was not released. The call itself was forwarded and may have taken effect.'
    : 'This call was not forwarded: it cannot be recorded at the moment. Try again later or tell the administrator of the recorder.'
}

const RETRY_AFTER_S = 2

/** A JSON-RPC error, for one id (JSON text) or null. */
function rpcError(id: string, reason: RefusalReason, forwarded: boolean): string {
  return `{"jsonrpc":"2.0","id":${id},"error":{"code":${CODES[reason]},"message":${JSON.stringify(textOf(reason, forwarded))},"data":{"reason":"${reason}","forwarded":${forwarded}}}}`
}

/** Exact JSON text of a message's id. */
function idText(message: Message): string {
  const id = message.rpcId
  return typeof id === 'object' && id !== null ? id.number : JSON.stringify(id ?? null)
}

export function refuse(reason: RefusalReason, asked: { readonly method: string; readonly batch: boolean; readonly messages: readonly Message[]; readonly forwarded: boolean }): Refusal {
  const requests = asked.messages.filter(message => message.type === 'request')
  const probe = requests.some(message => message.method === 'initialize' || message.method === 'server/discover')
  const errors = requests.map(message => rpcError(idText(message), reason, asked.forwarded))
  const single = errors[0]
  const body = asked.batch && errors.length > 0 ? `[${errors.join(',')}]` : (single ?? rpcError('null', reason, asked.forwarded))
  const status = reason === 'recording-impossible' && asked.method === 'POST' && errors.length > 0 && !probe ? 200 : 503
  const headers = ['Content-Type', 'application/json', 'Content-Length', String(Buffer.byteLength(body)), 'Cache-Control', 'no-store']
  if (status === 503) headers.push('Retry-After', String(RETRY_AFTER_S))
  return { status, headers, body }
}

/** The same as SSE events, for a stream that is already open. */
export function refusalEvents(reason: RefusalReason, unanswered: Iterable<Message>, forwarded: boolean): string {
  let events = ''
  for (const message of unanswered) events += `event: message\ndata: ${rpcError(idText(message), reason, forwarded)}\n\n`
  return events
}
