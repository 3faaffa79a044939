/** Serves what answers `fetch` requests, as the official SDK's handlers do, over a real HTTP server on loopback. */

import { once } from 'node:events'
import { createServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { ReadableStream as NodeWebStream } from 'node:stream/web'

export interface FetchServer {
  readonly url: string
  close(): Promise<void>
}

/** @param answer its request's signal tells when the client has gone */
export async function serveFetch(answer: (request: Request) => Promise<Response>, port = 0): Promise<FetchServer> {
  const serve = async (req: IncomingMessage, res: ServerResponse): Promise<void> => {
    const gone = new AbortController()
    res.once('close', () => gone.abort())
    const headers = new Headers()
    for (const [name, value] of Object.entries(req.headers)) for (const each of [value ?? []].flat()) headers.append(name, each)
    const body = req.method === 'POST' ? (Readable.toWeb(req) as unknown as ReadableStream) : null
    const response = await answer(new Request(`http://${req.headers.host}${req.url}`, { method: req.method ?? 'GET', headers, body, duplex: 'half', signal: gone.signal } as RequestInit))
    res.writeHead(response.status, Object.fromEntries(response.headers))
    res.flushHeaders()
    if (response.body === null) res.end()
    else await pipeline(Readable.fromWeb(response.body as NodeWebStream), res)
  }
  const server = createServer((req, res) => {
    serve(req, res).catch(() => res.destroy())
  }).listen(port, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`,
    close: async () => {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}
