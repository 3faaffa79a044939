/** The tools that the suite calls by name, and that answer within one call. */

import { setTimeout as wait } from 'node:timers/promises'
import { fromJsonSchema } from '@modelcontextprotocol/server'
import type { CallToolResult, McpServer, ServerContext, ServerNotifier } from '@modelcontextprotocol/server'
import { audio, embedded, image, text } from './content.ts'

const STEP_MS = 50
const RECONNECT_MS = 100

type Properties = Record<string, object>
const input = (properties: Properties = {}) => fromJsonSchema<Record<string, unknown>>({ type: 'object', properties })
const says = (value: string): CallToolResult => ({ content: [text(value)] })

/** @param notifier publishes to the subscriptions of the modern era */
export function addTools(server: McpServer, notifier: ServerNotifier): void {
  const add = (name: string, description: string, run: (args: Record<string, unknown>, ctx: ServerContext) => CallToolResult | Promise<CallToolResult>, properties: Properties = {}): void => {
    server.registerTool(name, { description, inputSchema: input(properties) }, run)
  }
  add('test_simple_text', 'answers with text', () => says('This is a simple text response for testing.'))
  add('test_image_content', 'answers with an image', () => ({ content: [image] }))
  add('test_audio_content', 'answers with audio', () => ({ content: [audio] }))
  add('test_embedded_resource', 'answers with a resource', () => ({ content: [embedded('test://embedded-resource', 'This is an embedded resource content.')] }))
  add('test_multiple_content_types', 'answers with text, an image and a resource', () => ({ content: [text('Multiple content types test:'), image, embedded('test://mixed-content-resource', '{"test":"data","value":123}', 'application/json')] }))
  add('test_error_handling', 'fails', () => {
    throw new Error('This tool intentionally returns an error for testing')
  })
  add('test_tool_with_logging', 'logs three times', async (_args, ctx) => {
    for (const data of ['Tool execution started', 'Tool processing data', 'Tool execution completed']) {
      await ctx.mcpReq.notify({ method: 'notifications/message', params: { level: 'info', data } })
      await wait(STEP_MS)
    }
    return says('Tool with logging executed successfully')
  })
  add('test_tool_with_progress', 'tells its progress three times', async (_args, ctx) => {
    const progressToken = ctx.mcpReq._meta?.progressToken
    for (const progress of progressToken === undefined ? [] : [0, 50, 100]) {
      await ctx.mcpReq.notify({ method: 'notifications/progress', params: { progressToken, progress, total: 100, message: `Completed step ${progress} of 100` } })
      await wait(STEP_MS)
    }
    return says(String(progressToken))
  })
  add('test_logging_tool', 'logs when the request names a level', async (_args, ctx) => {
    await ctx.mcpReq.log('info', 'the tool ran')
    return says('logged')
  })
  add('test_reconnection', 'closes its stream; the answer waits for the client to resume it', async (_args, ctx) => {
    ctx.http?.closeSSE?.()
    await wait(RECONNECT_MS)
    return says('Reconnection test completed successfully.')
  })
  add('test_streaming_elicitation', 'asks nothing of the client', () => says('no request of the server stands on this stream'))
  add('test_x_mcp_header', 'has an argument that is mirrored in a header', ({ region }) => says(`region=${String(region)}`), { region: { type: 'string', 'x-mcp-header': 'Region' }, level: { type: 'integer' } })
  add('test_trigger_tool_change', 'publishes a change of tools', () => {
    notifier.toolsChanged()
    return says('published')
  })
  add('test_trigger_prompt_change', 'publishes a change of prompts', () => {
    notifier.promptsChanged()
    return says('published')
  })
  addAsking(add)
  server.registerTool('json_schema_2020_12_tool', { description: 'has a schema with the words of JSON Schema 2020-12', inputSchema: fromJsonSchema(SCHEMA_2020_12) }, args => says(JSON.stringify(args)))
}

/** Tools that ask the client in the way of the legacy era: a request of the server on the stream of the call. */
function addAsking(add: (name: string, description: string, run: (args: Record<string, unknown>, ctx: ServerContext) => Promise<CallToolResult>, properties?: Properties) => void): void {
  const elicit = async (ctx: ServerContext, message: string, properties: Properties): Promise<CallToolResult> => {
    const { action, content } = await ctx.mcpReq.send({ method: 'elicitation/create', params: { message, requestedSchema: { type: 'object', properties, required: [] } } })
    return says(`Elicitation completed: action=${action}, content=${JSON.stringify(content ?? {})}`)
  }
  add('test_sampling', 'asks the client for a sample', async ({ prompt }, ctx) => {
    const { content } = await ctx.mcpReq.send({ method: 'sampling/createMessage', params: { messages: [{ role: 'user', content: text(String(prompt)) }], maxTokens: 100 } })
    const first = [content].flat()[0]
    return says(`LLM response: ${first?.type === 'text' ? first.text : 'no text'}`)
  }, { prompt: { type: 'string' } })
  add('test_elicitation', 'asks the user', async ({ message }, ctx) => await elicit(ctx, String(message), { username: { type: 'string' }, email: { type: 'string' } }), { message: { type: 'string' } })
  add('test_elicitation_sep1034_defaults', 'asks with a default for every primitive type', async (_args, ctx) =>
    await elicit(ctx, 'Please review the form', {
      name: { type: 'string', default: 'John Doe' },
      age: { type: 'integer', default: 30 },
      score: { type: 'number', default: 95.5 },
      status: { type: 'string', enum: ['active', 'inactive', 'pending'], default: 'active' },
      verified: { type: 'boolean', default: true },
    }))
  const titled = (name: string) => ['First', 'Second', 'Third'].map((title, at) => ({ const: `${name}${at + 1}`, title }))
  add('test_elicitation_sep1330_enums', 'asks with all five forms of choice', async (_args, ctx) =>
    await elicit(ctx, 'Please choose', {
      untitledSingle: { type: 'string', enum: ['option1', 'option2', 'option3'] },
      titledSingle: { type: 'string', oneOf: titled('value') },
      legacyEnum: { type: 'string', enum: ['opt1', 'opt2', 'opt3'], enumNames: ['Option One', 'Option Two', 'Option Three'] },
      untitledMulti: { type: 'array', minItems: 1, maxItems: 3, items: { type: 'string', enum: ['option1', 'option2', 'option3'] } },
      titledMulti: { type: 'array', minItems: 1, maxItems: 3, items: { anyOf: titled('value') } },
    }))
}

const SCHEMA_2020_12 = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  type: 'object',
  $defs: { address: { $anchor: 'addressDef', type: 'object', properties: { street: { type: 'string' }, city: { type: 'string' } } } },
  properties: { name: { type: 'string' }, address: { $ref: '#/$defs/address' }, contactMethod: { type: 'string', enum: ['phone', 'email'] }, phone: { type: 'string' }, email: { type: 'string' } },
  allOf: [{ anyOf: [{ required: ['phone'] }, { required: ['email'] }] }],
  if: { properties: { contactMethod: { const: 'phone' } }, required: ['contactMethod'] },
  // oxlint-disable-next-line unicorn/no-thenable -- a word of JSON Schema
  then: { required: ['phone'] },
  else: { required: ['email'] },
  additionalProperties: false,
}
