import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'

import { Client as ClientV2, StreamableHTTPClientTransport as TransportV2 } from '@modelcontextprotocol/client'
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js'
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js'
import { expect } from 'chai'

import { startDualEraServer } from '../support/dual-era-server.ts'
import type { DualEraServer } from '../support/dual-era-server.ts'
import { recorderBefore } from '../support/recorder.ts'
import type { RecorderUnderTest } from '../support/recorder.ts'

/** What one client session of the second SDK sees. */
async function session(url: string, mode: 'legacy' | { readonly pin: string }): Promise<unknown[]> {
  const client = new ClientV2({ name: 'v2', version: '1' }, { capabilities: { elicitation: { form: {} } }, versionNegotiation: { mode } })
  client.setRequestHandler('elicitation/create', () => ({ action: 'accept', content: { name: 'Ada' } }))
  await client.connect(new TransportV2(new URL(url)))
  try {
    const progress: number[] = []
    return [
      await client.listTools(),
      await client.callTool({ name: 'echo', arguments: { text: 'grüße 👋\u2028' } }),
      await client.callTool({ name: 'count', arguments: { to: 5 } }, { onprogress: each => void progress.push(each.progress) }),
      progress,
      await client.callTool({ name: 'fail', arguments: {} }),
      await client.callTool({ name: 'greet', arguments: {} }),
    ]
  } finally {
    await client.close()
  }
}

describe('official clients through the recorder', () => {
  let server: DualEraServer
  let recorder: RecorderUnderTest | undefined
  beforeEach(async () => {
    server = await startDualEraServer()
  })
  afterEach(async () => {
    await recorder?.dispose()
    recorder = undefined
    await server.close()
  })

  for (const [era, mode] of [['legacy', 'legacy'], ['modern', { pin: '2026-07-28' }]] as const) {
    it(`see the same as without it in the ${era} era, and all of it is recorded`, async () => {
      const direct = await session(server.url, mode)
      recorder = await recorderBefore(server.url)
      expect(await session(recorder.url, mode)).to.deep.equal(direct)
      const recorded = await recorder.stop()
      expect(recorded.of('mcp').filter(frame => frame.method === 'notifications/progress')).to.have.length(5)
      const calls = recorded.of('mcp').filter(frame => frame.method === 'tools/call').map(frame => frame.name)
      expect(calls).to.deep.equal(era === 'modern' ? ['echo', 'count', 'fail', 'greet', 'greet'] : ['echo', 'count', 'fail', 'greet'])
      expect(recorded.of('session.start').map(start => start.client?.name)).to.deep.equal(['v2'])
      expect(new Set(recorded.of('exchange.start').map(start => start.era))).to.include(era)
      if (era === 'modern') {
        const links = recorded.of('mcp').flatMap(frame => frame.links ?? []).filter(link => link.type === 'requestState')
        expect(new Set(links.map(link => link.id))).to.have.property('size', 1)
        expect(links).to.have.length(2)
        expect(recorded.text).not.to.include('opaque-state-of-the-server')
      }
      expect(recorded.verdict).to.equal('consistent')
    })
  }

  it('hear of changes on a subscription of the modern era', async () => {
    recorder = await recorderBefore(server.url)
    let heard: () => void = () => {}
    const changed = new Promise<void>(resolve => (heard = resolve))
    const client = new ClientV2({ name: 'v2', version: '1' }, { versionNegotiation: { mode: { pin: '2026-07-28' } } })
    await client.connect(new TransportV2(new URL(recorder.url)))
    client.setNotificationHandler('notifications/tools/list_changed', () => heard())
    const subscription = await client.listen({ toolsListChanged: true })
    server.toolsChanged()
    await changed
    await subscription.close()
    await client.close()
    const recorded = await recorder.stop()
    expect(recorded.of('mcp').find(frame => frame.method === 'subscriptions/listen')).to.not.equal(undefined)
    expect(recorded.of('mcp').find(frame => frame.method === 'notifications/tools/list_changed')?.links?.[0]?.type).to.equal('subscription')
  })

  describe('over HTTP+SSE of 2024-11-05', () => {
    let child: ChildProcess
    let port: number
    beforeEach(async () => {
      const probe = createServer().listen(0, '127.0.0.1')
      await once(probe, 'listening')
      port = (probe.address() as AddressInfo).port
      probe.close()
      await once(probe, 'close')
      const root = new URL('../../', import.meta.url)
      const started = spawn(process.execPath, ['--import', new URL('demo/loopback-only.ts', root).href, new URL('node_modules/@modelcontextprotocol/server-everything/dist/index.js', root).pathname, 'sse'], { env: { PATH: process.env['PATH'], PORT: String(port) }, stdio: ['ignore', 'ignore', 'pipe', 'ipc'] })
      child = started
      await once(started, 'message')
    })
    afterEach(() => {
      child.kill('SIGKILL')
    })

    it('see the answers, which come on the other connection', async () => {
      recorder = await recorderBefore(`http://127.0.0.1:${port}/sse`)
      const client = new ClientV1({ name: 'v1', version: '1' })
      await client.connect(new SSEClientTransport(new URL(recorder.url)))
      const sum = await client.callTool({ name: 'get-sum', arguments: { a: 2, b: 40 } })
      expect(JSON.stringify(sum)).to.include('42')
      await client.close()
      const recorded = await recorder.stop()
      expect(recorded.of('session.start').map(start => start.basis)).to.deep.equal(['mcp'])
      const asked = recorded.of('mcp').find(frame => frame.method === 'tools/call')
      const answered = recorded.of('mcp').find(frame => frame.type === 'response' && frame.rpcId === asked?.rpcId)
      expect(answered?.session).to.equal(asked?.session)
      expect(answered?.exchange).not.to.equal(asked?.exchange)
    })
  })
})
