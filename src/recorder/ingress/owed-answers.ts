/**
 * JSON-RPC requests of one exchange whose answers the client has not been given: not come yet, or come but not released.
 * Whoever has to end the exchange early owes each of them an error.
 */

import type { Message } from '../../record/jsonrpc.ts'

/** More requests than this in one exchange are forwarded all the same, but no error is made up for them. */
const MAX_REQUESTS = 10_000

export class OwedAnswers {
  readonly #open = new Map<number | string, Message>()
  /** Oldest first. */
  readonly #unreleased: Message[] = []
  #released = 0

  asked(request: Message): void {
    if (this.#open.size < MAX_REQUESTS) this.#open.set(keyOf(request), request)
  }

  /** An answer came. @returns the request that it answers, undefined when there is none */
  answered(response: Message): Message | undefined {
    const id = keyOf(response)
    const request = this.#open.get(id)
    if (request === undefined) return undefined
    this.#open.delete(id)
    this.#unreleased.push(request)
    return request
  }

  /** Count of answers so far; given to `releasedTo` when all that had come by now is out. */
  get mark(): number {
    return this.#released + this.#unreleased.length
  }

  releasedTo(mark: number): void {
    if (mark <= this.#released) return
    this.#unreleased.splice(0, mark - this.#released)
    this.#released = mark
  }

  all(): readonly Message[] {
    return [...this.#unreleased, ...this.#open.values()]
  }

  /** Nobody waits. A subscription (2026-07-28) is answered only when its stream ends, so it does not count. */
  get none(): boolean {
    if (this.#unreleased.length > 0) return false
    for (const request of this.#open.values()) if (request.method !== 'subscriptions/listen') return false
    return true
  }
}

/** Number, or JSON text, of an id: so 1 and "1" differ. */
function keyOf({ rpcId }: Message): number | string {
  return typeof rpcId === 'number' ? rpcId : JSON.stringify(rpcId)
}
