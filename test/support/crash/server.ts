/** The MCP server behind the recorder, on a real socket. It keeps a journal of every request that came whole. */

import type { ServerResponse } from 'node:http'
import { setImmediate as nextTurn } from 'node:timers/promises'

import { bodyOf, httpUpstream } from '../recorder.ts'
import type { Upstream } from '../recorder.ts'
import { textOf } from './calls.ts'
import type { Wish } from './calls.ts'
import { digest } from './journal.ts'
import type { Journal } from './journal.ts'

interface Request {
  readonly id: string
  readonly params: { readonly arguments: Wish }
}

export async function startServer(journal: Journal): Promise<Upstream> {
  return await httpUpstream((req, res) => {
    res.on('error', () => {})
    // A client that is killed with the recorder leaves half a request: that one was never received.
    bodyOf(req)
      .then(body => answer(body.toString(), res, journal))
      .catch(() => res.destroy())
  })
}

async function answer(body: string, res: ServerResponse, journal: Journal): Promise<void> {
  const parsed = JSON.parse(body) as Request | readonly Request[]
  const requests = Array.isArray(parsed) ? (parsed as readonly Request[]) : [parsed as Request]
  const [first] = requests
  if (first === undefined) throw new Error('an empty batch')
  const messages = Array.isArray(parsed) ? requests.map(each => JSON.stringify(each)) : [body]
  journal.add({ by: 'server', did: 'received', call: first.id, messages: messages.map(digest) })
  const answers = requests.map(answerTo)
  const { answer: kind, events } = first.params.arguments
  if (kind === 'json') {
    res.writeHead(200, { 'Content-Type': 'application/json' }).end(Array.isArray(parsed) ? `[${answers.join(',')}]` : answers[0])
    return
  }
  res.writeHead(200, { 'Content-Type': 'text/event-stream' })
  for (let at = 0; at < events; at++) {
    if (at % 3 === 1) res.write(': still here\n\n')
    const notification = JSON.stringify({ jsonrpc: '2.0', method: 'notifications/progress', params: { progressToken: first.id, progress: at, message: textOf(first.id, 20 * at) } })
    res.write(`id: ${first.id}/${at}\nevent: message\ndata: ${notification}\n\n`)
    if (at % 2 === 0) await nextTurn()
  }
  res.end(`id: ${first.id}/${events}\ndata: ${answers[0]}\n\n`)
}

function answerTo({ id, params }: Request): string {
  return JSON.stringify({ jsonrpc: '2.0', id, result: { content: [{ type: 'text', text: textOf(id, params.arguments.size) }] } })
}
