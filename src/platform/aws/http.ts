/** One HTTP request to AWS: bounded in time and size, over connections that are kept. */

import type { Agent, IncomingMessage, RequestOptions } from 'node:http'
import { hostOf } from '../address.ts'

export interface AwsAnswer {
  readonly status: number
  readonly headers: IncomingMessage['headers']
  readonly body: string
}

export interface AwsHttp {
  /** Rejects with what the connection says, or the signal's reason. */
  post(url: URL, headers: Readonly<Record<string, string>>, body: Uint8Array, signal: AbortSignal): Promise<AwsAnswer>
  close(): void
}

const CONNECT_MS = 3_000
/** Until the answer is whole. */
const CALL_MS = 20_000
const MAX_SOCKETS = 8
const MAX_ANSWER_BYTES = 1024 * 1024

interface HttpModule {
  readonly Agent: new (options: { readonly keepAlive: boolean; readonly maxSockets: number }) => Agent
  request(options: RequestOptions, onResponse: (response: IncomingMessage) => void): import('node:http').ClientRequest
}

export function createAwsHttp(): AwsHttp {
  const agents = new Map<string, Agent>()
  const modules = new Map<string, Promise<HttpModule>>()
  // Only the one that is used: TLS costs memory. And once: an import takes a tenth of a millisecond even of what is loaded.
  const moduleOf = (protocol: string): Promise<HttpModule> => {
    const known = modules.get(protocol) ?? (protocol === 'https:' ? import('node:https') : import('node:http'))
    modules.set(protocol, known)
    return known
  }

  return {
    post: async (url, headers, body, signal) => {
      const http = await moduleOf(url.protocol)
      const agent = agents.get(url.protocol) ?? new http.Agent({ keepAlive: true, maxSockets: MAX_SOCKETS })
      agents.set(url.protocol, agent)
      const limited = AbortSignal.any([signal, AbortSignal.timeout(CALL_MS)])
      return await new Promise((resolve, reject) => {
        const options = { protocol: url.protocol, hostname: hostOf(url), port: url.port, path: url.pathname, method: 'POST', headers: { ...headers, 'content-length': body.length }, agent, signal: limited }
        // Of an abort Node tells no more than that there was one.
        const refuse = (error: Error): void => reject(limited.aborted ? limited.reason : error)
        const request = http.request(options, response => {
          const chunks: Buffer[] = []
          let bytes = 0
          response.on('data', (chunk: Buffer) => {
            chunks.push(chunk)
            bytes += chunk.length
            if (bytes > MAX_ANSWER_BYTES) response.destroy(new Error('the answer is too long'))
          })
          response.on('error', refuse)
          response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks).toString('utf8') }))
        })
        const connecting = setTimeout(() => request.destroy(Object.assign(new Error('no connection'), { code: 'ETIMEDOUT' })), CONNECT_MS)
        request.on('socket', socket => {
          const connected = (): void => clearTimeout(connecting)
          if (socket.connecting) socket.once(url.protocol === 'https:' ? 'secureConnect' : 'connect', connected)
          else connected()
        })
        request.on('close', () => clearTimeout(connecting))
        request.on('error', refuse)
        request.end(body)
      })
    },
    close: () => {
      for (const agent of agents.values()) agent.destroy()
    },
  }
}
