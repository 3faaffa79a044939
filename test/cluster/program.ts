/**
 * What runs in the pods of the scenario, in an image of its own that knows nothing of Steno.
 *
 *     serve PORT [SECONDS]     an MCP server; ends with 0 after so many seconds
 *     fetch URL                tries for a minute; ends with 0 when something answered
 *     connect HOST PORT        prints "open", or the error's code
 */

import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { get } from 'node:https'
import { connect } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { Server } from '@modelcontextprotocol/sdk/server/index.js'
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js'
import { CallToolRequestSchema, ListToolsRequestSchema } from '@modelcontextprotocol/sdk/types.js'

const CONNECT_MS = 3000
const FETCH_MS = 60_000

const transports = new Map<string, StreamableHTTPServerTransport>()

const TOOLS = ['answer', 'environment']

function newServer(): Server {
  const server = new Server({ name: 'scenario', version: '1.0.0' }, { capabilities: { tools: {} } })
  server.setRequestHandler(ListToolsRequestSchema, () => ({ tools: TOOLS.map(name => ({ name, inputSchema: { type: 'object' as const } })) }))
  server.setRequestHandler(CallToolRequestSchema, ({ params: { name, arguments: args = {} } }) => {
    // All that a program in this container could find.
    if (name === 'environment') return { content: [{ type: 'text', text: JSON.stringify(process.env) }] }
    return { content: [{ type: 'text', text: `answer-${String(args['id'])}` }] }
  })
  return server
}

async function answer(req: IncomingMessage, res: ServerResponse): Promise<void> {
  if (req.url !== '/mcp') {
    res.writeHead(req.url === '/healthz' ? 200 : 404).end()
    return
  }
  const id = req.headers['mcp-session-id']
  const known = typeof id === 'string' ? transports.get(id) : undefined
  if (known !== undefined) return await known.handleRequest(req, res)
  // Of a session that ended with the program before; the client then begins another.
  if (typeof id === 'string') {
    res.writeHead(404).end()
    return
  }
  // The SDK refuses what is no initialize.
  const transport: StreamableHTTPServerTransport = new StreamableHTTPServerTransport({
    sessionIdGenerator: () => randomUUID(),
    onsessioninitialized: session => void transports.set(session, transport),
  })
  await newServer().connect(transport as Parameters<Server['connect']>[0])
  await transport.handleRequest(req, res)
}

async function serve(port: number, seconds: number): Promise<void> {
  const server = createServer((req, res) => {
    answer(req, res).catch(() => res.destroy())
  })
  server.listen(port)
  await once(server, 'listening')
  console.log(`listening on ${port}`)
  const stop = (): void => process.exit(0)
  process.on('SIGTERM', stop)
  if (seconds > 0) setTimeout(stop, seconds * 1000)
}

/** The certificate does not matter: that something answers does. */
async function fetchOnce(url: string): Promise<number | undefined> {
  return await new Promise(resolve => {
    get(url, { rejectUnauthorized: false, timeout: CONNECT_MS }, res => {
      res.resume()
      resolve(res.statusCode)
    }).on('error', () => resolve(undefined))
  })
}

async function fetchUntilAnswered(url: string): Promise<void> {
  const deadline = Date.now() + FETCH_MS
  for (;;) {
    const status = await fetchOnce(url)
    if (status !== undefined) return console.log(status)
    if (Date.now() > deadline) process.exit(1)
    await wait(200)
  }
}

async function tryConnection(host: string, port: number): Promise<string> {
  return await new Promise(resolve => {
    const socket = connect({ host, port, timeout: CONNECT_MS })
    const say = (what: string): void => {
      socket.destroy()
      resolve(what)
    }
    socket.on('connect', () => say('open'))
    socket.on('timeout', () => say('ETIMEDOUT'))
    socket.on('error', error => say('code' in error ? String(error.code) : error.message))
  })
}

const [command = '', first = '', second = ''] = process.argv.slice(2)
if (command === 'serve') await serve(Number(first), Number(second))
else if (command === 'fetch') await fetchUntilAnswered(first)
else if (command === 'connect') console.log(await tryConnection(first, Number(second)))
else throw new Error('serve, fetch or connect')
