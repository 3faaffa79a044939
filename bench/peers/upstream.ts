/**
 * The MCP server behind every peer: answers a tools/call at once, so that what is measured is the way there and back.
 * `json` gives about 1 KB of JSON, `sse` the same as one event of a stream, `events` a stream of 10,000 small events.
 */

import { createServer } from 'node:http'
import type { ServerResponse } from 'node:http'
import { serveBelowParent } from '../support/ready.ts'

const EVENTS = 10_000
/** Events that are written in one go, as a busy server would. */
const BURST = 20
const TEXT = 'The quick brown fox jumps over the lazy dog. '.repeat(20)
const RESULT = `"result":{"content":[{"type":"text","text":${JSON.stringify(TEXT)}}],"isError":false}}`
const ID = /"id":(\d+)/

const server = createServer({ noDelay: true }, (req, res) => {
  const chunks: Buffer[] = []
  req.on('data', (chunk: Buffer) => chunks.push(chunk))
  req.on('end', () => {
    const body = chunks.length === 1 && chunks[0] !== undefined ? chunks[0].toString('latin1') : Buffer.concat(chunks).toString('latin1')
    const answer = `{"jsonrpc":"2.0","id":${ID.exec(body)?.[1] ?? '0'},${RESULT}`
    if (body.includes('"name":"json"')) {
      res.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': answer.length })
      res.end(answer)
      return
    }
    res.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' })
    if (body.includes('"name":"sse"')) res.end(`event: message\ndata: ${answer}\n\n`)
    else void stream(res, answer)
  })
})

async function stream(res: ServerResponse, answer: string): Promise<void> {
  for (let i = 0; i < EVENTS && !res.destroyed; i += BURST) {
    res.cork()
    let room = true
    for (let k = i; k < i + BURST; k++) room = res.write(`id: ${k}\ndata: {"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":${k}}}\n\n`)
    res.uncork()
    if (!room) await new Promise<void>(go => res.once('drain', go).once('close', go))
  }
  res.end(`event: message\ndata: ${answer}\n\n`)
}

serveBelowParent(server)
