/** The MCP server of the soak, on a real socket: answers at once, and holds one stream that is quiet for as long as it is told. */

import { setTimeout as wait } from 'node:timers/promises'

import { bodyOf, httpUpstream } from '../recorder.ts'
import type { Upstream } from '../recorder.ts'

const TEXT = 'The quick brown fox jumps over the lazy dog. '.repeat(20)
export const BEFORE_THE_PAUSE = '{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"before the pause"}}'
export const AFTER_THE_PAUSE = '{"jsonrpc":"2.0","id":"quiet","result":{"content":[{"type":"text","text":"after the pause"}]}}'

/** Tools: `json` and `sse` answer with about 1 KB, `quiet` after a pause of `quietMs`. */
export async function startSoakServer(quietMs: number): Promise<Upstream> {
  return await httpUpstream((req, res) => {
    res.on('error', () => {})
    void bodyOf(req).then(async body => {
      const text = body.toString('latin1')
      if (text.includes('"name":"quiet"')) {
        res.writeHead(200, { 'Content-Type': 'text/event-stream' }).write(`data: ${BEFORE_THE_PAUSE}\n\n`)
        await wait(quietMs, undefined, { ref: false })
        res.end(`data: ${AFTER_THE_PAUSE}\n\n`)
        return
      }
      const answer = `{"jsonrpc":"2.0","id":${/"id":(\d+)/.exec(text)?.[1] ?? '0'},"result":{"content":[{"type":"text","text":${JSON.stringify(TEXT)}}]}}`
      if (text.includes('"name":"sse"')) res.writeHead(200, { 'Content-Type': 'text/event-stream' }).end(`event: message\ndata: ${answer}\n\n`)
      else res.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': answer.length }).end(answer)
    }, () => res.destroy())
  })
}
