/** Tools of the modern era that answer `input_required` until the client has brought what they need. */

import { randomUUID } from 'node:crypto'
import { acceptedContent, CLIENT_CAPABILITIES_META_KEY, createRequestStateCodec, fromJsonSchema, inputRequired } from '@modelcontextprotocol/server'
import type { CallToolResult, ClientCapabilities, InputRequests, InputRequiredResult, McpServer, RequestStateCodec, ServerContext } from '@modelcontextprotocol/server'
import { text } from './content.ts'

type Answer = CallToolResult | InputRequiredResult
/** What `requestState` carries between rounds. */
export type RoundState = Record<string, unknown>

const says = (value: string): CallToolResult => ({ content: [text(value)] })
const ask = (message: string, name: string) => inputRequired.elicit({ message, requestedSchema: { type: 'object', properties: { [name]: { type: 'string' } }, required: [name] } })
const confirm = () => inputRequired.elicit({ message: 'Please confirm', requestedSchema: { type: 'object', properties: { ok: { type: 'boolean' } }, required: ['ok'] } })
const sample = (prompt: string) => inputRequired.createMessage({ messages: [{ role: 'user', content: text(prompt) }], maxTokens: 50 })

/** Sealed, so that a state that was tampered with is refused before a tool runs. */
export function createRoundState(): RequestStateCodec<RoundState> {
  return createRequestStateCodec<RoundState>({ key: crypto.getRandomValues(new Uint8Array(32)) })
}

export function addRounds(server: McpServer, codec: RequestStateCodec<RoundState>): void {
  const add = (name: string, description: string, run: (ctx: ServerContext) => Answer | Promise<Answer>): void => {
    server.registerTool(name, { description, inputSchema: fromJsonSchema({ type: 'object', properties: {} }) }, (_args, ctx) => run(ctx))
  }
  const mint = async (state: RoundState): Promise<string> => await codec.mint({ ...state, nonce: randomUUID() })
  const prefix = 'test_input_required_result_'

  add('test_missing_capability', 'needs a client that can sample', ({ mcpReq }) => (mcpReq.inputResponses?.['sample'] === undefined ? inputRequired({ inputRequests: { sample: sample('Say pong') } }) : says('sampled')))
  add(`${prefix}elicitation`, 'asks for a name', ({ mcpReq }) => {
    const name = acceptedContent(mcpReq.inputResponses, 'user_name')?.['name']
    return typeof name === 'string' ? says(`Hello, ${name}!`) : inputRequired({ inputRequests: { user_name: ask('What is your name?', 'name') } })
  })
  add(`${prefix}sampling`, 'asks for a sample', ({ mcpReq }) => {
    const response = mcpReq.inputResponses?.['capital_question']
    return response === undefined ? inputRequired({ inputRequests: { capital_question: sample('What is the capital of France?') } }) : says(`Sampling response: ${JSON.stringify(response)}`)
  })
  add(`${prefix}list_roots`, 'asks for the roots', ({ mcpReq }) => {
    const response = mcpReq.inputResponses?.['client_roots']
    return response === undefined ? inputRequired({ inputRequests: { client_roots: inputRequired.listRoots() } }) : says(`Roots: ${JSON.stringify(response)}`)
  })
  add(`${prefix}request_state`, 'asks for a confirmation and keeps a state', async ({ mcpReq }) => {
    if (acceptedContent(mcpReq.inputResponses, 'confirm') !== undefined && mcpReq.requestState() !== undefined) return says('state-ok')
    return inputRequired({ inputRequests: { confirm: confirm() }, requestState: await mint({ tool: 'request_state' }) })
  })
  add(`${prefix}tampered_state`, 'asks for a confirmation and refuses a state that is not its own', async ({ mcpReq }) => {
    if (acceptedContent(mcpReq.inputResponses, 'confirm') !== undefined && mcpReq.requestState() !== undefined) return says('integrity-ok')
    return inputRequired({ inputRequests: { confirm: confirm() }, requestState: await mint({ tool: 'tampered_state' }) })
  })
  add(`${prefix}multiple_inputs`, 'asks for three things at once', async ({ mcpReq }) => {
    const responses = mcpReq.inputResponses ?? {}
    if (['user_name', 'greeting', 'client_roots'].every(key => responses[key] !== undefined)) return says(`Got ${Object.keys(responses).length} inputs`)
    return inputRequired({ inputRequests: { user_name: ask('What is your name?', 'name'), greeting: sample('Generate a greeting'), client_roots: inputRequired.listRoots() }, requestState: await mint({ tool: 'multiple_inputs' }) })
  })
  add(`${prefix}multi_round`, 'asks twice', async ({ mcpReq }) => {
    const state = mcpReq.requestState<RoundState>()
    if (state?.['round'] === undefined) return inputRequired({ inputRequests: { step1: ask('Step 1: What is your name?', 'name') }, requestState: await mint({ round: 1 }) })
    if (state['round'] === 1) {
      const name = acceptedContent(mcpReq.inputResponses, 'step1')?.['name']
      return inputRequired({ inputRequests: { step2: ask('Step 2: What is your favourite colour?', 'color') }, requestState: await mint({ round: 2, name }) })
    }
    return says(`${String(state['name'])} likes ${String(acceptedContent(mcpReq.inputResponses, 'step2')?.['color'])}`)
  })
  add(`${prefix}capabilities`, 'asks only for what the client says it can', ({ mcpReq }) => {
    if (mcpReq.inputResponses !== undefined) return says('fulfilled')
    // The SDK declares the envelope without its keys.
    const declared = new Map(Object.entries<ClientCapabilities>(mcpReq.envelope ?? {})).get(CLIENT_CAPABILITIES_META_KEY)
    const inputRequests: InputRequests = {
      ...(declared?.elicitation === undefined ? {} : { user_name: ask('What is your name?', 'name') }),
      ...(declared?.sampling === undefined ? {} : { greeting: sample('Generate a greeting') }),
      ...(declared?.roots === undefined ? {} : { client_roots: inputRequired.listRoots() }),
    }
    return Object.keys(inputRequests).length === 0 ? says('the client can do nothing of it') : inputRequired({ inputRequests })
  })
}
