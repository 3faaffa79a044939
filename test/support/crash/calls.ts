/** The calls that clients make and how the server answers them: JSON, streams of events, batches, large bodies. */

import type { Random } from './random.ts'

/** What a call asks the server to do. */
export interface Wish {
  readonly answer: 'json' | 'events'
  /** Characters of the answer's text. */
  readonly size: number
  /** Notifications before the answer, of a stream. */
  readonly events: number
}

export interface Call {
  /** Its first JSON-RPC id. */
  readonly name: string
  /** One message each; more than one make a batch. */
  readonly messages: readonly string[]
  readonly body: string
}

const TEXT = 'grüße 𝄞 "quoted" \\ back '

/** Text of so many characters, not the same for every call. */
export function textOf(name: string, size: number): string {
  return `${name} ${TEXT.repeat(Math.ceil(size / TEXT.length))}`.slice(0, Math.max(size, name.length))
}

function message(name: string, wish: Wish, blob: string): string {
  return JSON.stringify({ jsonrpc: '2.0', id: name, method: 'tools/call', params: { name: 'echo', arguments: { ...wish, blob } } })
}

/** A call that is answered with a little JSON. */
export function callWith(name: string, blob: string): Call {
  const only = message(name, { answer: 'json', size: 100, events: 0 }, blob)
  return { name, messages: [only], body: only }
}

export function drawCall(random: Random, number: number): Call {
  const name = `call-${number}`
  const kind = random.next()
  const one = (wish: Wish, blobSize: number): Call => {
    const only = message(name, wish, textOf(name, blobSize))
    return { name, messages: [only], body: only }
  }
  if (kind < 0.4) return one({ answer: 'json', size: random.below(3_000), events: 0 }, random.below(500))
  if (kind < 0.7) return one({ answer: 'events', size: random.below(3_000), events: random.below(12) }, random.below(500))
  if (kind < 0.86) {
    const messages = Array.from({ length: 1 + random.below(6) }, (_, at) => message(at === 0 ? name : `${name}.${at}`, { answer: 'json', size: random.below(800), events: 0 }, textOf(name, random.below(200))))
    return { name, messages, body: `[${messages.join(',')}]` }
  }
  // Past 1 MiB a body is recorded in parts, as it comes.
  if (kind < 0.93) return one({ answer: 'json', size: random.below(random.chance(0.3) ? 1_600_000 : 300_000), events: 0 }, 10)
  if (kind < 0.98) return one({ answer: 'json', size: 100, events: 0 }, random.below(random.chance(0.3) ? 1_600_000 : 300_000))
  return one({ answer: 'events', size: random.below(250_000), events: 3 }, 10)
}
