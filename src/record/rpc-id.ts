/** JSON-RPC ids as keys and as text. `1` and `"1"` are two ids; integers above 2^53 keep their digits. */

import type { RpcId } from './frame.ts'

/** Equal for equal ids of the same JSON type, and only for those. */
export function rpcIdKey(id: RpcId): string {
  if (id === null) return 'null'
  if (typeof id === 'string') return `s${id}`
  return `n${typeof id === 'number' ? id : id.number}`
}

/** As a person writes it. */
export function rpcIdText(id: RpcId): string {
  if (id === null) return 'null'
  return typeof id === 'object' ? id.number : String(id)
}
