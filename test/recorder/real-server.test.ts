import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport, StreamableHTTPError } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { ElicitRequestSchema } from '@modelcontextprotocol/sdk/types.js'
import { expect } from 'chai'

import { startFixture } from '../../conformance/server/serve.ts'
import type { FetchServer } from '../support/fetch-server.ts'
import { rawClient, recorderBefore } from '../support/recorder.ts'
import type { RecorderUnderTest } from '../support/recorder.ts'

const INITIALIZE = JSON.stringify({ jsonrpc: '2.0', id: 0, method: 'initialize', params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'raw', version: '1' } } })

async function connected(url: string): Promise<Client> {
  const client = new Client({ name: 'v1', version: '1' }, { capabilities: { elicitation: {} } })
  client.setRequestHandler(ElicitRequestSchema, () => ({ action: 'accept', content: { username: 'ada' } }))
  // The SDK's transport declares its optional fields otherwise than exactOptionalPropertyTypes reads them.
  await client.connect(new StreamableHTTPClientTransport(new URL(url)) as Parameters<Client['connect']>[0])
  return client
}

/** What one session of the first SDK sees. */
async function session(url: string): Promise<unknown[]> {
  const client = await connected(url)
  try {
    const progress: number[] = []
    return [
      await client.listTools(),
      await client.callTool({ name: 'test_image_content', arguments: {} }),
      await client.callTool({ name: 'test_tool_with_progress', arguments: {} }, undefined, { onprogress: each => void progress.push(each.progress) }),
      progress,
      await client.callTool({ name: 'test_error_handling', arguments: {} }),
      await client.callTool({ name: 'test_elicitation', arguments: { message: 'Who?' } }),
      // Its stream is closed in the middle; the answer comes on the resumed one.
      await client.callTool({ name: 'test_reconnection', arguments: {} }),
      await client.readResource({ uri: 'test://static-binary' }),
      await client.getPrompt({ name: 'test_prompt_with_arguments', arguments: { arg1: 'grüße', arg2: '👋' } }),
    ]
  } finally {
    await client.close()
  }
}

describe('a server of the official SDK behind the recorder', () => {
  let server: FetchServer
  const recorders: RecorderUnderTest[] = []
  beforeEach(async () => {
    server = await startFixture()
  })
  afterEach(async () => {
    for (const recorder of recorders.splice(0)) await recorder.dispose()
    await server.close()
  })
  const before = async (url: string): Promise<RecorderUnderTest> => {
    const recorder = await recorderBefore(url)
    recorders.push(recorder)
    return recorder
  }

  it('shows a client of the first SDK the same, also when it has to resume a stream', async () => {
    const direct = await session(server.url)
    const recorder = await before(server.url)
    expect(await session(recorder.url)).to.deep.equal(direct)
    const recorded = await recorder.stop()
    expect(recorded.of('exchange.start').flatMap(start => start.links ?? []).map(link => link.type)).to.include('resume')
    expect(recorded.verdict).to.equal('consistent')
  })

  it('shows a client the same through two recorders', async () => {
    const direct = await session(server.url)
    const inner = await before(server.url)
    const outer = await before(inner.url)
    expect(await session(outer.url)).to.deep.equal(direct)
    const [one, two] = [await outer.stop(), await inner.stop()]
    // Exchanges run beside each other: the same messages, not always in the same order.
    const bodies = (recorded: typeof one): string[] => recorded.of('mcp').map(frame => recorded.bodyOf(frame).toString()).sort()
    expect(bodies(one)).to.deep.equal(bodies(two))
  })

  it('refuses a foreign Host and a foreign Origin itself, since both reach it untouched', async () => {
    const recorder = await before(server.url)
    const ask = async (host: string, origin: string): Promise<string> => {
      const client = await rawClient(recorder.port)
      client.write(`POST /mcp HTTP/1.1\r\nHost: ${host}\r\nOrigin: ${origin}\r\nConnection: close\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\nContent-Length: ${INITIALIZE.length}\r\n\r\n${INITIALIZE}`)
      await client.until(text => text.includes('\r\n\r\n'))
      client.socket.destroy()
      return client.received.slice(0, 12)
    }
    expect(await ask('localhost:1', 'http://localhost:1')).to.equal('HTTP/1.1 200')
    expect(await ask('evil.example', 'http://localhost:1')).to.equal('HTTP/1.1 403')
    expect(await ask('localhost:1', 'https://evil.example')).to.equal('HTTP/1.1 403')
  })

  it('that has been started again does not know the old session, and the client hears so and begins anew', async () => {
    const recorder = await before(server.url)
    const client = await connected(recorder.url)
    const { port } = new URL(server.url)
    await server.close()
    server = await startFixture(Number(port))
    const failure: unknown = await client.callTool({ name: 'test_simple_text', arguments: {} }).catch((error: unknown) => error)
    expect(failure).to.be.instanceOf(StreamableHTTPError)
    expect((failure as StreamableHTTPError).code).to.equal(404)
    await client.close()
    const anew = await connected(recorder.url)
    expect(JSON.stringify(await anew.callTool({ name: 'test_simple_text', arguments: {} }))).to.include('simple text response')
    await anew.close()
    const recorded = await recorder.stop()
    expect(recorded.of('session.start')).to.have.length(2)
    expect(recorded.of('exchange.end').map(end => end.status)).to.include(404)
    expect(recorded.verdict).to.equal('consistent')
  })

  it('answers a batch as it does without the recorder', async () => {
    const recorder = await before(server.url)
    const batch = async (url: string): Promise<[number, string]> => {
      const headers = { 'Content-Type': 'application/json', Accept: 'application/json, text/event-stream' }
      const opened = await fetch(url, { method: 'POST', headers, body: INITIALIZE })
      await opened.text()
      const body = `[${[1, 2].map(id => JSON.stringify({ jsonrpc: '2.0', id, method: 'tools/call', params: { name: 'test_simple_text', arguments: {} } })).join(',')}]`
      const answered = await fetch(url, { method: 'POST', headers: { ...headers, 'Mcp-Session-Id': opened.headers.get('mcp-session-id') ?? '' }, body })
      return [answered.status, (await answered.text()).replace(/^(?:id|retry): .*\n/gm, '')]
    }
    const direct = await batch(server.url)
    expect(direct[0]).to.equal(200)
    expect(await batch(recorder.url)).to.deep.equal(direct)
    const recorded = await recorder.stop()
    expect(recorded.of('mcp').filter(frame => frame.method === 'tools/call').map(frame => frame.batch)).to.deep.equal([0, 1])
  })
})
