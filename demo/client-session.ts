/** One client session with the official SDK: a little of everything that a recording should show. */

import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { CallToolResultSchema, CreateMessageRequestSchema } from '@modelcontextprotocol/sdk/types.js'

/** Says what it does, line by line; rejects when an answer is not what the server is known to give. */
export async function runClientSession(url: string, say: (line: string) => void, signal: AbortSignal): Promise<void> {
  const client = new Client({ name: 'steno-demo', version: '1.0.0' }, { capabilities: { sampling: {} } })
  let asked = 0
  client.setRequestHandler(CreateMessageRequestSchema, () => {
    asked++
    return { model: 'none', role: 'assistant', content: { type: 'text', text: 'Paris.' } }
  })
  const transport = new StreamableHTTPClientTransport(new URL(url))
  const onAbort = (): void => void client.close()
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    // The SDK's transport declares its optional fields otherwise than exactOptionalPropertyTypes reads them.
    await client.connect(transport as Parameters<Client['connect']>[0])
    const { tools } = await client.listTools()
    say(`tools/list: ${tools.length} tools`)

    const call = async (name: string, args: Record<string, unknown>, onprogress?: () => void) =>
      CallToolResultSchema.parse(await client.callTool({ name, arguments: args }, undefined, onprogress === undefined ? {} : { onprogress }))

    const sum = await call('get-sum', { a: 2, b: 40 })
    say(`tools/call get-sum: ${textOf(sum.content)}`)

    let progress = 0
    await call('trigger-long-running-operation', { duration: 1, steps: 4 }, () => progress++)
    say(`tools/call trigger-long-running-operation: ${progress} progress notifications`)

    const failed = await call('get-sum', { a: 'two', b: 40 })
    expected(failed.isError === true, 'a call with a wrong argument fails')
    say('tools/call get-sum with a wrong argument: fails, as it should')

    const image = await call('get-tiny-image', {})
    expected(image.content.some(({ type }) => type === 'image'), 'get-tiny-image answers with an image')
    say('tools/call get-tiny-image: an image')

    await call('trigger-sampling-request', { prompt: 'What is the capital of France?', maxTokens: 20 })
    expected(asked === 1, 'the server asks the client for a sample')
    say('tools/call trigger-sampling-request: the server asked the client back')

    const { contents } = await client.readResource({ uri: 'demo://resource/dynamic/text/1' })
    say(`resources/read: ${contents.length} content`)

    await transport.terminateSession()
  } finally {
    signal.removeEventListener('abort', onAbort)
    await client.close()
  }
}

function textOf(content: readonly { readonly type: string; readonly text?: unknown }[]): string {
  return content.map(({ text }) => (typeof text === 'string' ? text : '')).join('')
}

function expected(holds: boolean, what: string): void {
  if (!holds) throw new Error(`the demonstration expected that ${what}`)
}
