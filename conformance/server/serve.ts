/** The fixture: both eras at one endpoint, on the official SDK, with everything that the suite asks for by name. */

import { randomUUID } from 'node:crypto'
import { classifyInboundRequest, createMcpHandler, isInitializeRequest, localhostAllowedHostnames, localhostAllowedOrigins, McpServer, validateHostHeader, validateOriginHeader, WebStandardStreamableHTTPServerTransport } from '@modelcontextprotocol/server'
import type { ServerNotifier } from '@modelcontextprotocol/server'
import { serveFetch } from '../../test/support/fetch-server.ts'
import type { FetchServer } from '../../test/support/fetch-server.ts'
import { createEventStore } from './event-store.ts'
import { addPrompts, addResources } from './prompts-and-resources.ts'
import { addRounds, createRoundState } from './rounds.ts'
import { addTools } from './tools.ts'

const RETRY_MS = 500

/** @param port 0: any free one */
export async function startFixture(port = 0): Promise<FetchServer> {
  const states = createRoundState()
  const build = (notifier: ServerNotifier): McpServer => {
    const listChanged = { listChanged: true }
    const server = new McpServer(
      { name: 'conformance-fixture', version: '1.0.0' },
      { capabilities: { tools: listChanged, prompts: listChanged, resources: { ...listChanged, subscribe: true }, logging: {}, completions: {} }, requestState: { verify: states.verify } },
    )
    addTools(server, notifier)
    addRounds(server, states)
    addPrompts(server)
    addResources(server)
    return server
  }
  const modern = createMcpHandler(() => build(modern.notify))
  const sessions = new Map<string, WebStandardStreamableHTTPServerTransport>()

  const openSession = async (): Promise<WebStandardStreamableHTTPServerTransport> => {
    const transport = new WebStandardStreamableHTTPServerTransport({
      sessionIdGenerator: randomUUID,
      eventStore: createEventStore(),
      retryInterval: RETRY_MS,
      onsessioninitialized: id => void sessions.set(id, transport),
      onsessionclosed: id => void sessions.delete(id),
    })
    await build(modern.notify).connect(transport)
    return transport
  }
  const answer = async (request: Request): Promise<Response> => {
    const { headers, method, url } = request
    if (new URL(url).pathname !== '/mcp') return problem(404, -32000, 'Not Found')
    const host = validateHostHeader(headers.get('host'), localhostAllowedHostnames())
    if (!host.ok) return problem(403, -32000, host.message)
    const origin = validateOriginHeader(headers.get('origin'), localhostAllowedOrigins())
    if (!origin.ok) return problem(403, -32000, origin.message)
    const body = method === 'POST' ? parsed(await request.clone().text()) : undefined
    const version = headers.get('mcp-protocol-version')
    const named = headers.get('mcp-method')
    const era = classifyInboundRequest({ httpMethod: method, ...(version === null ? {} : { protocolVersionHeader: version }), ...(named === null ? {} : { mcpMethodHeader: named }), body })
    if (era.kind !== 'legacy') return await modern.fetch(request)
    const id = headers.get('mcp-session-id')
    if (id === null) return isInitializeRequest(body) ? await (await openSession()).handleRequest(request) : problem(400, -32000, 'Bad Request: no session id')
    const session = sessions.get(id)
    return session === undefined ? problem(404, -32001, 'Session not found') : await session.handleRequest(request)
  }
  const server = await serveFetch(answer, port)
  return {
    url: server.url,
    close: async () => {
      await modern.close()
      for (const session of sessions.values()) await session.close()
      await server.close()
    },
  }
}

function parsed(body: string): unknown {
  try {
    return JSON.parse(body)
  } catch {
    return undefined
  }
}

function problem(status: number, code: number, message: string): Response {
  return Response.json({ jsonrpc: '2.0', error: { code, message }, id: null }, { status })
}
