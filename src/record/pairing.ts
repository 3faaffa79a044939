/**
 * Which answer belongs to which request: by exchange, sender and typed id; and over the exchanges of one session where the answer
 * travels on another connection (requests of the server, HTTP+SSE, resumed streams). Never by order, never by the id alone.
 */

import type { Frame, RpcId, Side } from './frame.ts'
import { UNGROUPED } from './recording.ts'
import { rpcIdKey } from './rpc-id.ts'

export interface Pairable {
  readonly frame: Frame
  readonly type?: 'request' | 'response' | 'notification'
  readonly from?: Side
  readonly rpcId?: RpcId
}

export class Pairing<T extends Pairable> {
  // Requests without an answer yet, oldest first. One stands in both maps.
  readonly #byExchange = new Map<string, T[]>()
  readonly #bySession = new Map<string, T[]>()

  addRequest(request: T): void {
    const keys = keysOf(request, request.from)
    if (keys === undefined) return
    push(this.#byExchange, keys.exchange, request)
    if (keys.session !== undefined) push(this.#bySession, keys.session, request)
  }

  /** The request that this answers, taken out so that it is answered once. */
  takeRequest(response: T): T | undefined {
    const keys = keysOf(response, response.from === 'client' ? 'server' : 'client')
    if (keys === undefined) return undefined
    const request = this.#byExchange.get(keys.exchange)?.[0] ?? (keys.session === undefined ? undefined : this.#bySession.get(keys.session)?.[0])
    if (request !== undefined) this.#remove(request)
    return request
  }

  #remove(request: T): void {
    const keys = keysOf(request, request.from)
    if (keys === undefined) return
    drop(this.#byExchange, keys.exchange, request)
    if (keys.session !== undefined) drop(this.#bySession, keys.session, request)
  }
}

function keysOf(row: Pairable, sender: Side | undefined): { exchange: string; session?: string } | undefined {
  // An answer with id null names no request.
  if (row.rpcId === undefined || row.rpcId === null || sender === undefined) return undefined
  const id = `${sender} ${rpcIdKey(row.rpcId)}`
  const { writer, exchange, session } = row.frame
  const keys = { exchange: `${writer} ${exchange ?? ''} ${id}` }
  // Callers that nothing groups are many: their ids say nothing across exchanges.
  return session === undefined || session === UNGROUPED ? keys : { ...keys, session: `${session} ${id}` }
}

function push<T>(map: Map<string, T[]>, key: string, value: T): void {
  const list = map.get(key)
  if (list === undefined) map.set(key, [value])
  else list.push(value)
}

function drop<T>(map: Map<string, T[]>, key: string, value: T): void {
  const list = map.get(key)
  if (list === undefined) return
  const at = list.indexOf(value)
  if (at >= 0) list.splice(at, 1)
  if (list.length === 0) map.delete(key)
}
