/** A real MCP server of the official SDK that speaks both eras, on loopback. */

import { createMcpHandler, fromJsonSchema, inputRequired, McpServer } from '@modelcontextprotocol/server'

import { serveFetch } from './fetch-server.ts'

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
  const server = await serveFetch(request => handler.fetch(request))
  return {
    url: server.url,
    toolsChanged: () => handler.notify.toolsChanged(),
    close: async () => {
      await handler.close()
      await server.close()
    },
  }
}
