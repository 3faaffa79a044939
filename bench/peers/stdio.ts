/** The same answer as `upstream.ts` gives to `json`, as an MCP server on stdio: for proxies that start their server themselves. */

import { createInterface } from 'node:readline'

const TEXT = 'The quick brown fox jumps over the lazy dog. '.repeat(20)
const CALLED = { content: [{ type: 'text', text: TEXT }], isError: false }

interface Asked {
  readonly id?: number
  readonly method: string
  readonly params?: { readonly protocolVersion?: string }
}

function resultOf({ method, params }: Asked): object {
  if (method === 'initialize') return { protocolVersion: params?.protocolVersion, capabilities: { tools: {} }, serverInfo: { name: 'bench', version: '1' } }
  return method === 'tools/list' ? { tools: [{ name: 'json', inputSchema: { type: 'object' } }] } : CALLED
}

createInterface({ input: process.stdin }).on('line', line => {
  const asked = JSON.parse(line) as Asked
  if (asked.id !== undefined) process.stdout.write(`${JSON.stringify({ jsonrpc: '2.0', id: asked.id, result: resultOf(asked) })}\n`)
})
