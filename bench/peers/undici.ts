/** The leanest pass-through: `node:http` in, `undici` out, nothing recorded. Argument: the upstream origin. */

import { createServer } from 'node:http'
import { Pool } from 'undici'
import { serveBelowParent } from '../support/ready.ts'

const pool = new Pool(process.argv[2] ?? '', { pipelining: 1, headersTimeout: 0, bodyTimeout: 0 })
const HOP_BY_HOP = new Set(['connection', 'keep-alive', 'transfer-encoding'])

function endToEnd(raw: readonly string[]): string[] {
  const kept: string[] = []
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i] ?? ''
    if (!HOP_BY_HOP.has(name.toLowerCase())) kept.push(name, raw[i + 1] ?? '')
  }
  return kept
}

const server = createServer({ noDelay: true }, (req, res) => {
  const chunks: Buffer[] = []
  req.on('data', (chunk: Buffer) => chunks.push(chunk))
  req.on('end', () => {
    pool.dispatch(
      { path: req.url ?? '/', method: 'POST', headers: endToEnd(req.rawHeaders), body: chunks.length === 1 ? (chunks[0] ?? null) : Buffer.concat(chunks) },
      {
        onRequestStart: () => {},
        onResponseStart: (from, status) => {
          const raw = (from as unknown as { readonly rawHeaders: readonly Buffer[] }).rawHeaders.map(each => each.toString('latin1'))
          res.writeHead(status, endToEnd(raw))
        },
        onResponseData: (from, chunk) => {
          if (res.write(chunk)) return
          from.pause()
          res.once('drain', () => from.resume())
        },
        onResponseEnd: () => res.end(),
        onResponseError: () => res.destroy(),
      },
    )
  })
})
server.on('connection', socket => socket.setNoDelay(true))
serveBelowParent(server)
