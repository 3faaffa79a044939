/** A real MCP server of the official SDK that speaks both eras, on loopback. */

import { once } from 'node:events'
import { createServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { ReadableStream as NodeWebStream } from 'node:stream/web'

import { createMcpHandler, fromJsonSchema, inputRequired, McpServer } from '@modelcontextprotocol/server'

export interface DualEraServer {
  readonly url: string
  /** Tells every open subscription that the list of tools has changed. */
  toolsChanged(): void
  close(): Promise<void>
}

const STATE = 'opaque-state-of-the-server'
const schema = (properties: Record<string, object>, required: string[]) => fromJsonSchema({ type: 'object', properties, required })

/** Tools: `echo` {text}; `count` {to}, with progress; `fail`; `greet`, which asks the client for a name. */
function build(): McpServer {
  const server = new McpServer({ name: 'dual-era', version: '1.0.0' }, { capabilities: { tools: { listChanged: true } } })
  server.registerTool('echo', { description: 'says it again', inputSchema: schema({ text: { type: 'string' } }, ['text']) }, args => ({ content: [{ type: 'text', text: String((args as { text: unknown }).text) }] }))
  server.registerTool('count', { description: 'counts, with progress', inputSchema: schema({ to: { type: 'number' } }, ['to']) }, async (args, ctx) => {
    const to = Number((args as { to: unknown }).to)
    const progressToken = ctx.mcpReq._meta?.progressToken
    if (progressToken !== undefined) for (let progress = 1; progress <= to; progress++) await ctx.mcpReq.notify({ method: 'notifications/progress', params: { progressToken, progress, total: to } })
    return { content: [{ type: 'text', text: `counted to ${to}` }] }
  })
  server.registerTool('fail', { description: 'fails', inputSchema: schema({}, []) }, () => ({ isError: true, content: [{ type: 'text', text: 'failed, as asked' }] }))
  server.registerTool('greet', { description: 'asks for a name', inputSchema: schema({}, []) }, (_args, ctx) => {
    const answer = ctx.mcpReq.inputResponses?.['name'] as { content?: { name?: string } } | undefined
    if (answer === undefined) {
      return inputRequired({
        inputRequests: { name: inputRequired.elicit({ message: 'What is your name?', requestedSchema: { type: 'object', properties: { name: { type: 'string' } }, required: ['name'] } }) },
        requestState: STATE,
      })
    }
    return { content: [{ type: 'text', text: `hello ${answer.content?.name ?? 'nobody'}` }] }
  })
  return server
}

export async function startDualEraServer(): Promise<DualEraServer> {
  const handler = createMcpHandler(build)
  const serve = async (req: IncomingMessage, res: ServerResponse): Promise<void> => {
    const gone = new AbortController()
    res.once('close', () => gone.abort())
    const headers = new Headers()
    for (const [name, value] of Object.entries(req.headers)) for (const each of [value ?? []].flat()) headers.append(name, each)
    const body = req.method === 'POST' ? (Readable.toWeb(req) as unknown as ReadableStream) : null
    const response = await handler.fetch(new Request(`http://${req.headers.host}${req.url}`, { method: req.method ?? 'GET', headers, body, duplex: 'half', signal: gone.signal } as RequestInit))
    res.writeHead(response.status, Object.fromEntries(response.headers))
    res.flushHeaders()
    if (response.body === null) res.end()
    else await pipeline(Readable.fromWeb(response.body as NodeWebStream), res)
  }
  const server = createServer((req, res) => {
    serve(req, res).catch(() => res.destroy())
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`,
    toolsChanged: () => handler.notify.toolsChanged(),
    close: async () => {
      await handler.close()
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}
