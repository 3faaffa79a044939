/** The prompts and resources that the suite asks for by name, and completion. */

import { acceptedContent, fromJsonSchema, inputRequired, ResourceTemplate } from '@modelcontextprotocol/server'
import type { GetPromptResult, InputRequiredResult, McpServer, ServerContext } from '@modelcontextprotocol/server'
import { embedded, image, PNG, text } from './content.ts'

type Content = GetPromptResult['messages'][number]['content']
const user = (...contents: Content[]): GetPromptResult => ({ messages: contents.map(content => ({ role: 'user', content })) })
const args = (...names: string[]) => fromJsonSchema<Record<string, string>>({ type: 'object', properties: Object.fromEntries(names.map(name => [name, { type: 'string', description: name }])), required: names })

export function addPrompts(server: McpServer): void {
  server.registerPrompt('test_simple_prompt', { description: 'text' }, () => user(text('This is a simple prompt for testing.')))
  server.registerPrompt('test_prompt_with_arguments', { description: 'two arguments', argsSchema: args('arg1', 'arg2') }, ({ arg1, arg2 }) => user(text(`Prompt with arguments: arg1='${arg1}', arg2='${arg2}'`)))
  server.registerPrompt('test_prompt_with_embedded_resource', { description: 'a resource', argsSchema: args('resourceUri') }, ({ resourceUri = '' }) => user(embedded(resourceUri, 'Embedded resource content for testing.'), text('Please process the embedded resource above.')))
  server.registerPrompt('test_prompt_with_image', { description: 'an image' }, () => user(image, text('Please analyze the image above.')))
  // Declared without arguments, the callback gets the context as its first.
  server.registerPrompt('test_input_required_result_prompt', { description: 'asks for its context first' }, (ctx: unknown): GetPromptResult | InputRequiredResult => {
    const context = acceptedContent((ctx as ServerContext).mcpReq.inputResponses, 'user_context')?.['context']
    if (typeof context === 'string') return user(text(`Use the following context: ${context}`))
    return inputRequired({ inputRequests: { user_context: inputRequired.elicit({ message: 'What context should the prompt use?', requestedSchema: { type: 'object', properties: { context: { type: 'string' } }, required: ['context'] } }) } })
  })
}

export function addResources(server: McpServer): void {
  server.registerResource('static-text', 'test://static-text', { mimeType: 'text/plain' }, uri => ({ contents: [{ uri: uri.href, mimeType: 'text/plain', text: 'This is the content of the static text resource.' }] }))
  server.registerResource('static-binary', 'test://static-binary', { mimeType: 'image/png' }, uri => ({ contents: [{ uri: uri.href, mimeType: 'image/png', blob: PNG }] }))
  server.registerResource('watched-resource', 'test://watched-resource', { mimeType: 'text/plain' }, uri => ({ contents: [{ uri: uri.href, mimeType: 'text/plain', text: 'Watched resource content' }] }))
  server.registerResource('template', new ResourceTemplate('test://template/{id}/data', { list: undefined }), { mimeType: 'application/json' }, (uri, { id }) => ({
    contents: [{ uri: uri.href, mimeType: 'application/json', text: JSON.stringify({ id, templateTest: true, data: `Data for ID: ${String(id)}` }) }],
  }))
  server.server.setRequestHandler('resources/subscribe', () => ({}))
  server.server.setRequestHandler('resources/unsubscribe', () => ({}))
  server.server.setRequestHandler('logging/setLevel', () => ({}))
  server.server.setRequestHandler('completion/complete', () => ({ completion: { values: ['paris', 'park'], total: 2, hasMore: false } }))
}
