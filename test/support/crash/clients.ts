/** Clients that call until the recorder is gone, and keep a journal of all that they received whole. */

import { once } from 'node:events'
import { Agent, request } from 'node:http'
import type { IncomingMessage } from 'node:http'
import { setTimeout as wait } from 'node:timers/promises'

import { drawCall } from './calls.ts'
import type { Call } from './calls.ts'
import { digest } from './journal.ts'
import type { Journal } from './journal.ts'
import type { Random } from './random.ts'

const CLIENTS = 16

export interface LoadOptions {
  /** How many; 16 without it. */
  readonly clients?: number
  /** ms that a client thinks before a call; none without it. */
  readonly thinkMs?: () => number
  /** Their calls; those of every kind without it. */
  readonly draw?: typeof drawCall
  /** They go on whatever becomes of a call, and end after the one that they are at then. */
  readonly signal?: AbortSignal
  /** Their `Mcp-Session-Id`, if any. */
  readonly session?: string
  readonly url: string
  readonly journal: Journal
  readonly random: Random
  readonly life: number
  readonly nextCall: () => number
  /** A whole answer came. */
  readonly onAnswer: () => void
}

/** Resolves when every client has lost its connection, or was told to end. Rejects when an answer comes that no kill explains. */
export async function runClients(options: LoadOptions): Promise<void> {
  const agent = new Agent({ keepAlive: true })
  try {
    await Promise.all(Array.from({ length: options.clients ?? CLIENTS }, () => runClient(options, agent)))
  } finally {
    agent.destroy()
  }
}

async function runClient(options: LoadOptions, agent: Agent): Promise<void> {
  const { journal, random, life, nextCall, onAnswer, thinkMs } = options
  while (options.signal?.aborted !== true) {
    if (thinkMs !== undefined) await wait(thinkMs())
    const call = (options.draw ?? drawCall)(random, nextCall())
    journal.add({ by: 'client', did: 'sent', life, call: call.name })
    try {
      await makeCall(options, agent, call)
    } catch (error) {
      if (options.signal !== undefined) continue
      if (error instanceof UnexpectedAnswer) throw error
      return
    }
    onAnswer()
  }
}

/** Not the recorder's end, but something that it said. */
class UnexpectedAnswer extends Error {}

async function makeCall({ url, journal, session }: LoadOptions, agent: Agent, call: Call): Promise<void> {
  const outgoing = request(url, { method: 'POST', agent, headers: { 'Content-Type': 'application/json', Accept: 'application/json, text/event-stream', 'Content-Length': Buffer.byteLength(call.body), ...(session === undefined ? {} : { 'Mcp-Session-Id': session }) } })
  outgoing.end(call.body)
  const [answer] = (await once(outgoing, 'response')) as [IncomingMessage]
  const streams = answer.headers['content-type'] === 'text/event-stream'
  let text = ''
  let events = 0
  answer.setEncoding('utf8')
  for await (const piece of answer) {
    text += piece as string
    if (!streams) continue
    const blocks = text.split('\n\n')
    text = blocks.pop() ?? ''
    for (const block of blocks) {
      const id = /^id: (.*)$/m.exec(block)?.[1]
      const data = /^data: (.*)$/m.exec(block)?.[1]
      if (id !== undefined && data !== undefined) journal.add({ by: 'client', did: 'event', call: call.name, index: events++, id, message: digest(data) })
    }
  }
  if (answer.statusCode !== 200) throw new UnexpectedAnswer(`${call.name} was answered with ${answer.statusCode}: ${text.slice(0, 500)}`)
  if (streams) return
  const messages = call.body.startsWith('[') ? (JSON.parse(text) as readonly object[]).map(each => JSON.stringify(each)) : [text]
  if (call.body.startsWith('[') && `[${messages.join(',')}]` !== text) throw new UnexpectedAnswer(`${call.name} was answered with other bytes than the server sent`)
  journal.add({ by: 'client', did: 'answered', call: call.name, messages: messages.map(digest) })
}
