import type { IncomingMessage, ServerResponse } from 'node:http'

import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib'

import { expect } from 'chai'

import { bodyOf, call, httpUpstream, rawClient, recorderBefore, result } from '../support/recorder.ts'
import type { RecorderUnderTest, Upstream } from '../support/recorder.ts'

const encoded = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
/** A JWT that nobody signed. */
const token = (claims: object): string => `${encoded({ alg: 'RS256' })}.${encoded(claims)}.c2lnbmF0dXJl`

describe('recorded sessions', () => {
  let recorder: RecorderUnderTest
  let upstream: Upstream
  let answer: (req: IncomingMessage, res: ServerResponse, body: string) => void

  beforeEach(async () => {
    answer = (_req, res, body) => {
      const { id } = JSON.parse(body === '' ? '{}' : body) as { id?: number }
      res.writeHead(200, { 'Content-Type': 'application/json' }).end(result(id ?? null))
    }
    upstream = await httpUpstream((req, res) => {
      void bodyOf(req).then(body => answer(req, res, body.toString()))
    })
    recorder = await recorderBefore(upstream.url)
  })
  afterEach(async () => {
    await recorder.dispose()
    await upstream.close()
  })

  const ask = async (headers: Record<string, string>, body = call(1), method = 'POST'): Promise<void> => {
    const response = await fetch(recorder.url, { method, headers: { 'Content-Type': 'application/json', ...headers }, ...(method === 'POST' ? { body } : {}) })
    await response.arrayBuffer()
  }

  it('ties initialize, calls, stream and DELETE of one Mcp-Session-Id together', async () => {
    const plain = answer
    answer = (req, res, body) => {
      if (body.includes('"initialize"')) res.writeHead(200, { 'Content-Type': 'application/json', 'Mcp-Session-Id': 'secret-session' }).end(result(0))
      else if (req.method === 'GET') res.writeHead(200, { 'Content-Type': 'text/event-stream' }).end('data: {"jsonrpc":"2.0","id":9,"method":"ping"}\n\n')
      else if (req.method === 'DELETE') res.writeHead(200).end()
      else plain(req, res, body)
    }
    await ask({}, JSON.stringify({ jsonrpc: '2.0', id: 0, method: 'initialize', params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'tester', version: '2' } } }))
    const session = { 'Mcp-Session-Id': 'secret-session', 'MCP-Protocol-Version': '2025-11-25' }
    await ask(session)
    await ask({ ...session, Accept: 'text/event-stream' }, '', 'GET')
    await ask(session, '', 'DELETE')
    await ask(session, call(2))
    const recorded = await recorder.stop()
    const [start, again] = recorded.of('session.start')
    expect(start).to.deep.include({ basis: 'mcp', client: { name: 'tester', version: '2', asserted: true } })
    expect(recorded.of('exchange.end').map(end => end.session)).to.deep.equal(Array.from({ length: 5 }, () => start?.session))
    expect(recorded.of('session.end').map(end => end.reason)).to.deep.equal(['delete', 'shutdown'])
    expect(recorded.of('session.end')[0]?.totals).to.include({ exchanges: 4, calls: 2 })
    // What comes under an id that was deleted is the same session, begun again.
    expect(again?.session).to.equal(start?.session)
    expect(recorded.text).not.to.include('secret-session')
  })

  it('follows conversation, then trace, then who it is, and says which', async () => {
    const trace = { traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' }
    await ask({ 'x-anthropic-client': 'chat-1', ...trace })
    await ask({ ...trace })
    await ask({ traceparent: '00-00000000000000000000000000000000-b7ad6b7169203331-01', 'User-Agent': 'a' })
    await ask({ 'User-Agent': 'b' })
    await ask({ 'User-Agent': 'a' })
    const recorded = await recorder.stop()
    expect(recorded.of('session.start').map(start => start.basis)).to.deep.equal(['conversation', 'trace', 'idle', 'idle'])
    const sessions = recorded.of('exchange.end').map(end => end.session)
    expect(new Set(sessions)).to.have.property('size', 4)
    expect(sessions[4]).to.equal(sessions[2])
    expect(sessions[3]).not.to.equal(sessions[2])
  })

  it('leaves callers of whom nothing is known without a session', async () => {
    const client = await rawClient(recorder.port)
    const body = call(1)
    client.write(`POST /mcp HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n${body}`)
    await client.until(text => text.includes(result(1)))
    const recorded = await recorder.stop()
    expect(recorded.of('session.start')).to.deep.equal([])
    expect(recorded.of('mcp').map(frame => frame.session)).to.deep.equal([undefined, undefined])
  })

  it('reads who calls from a bearer JWT, unverified, and writes nothing of the token', async () => {
    const bearer = token({ iss: 'https://idp.example', sub: 'user-1', client_id: 'agent', scope: 'tools:read tools:write', groups: ['sre', 'dev'], email: 'not-taken@example.com' })
    await ask({ Authorization: `Bearer ${bearer}` })
    const recorded = await recorder.stop()
    const expected = { issuer: 'https://idp.example', subject: 'user-1', clientId: 'agent', scopes: ['tools:read', 'tools:write'], groups: ['sre', 'dev'], verified: false }
    expect(recorded.of('session.start')[0]?.identity).to.deep.include(expected)
    expect(recorded.of('exchange.start')[0]?.identity).to.deep.include(expected)
    for (const part of [...bearer.split('.'), 'not-taken']) expect(recorded.text).not.to.include(part)
  })

  it('gives two principals that show one session id two sessions, the second flagged', async () => {
    await ask({ 'Mcp-Session-Id': 'shared', Authorization: `Bearer ${token({ iss: 'i', sub: 'owner' })}` })
    await ask({ 'Mcp-Session-Id': 'shared', Authorization: `Bearer ${token({ iss: 'i', sub: 'thief' })}` })
    await ask({ 'Mcp-Session-Id': 'shared', Authorization: `Bearer ${token({ iss: 'i', sub: 'owner', exp: 1 })}` })
    const recorded = await recorder.stop()
    expect(recorded.of('session.start').map(start => start.foreign)).to.deep.equal([undefined, true])
    const [first, second, third] = recorded.of('exchange.end').map(end => end.session)
    expect(first).not.to.equal(second)
    expect(third).to.equal(first)
  })

  it('gives the same session id on every replica', async () => {
    await ask({ 'Mcp-Session-Id': 'one' })
    const here = (await recorder.stop()).of('session.start')[0]?.session
    const other = await recorderBefore(upstream.url)
    await (await fetch(other.url, { method: 'POST', headers: { 'Mcp-Session-Id': 'one' }, body: call(1) })).arrayBuffer()
    expect((await other.stop()).of('session.start')[0]?.session).to.equal(here)
    await other.dispose()
  })

  it('links requestState by hash and masks its value, tasks and subscriptions by id, resumed streams by their event', async () => {
    const state = 'eyJzZWNyZXQiOiJzdGF0ZSJ9'
    const plain = answer
    answer = (req, res, body) => {
      if (req.method === 'GET') res.writeHead(200, { 'Content-Type': 'text/event-stream' }).end('id: 8\ndata: {"jsonrpc":"2.0","method":"notifications/message","params":{}}\n\n')
      else if (body.includes('"ask"')) res.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify({ jsonrpc: '2.0', id: 1, result: { resultType: 'input_required', requestState: state, inputRequests: {} } }))
      else plain(req, res, body)
    }
    await ask({ 'User-Agent': 'a' }, call(1, 'ask'))
    await ask({ 'User-Agent': 'a' }, JSON.stringify({ jsonrpc: '2.0', id: 2, method: 'tools/call', params: { name: 'ask2', requestState: state } }))
    await ask({ 'User-Agent': 'a' }, JSON.stringify({ jsonrpc: '2.0', id: 3, method: 'tasks/get', params: { taskId: 'task-77' } }))
    await ask({ 'User-Agent': 'a', 'Last-Event-ID': 'event-7', Accept: 'text/event-stream' }, '', 'GET')
    const recorded = await recorder.stop()
    const links = recorded.of('mcp').flatMap(frame => frame.links ?? [])
    const states = links.filter(link => link.type === 'requestState').map(link => link.id)
    expect(states).to.have.length(2)
    expect(states[0]).to.equal(states[1])
    expect(links).to.deep.include({ type: 'task', id: 'task-77' })
    expect(recorded.of('exchange.start').flatMap(start => start.links ?? []).map(link => link.type)).to.deep.equal(['resume'])
    expect(recorded.of('mcp').find(frame => frame.resultType === 'input_required')?.masked?.[0]?.bytes).to.equal(state.length)
    expect(recorded.text).not.to.include(state)
  })

  it('masks requestState in what is no JSON-RPC, in what is cut, and in what is compressed', async () => {
    const state = 'c3RhdGUtdGhhdC1pcy1ub3QtdG8tYmUtc3RvcmVk'
    const json = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'x', requestState: state } })
    answer = (_req, res) => res.writeHead(200, { 'Content-Type': 'text/event-stream' }).end(`data: {"requestState":"${state}"`)
    const inner = `{"requestState":"${state}"}`
    const elsewhere = [`{"jsonrpc":"2.0","id":1,"method":"m","params":${inner},"params":{}}`, `{"jsonrpc":"2.0","id":1,"result":{"task":${inner}}}`, `{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"","data":${inner}}}`, `{"jsonrpc":"2.0","id":1,"method":"m","params":[${inner}],"requestState":"${state}"}`]
    const bodies: (string | Uint8Array<ArrayBuffer>)[] = [...elsewhere, `\n ${json} \n`, json.slice(0, -1), `\ufeff${json}`, json.replace('jsonrpc', 'rpc'), json.replace('State', '\\u0053tate'), `[${json},{"requestState":"${state}"}]`, new Uint8Array([...Buffer.from(json.slice(0, -2)), 0xff, 0xfe])]
    for (const body of bodies) await (await fetch(recorder.url, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body })).arrayBuffer()
    for (const [encoding, pack] of [['gzip', gzipSync], ['br', brotliCompressSync], ['zstd', zstdCompressSync], ['deflate', deflateSync]] as const) {
      await (await fetch(recorder.url, { method: 'POST', headers: { 'Content-Encoding': encoding }, body: new Uint8Array(pack(Buffer.from(json))) })).arrayBuffer()
    }
    const recorded = await recorder.stop()
    for (const frame of recorded.frames) expect(recorded.bodyOf(frame).toString('latin1')).not.to.include(state)
    expect(recorded.of('mcp').filter(frame => frame.name === 'x')).to.have.length(7)
  })

  it('masks requestState in bodies too large to hold', async () => {
    const state = 'c3RhdGUtb2YtYS1sYXJnZS1ib2R5'
    const large = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'x', pad: 'y'.repeat(2_000_000), requestState: state } })
    await ask({ 'User-Agent': 'a' }, large)
    const recorded = await recorder.stop()
    expect(recorded.text).not.to.include(state)
    expect(recorded.of('body').at(-1)?.bytes).to.equal(large.length)
  })

  it('follows HTTP+SSE, whose answers come on the other connection, and writes no session id of it', async () => {
    let stream: ServerResponse | undefined
    const paths: string[] = []
    answer = (req, res, body) => {
      paths.push(req.url ?? '')
      if (req.method === 'GET') {
        stream = res
        res.writeHead(200, { 'Content-Type': 'text/event-stream' }).write('event: endpoint\ndata: /messages?sessionId=legacy-secret-1\n\n')
        return
      }
      res.writeHead(202).end('Accepted')
      stream?.write(`event: message\ndata: ${result((JSON.parse(body) as { id: number }).id)}\n\n`)
    }
    const client = await rawClient(recorder.port)
    client.write('GET /sse HTTP/1.1\r\nHost: a\r\nUser-Agent: old\r\nAccept: text/event-stream\r\n\r\n')
    await client.until(text => text.includes('sessionId=legacy-secret-1\n\n'))
    const posted = await fetch(new URL('/messages?sessionId=legacy-secret-1', recorder.url), { method: 'POST', headers: { 'User-Agent': 'old' }, body: call(4) })
    expect(await posted.text()).to.equal('Accepted')
    await client.until(text => text.includes(result(4)))
    expect(paths).to.deep.equal(['/sse', '/messages?sessionId=legacy-secret-1'])
    const recorded = await recorder.stop()
    expect(recorded.of('session.start').map(start => start.basis)).to.deep.equal(['mcp'])
    expect(recorded.of('mcp').map(frame => [frame.from, frame.session])).to.deep.equal(['client', 'server'].map(from => [from, recorded.of('session.start')[0]?.session]))
    expect(recorded.text).not.to.include('legacy-secret-1')
  })

  it('writes no session id of an endpoint event that is cut, or oddly written', async () => {
    for (const stream of ['event: endpoint\ndata: /messages?sessionId=legacy-secret-2', 'event: endpoint\ndata: /messages?legacy-secret-2\n\n', 'event: endpoint\ndata: /m?a#legacy-secret-2\n\n']) {
      answer = (_req, res) => res.writeHead(200, { 'Content-Type': 'text/event-stream' }).end(stream)
      await ask({ Accept: 'text/event-stream' }, '', 'GET')
    }
    expect((await recorder.stop()).text).not.to.include('legacy-secret-2')
  })

  it('tells the eras apart and flags a header that contradicts its body', async () => {
    const modern = (method: string): string => JSON.stringify({ jsonrpc: '2.0', id: 1, method, params: { name: 'x', _meta: { 'io.modelcontextprotocol/protocolVersion': '2026-07-28', 'io.modelcontextprotocol/clientInfo': { name: 'm', version: '1' }, 'io.modelcontextprotocol/clientCapabilities': {} } } })
    await ask({ 'MCP-Protocol-Version': '2026-07-28', 'Mcp-Method': 'tools/call', 'Mcp-Name': 'x' }, modern('tools/call'))
    await ask({ 'MCP-Protocol-Version': '2025-11-25' })
    await ask({ 'MCP-Protocol-Version': '2026-07-28', 'Mcp-Method': 'tools/list' }, modern('tools/call'))
    const recorded = await recorder.stop()
    expect(recorded.of('exchange.start').map(start => [start.era, start.mismatch])).to.deep.equal([['modern', undefined], ['legacy', undefined], ['modern', true]])
    expect(recorded.of('exchange.start')[0]?.client).to.deep.equal({ name: 'm', version: '1', asserted: true })
  })

  it('writes no secret of headers, queries or cookies', async () => {
    const secrets = ['opaque-token-1', 'cookie-2', 'query-3', 'key-4', 'proxy-5', 'set-6', 'unknown-7', 'aws-8']
    const plain = answer
    answer = (req, res, body) => {
      res.setHeader('Set-Cookie', ['a=set-6', 'b=set-6'])
      res.setHeader('X-Whatever', 'unknown-7')
      plain(req, res, body)
    }
    const body = call(1)
    const headers = ['Authorization: Bearer opaque-token-1', 'Cookie: id=cookie-2', 'X-Api-Key: key-4', 'Proxy-Authorization: Basic proxy-5', 'X-Own-Secret: unknown-7', 'X-Amz-Security-Token: aws-8', 'Referer: http://user:query-3@a/?code=query-3#access_token=query-3', 'User-Agent: x']
    const client = await rawClient(recorder.port)
    client.write(`POST /mcp?code=query-3&query-3 HTTP/1.1\r\nHost: a\r\n${headers.join('\r\n')}\r\nContent-Length: ${body.length}\r\n\r\n${body}`)
    await client.until(text => text.includes(result(1)))
    const recorded = await recorder.stop()
    for (const secret of secrets) expect(recorded.text, secret).not.to.include(secret)
    expect(recorded.of('exchange.start')[0]?.headers).to.have.property('authorization').that.matches(/^hmac:[0-9a-f]{32}$/)
    expect(recorder.log()).not.to.match(/opaque-token-1|query-3/)
  })
})
