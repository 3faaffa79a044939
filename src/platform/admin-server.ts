/**
 * The admin port: `/livez`, `/readyz`, `/metrics`. Holds no secret; still, it listens where it is told to and nowhere else.
 * It answers about the process only: `/livez` says that the event loop turns, `/readyz` whether a client would be served and recorded.
 */

import { createServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Address } from './address.ts'
import { listen } from './listen.ts'

export interface AdminServer {
  /** Rejects with `listen.failed`. */
  start(): Promise<{ readonly port: number }>
  stop(): Promise<void>
}

export interface AdminOptions {
  readonly listen: Address
  readonly metrics: { text(): Promise<string>; readonly contentType: string }
  /** `reason` is shown whether ready or not. */
  readonly ready: () => { readonly ready: boolean; readonly reason?: string }
}

export function createAdminServer(options: AdminOptions): AdminServer {
  const answer = async (req: IncomingMessage, res: ServerResponse): Promise<void> => {
    const send = (status: number, text: string, type = 'text/plain; charset=utf-8'): void => {
      res.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(text), 'cache-control': 'no-store' })
      res.end(req.method === 'HEAD' ? undefined : text)
    }
    if (req.method !== 'GET' && req.method !== 'HEAD') {
      res.setHeader('allow', 'GET, HEAD')
      send(405, 'only GET and HEAD\n')
      return
    }
    switch ((req.url ?? '/').split('?')[0]) {
      case '/livez':
        send(200, 'ok\n')
        return
      case '/readyz': {
        const { ready, reason } = options.ready()
        send(ready ? 200 : 503, `${reason ?? 'ok'}\n`)
        return
      }
      case '/metrics':
        send(200, await options.metrics.text(), options.metrics.contentType)
        return
      default:
        send(404, 'try /livez, /readyz or /metrics\n')
    }
  }
  const server = createServer((req, res) => {
    answer(req, res).catch(() => res.destroy())
  })
  return {
    start: async () => ({ port: await listen(server, options.listen, '--admin') }),
    stop: () =>
      new Promise(resolve => {
        if (!server.listening) {
          resolve()
          return
        }
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
