/** One session of the official client: connects, lists, calls every tool, answers what it is asked, authorizes when it is told to. */

import { Client, StreamableHTTPClientTransport, UnauthorizedError } from '@modelcontextprotocol/client'
import type { OAuthClientProvider, Tool } from '@modelcontextprotocol/client'
import { createAgreeingProvider, machineProvider } from './provider.ts'
import type { AgreeingProvider, Context } from './provider.ts'

const MAX_AUTHORIZATIONS = 2

export interface SessionOptions {
  readonly url: string
  /** Of the suite. */
  readonly scenario: string
  /** The revision that the suite wants spoken. */
  readonly revision: string
  readonly context: Context
}

export async function runSession(options: SessionOptions): Promise<void> {
  const { scenario, context } = options
  const machine = machineProvider(scenario, context)
  const { client_id, client_secret, issuer } = context
  const user = createAgreeingProvider(scenario === 'auth/pre-registration' && client_id !== undefined ? { client_id, ...(client_secret === undefined ? {} : { client_secret }), ...(issuer === undefined ? {} : { issuer }) } : undefined)
  const authorization = { provider: machine ?? user, user }
  const { client, transport } = await connect(options, authorization)
  try {
    const agreeing = <T>(work: () => Promise<T>): Promise<T> => authorizing(work, () => transport, user)
    const { tools } = await agreeing(() => client.listTools())
    const calls = tools.map(tool => async () => await agreeing(() => client.callTool({ name: tool.name, arguments: argumentsFor(tool, tools, context) })))
    // At once, so that rounds of one call run beside the others. One that fails must not keep the others from being made.
    const done = await Promise.allSettled(calls.map(call => call()))
    const failed = done.find(each => each.status === 'rejected')
    if (failed !== undefined) throw failed.reason
  } finally {
    await client.close()
  }
}

async function connect({ url, revision }: SessionOptions, { provider, user }: { provider: OAuthClientProvider; user: AgreeingProvider }): Promise<{ client: Client; transport: StreamableHTTPClientTransport }> {
  let transport = new StreamableHTTPClientTransport(new URL(url), { authProvider: provider })
  const open = async (): Promise<Client> => {
    const client = new Client({ name: 'steno-conformance', version: '1.0.0' }, { capabilities: { elicitation: { form: { applyDefaults: true } } }, versionNegotiation: { mode: revision === '2026-07-28' ? 'auto' : 'legacy' } })
    client.setRequestHandler('elicitation/create', ({ params }) => ({ action: 'accept', content: 'requestedSchema' in params && 'confirmed' in params.requestedSchema.properties ? { confirmed: true } : {} }))
    await client.connect(transport)
    return client
  }
  const client = await authorizing(open, () => transport, user, () => (transport = new StreamableHTTPClientTransport(new URL(url), { authProvider: provider })))
  return { client, transport }
}

/** Does the work again after the user has agreed, a few times at most. */
async function authorizing<T>(work: () => Promise<T>, transport: () => StreamableHTTPClientTransport, user: AgreeingProvider, anew: () => void = () => {}): Promise<T> {
  for (let tries = 0; ; tries++) {
    try {
      return await work()
    } catch (error) {
      const callback = error instanceof UnauthorizedError || user.tokens() === undefined ? user.takeCallback() : undefined
      if (callback === undefined || tries === MAX_AUTHORIZATIONS) throw error
      await transport().finishAuth(callback)
      anew()
    }
  }
}

function argumentsFor(tool: Tool, tools: readonly Tool[], context: Context): Record<string, unknown> {
  const given = context['toolCalls']
  if (Array.isArray(given)) {
    const call: unknown = given.find((each: unknown) => typeof each === 'object' && each !== null && 'name' in each && each.name === tool.name)
    if (typeof call === 'object' && call !== null && 'arguments' in call && typeof call.arguments === 'object') return { ...call.arguments }
  }
  // Hands back the schema of another tool, as the client has read it.
  if (tool.name === 'json_schema_echo') return { schema: tools.find(({ name }) => name !== tool.name)?.inputSchema }
  const { properties = {} } = tool.inputSchema
  return Object.fromEntries(Object.entries(properties).map(([name, schema]) => [name, sample(typeof schema === 'object' && schema !== null && 'type' in schema ? schema['type'] : undefined)]))
}

function sample(type: unknown): unknown {
  if (type === 'number' || type === 'integer') return 5
  if (type === 'boolean') return true
  if (type === 'object') return {}
  if (type === 'array') return []
  return 'text'
}
