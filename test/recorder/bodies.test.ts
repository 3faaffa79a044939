import { expect } from 'chai'

import type { FrameOf } from '../../src/record/frame.ts'
import { bodyOf, call, httpUpstream, recorderBefore, result } from '../support/recorder.ts'
import type { Recorded, RecorderUnderTest, Upstream } from '../support/recorder.ts'

/** What the upstream answers to each request, in turn. */
interface Scripted {
  readonly type?: string
  readonly body: string | Buffer
}

describe('recorded bodies', () => {
  let recorder: RecorderUnderTest | undefined
  let upstream: Upstream | undefined
  let received: Buffer[]
  afterEach(async () => {
    await recorder?.dispose()
    await upstream?.close()
    recorder = upstream = undefined
  })

  /** Sends bodies one after the other; the upstream answers each with what is scripted. */
  const exchange = async (requests: readonly Scripted[], answers: readonly Scripted[]): Promise<{ recorded: Recorded; bodies: Buffer[] }> => {
    received = []
    upstream = await httpUpstream((req, res) => {
      void bodyOf(req).then(body => {
        const answer = answers[received.push(body) - 1] ?? { body: '' }
        res.writeHead(200, { 'Content-Type': answer.type ?? 'application/json' }).end(answer.body)
      })
    })
    recorder = await recorderBefore(upstream.url)
    const bodies: Buffer[] = []
    for (const { type, body } of requests) {
      const response = await fetch(recorder.url, { method: 'POST', headers: { 'Content-Type': type ?? 'application/json' }, body: typeof body === 'string' ? body : new Uint8Array(body) })
      bodies.push(Buffer.from(await response.arrayBuffer()))
    }
    const recorded = await recorder.stop()
    expect(recorded.verdict).to.equal('consistent')
    // Whatever was in them: every byte passed, both ways.
    expect(received.map(String)).to.deep.equal(requests.map(each => String(each.body)))
    expect(bodies.map(String)).to.deep.equal(answers.map(each => String(each.body)))
    return { recorded, bodies }
  }
  const client = (recorded: Recorded): FrameOf<'mcp' | 'http'>[] => [...recorded.of('mcp'), ...recorded.of('http')].filter(frame => frame.from === 'client')
  const server = (recorded: Recorded): FrameOf<'mcp' | 'http'>[] => [...recorded.of('mcp'), ...recorded.of('http')].filter(frame => frame.from === 'server')

  for (const [name, id] of [['0', 0], ['a string', 'seven'], ['an empty string', ''], ['null', null], ['a string of digits', '1'], ['a negative number', -5], ['text with quotes', '"\\\u2028']] as const) {
    it(`keeps an id that is ${name}`, async () => {
      const { recorded } = await exchange([{ body: call(id) }], [{ body: result(id) }])
      expect(recorded.of('mcp').map(frame => frame.rpcId)).to.deep.equal([id, id])
    })
  }

  it('keeps all digits of an id above 2^53', async () => {
    const { recorded } = await exchange([{ body: '{"jsonrpc":"2.0","id":9007199254740993,"method":"ping"}' }], [{ body: '{"jsonrpc":"2.0","id":9007199254740993,"result":{}}' }])
    expect(recorded.of('mcp').map(frame => frame.rpcId)).to.deep.equal([{ number: '9007199254740993' }, { number: '9007199254740993' }])
  })

  it('records malformed, truncated and empty JSON as it came, with the reason', async () => {
    const bodies = ['{"jsonrpc":"2.0","id":1', '{oops}', '[', '"text"', '42', 'null', '{}', '[]', '   ', '{"jsonrpc":"1.0","method":"x"}', '{"a":1}{"b":2}', "{'jsonrpc':'2.0'}", '[1,2]']
    const { recorded } = await exchange(bodies.map(body => ({ body })), bodies.map(body => ({ body })))
    for (const side of [client(recorded), server(recorded)]) {
      expect(side.map(frame => recorded.bodyOf(frame).toString()).filter(body => !/^[12]$/.test(body)).sort()).to.deep.equal(bodies.filter(body => body !== '[1,2]').sort())
      for (const frame of side) expect(frame.kind === 'http' ? frame.reason : 'mcp').to.be.oneOf(['malformed', 'not-jsonrpc', 'empty', 'too-deep'])
    }
  })

  it('records JSON with a byte order mark, with the wrong content type, and text that is no JSON', async () => {
    const bodies = [{ body: `\ufeff${call(1)}` }, { type: 'text/plain', body: call(2) }, { type: 'application/json', body: 'hello' }, { type: 'text/html', body: '<p>hi</p>' }]
    const { recorded } = await exchange(bodies, bodies.map(({ body }) => ({ body })))
    expect(client(recorded).map(frame => frame.kind)).to.deep.equal(['mcp', 'http', 'http', 'http'])
    const [bom, text] = recorded.of('http').filter(frame => frame.from === 'client')
    expect([bom?.reason, text?.reason]).to.deep.equal(['bom', 'malformed'])
    expect(bom === undefined ? '' : recorded.bodyOf(bom).toString()).to.equal(`\ufeff${call(1)}`)
  })

  it('records bytes that are no UTF-8 exactly', async () => {
    const bytes = Buffer.concat([Buffer.from('{"jsonrpc":"2.0","id":1,"method":"'), Buffer.from([0xff, 0xfe, 0xc3]), Buffer.from('"}')])
    const { recorded } = await exchange([{ body: bytes }], [{ body: bytes }])
    for (const frame of recorded.of('http')) {
      expect(frame.reason).to.equal('invalid-utf8')
      expect(recorded.bodyOf(frame)).to.deep.equal(bytes)
    }
    expect(recorded.of('http')).to.have.length(2)
  })

  it('records JSON nested 100,000 deep without following it', async () => {
    const deep = `{"jsonrpc":"2.0","id":1,"method":"x","params":${'['.repeat(100_000)}${']'.repeat(100_000)}}`
    const { recorded } = await exchange([{ body: deep }], [{ body: deep }])
    expect(client(recorded).map(frame => recorded.bodyOf(frame).toString())).to.deep.equal([deep])
    expect(recorded.of('http')[0]?.reason).to.equal('too-deep')
  })

  it('flags keys that stand twice and takes the last, as servers do', async () => {
    const twice = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"safe"},"params":{"name":"dangerous","arguments":{"a":1,"a":2}}}'
    const { recorded } = await exchange([{ body: twice }], [{ body: result(1) }])
    const [frame] = recorded.of('mcp')
    expect(frame).to.include({ method: 'tools/call', name: 'dangerous', body: twice })
    expect(frame?.duplicateKeys).to.include.members(['params'])
  })

  it('keeps the white space around a message', async () => {
    const [asked, answered] = [`\r\n  ${call(1, 'x', { requestState: 5 })}\t\n`, `${result(1)}\n`]
    const { recorded } = await exchange([{ body: asked }], [{ body: answered }])
    expect(recorded.of('mcp').map(frame => [frame.body, frame.bytes, frame.rpcId])).to.deep.equal([[asked, asked.length, 1], [answered, answered.length, 1]])
  })

  it('records every message of a batch, also with nonsense in it', async () => {
    const parts = [call(1), '{"jsonrpc":"2.0","method":"notifications/initialized"}', '7', call('b')]
    const { recorded } = await exchange([{ body: `[ ${parts.join(' , ')} ]` }], [{ body: `[${result('b')},${result(1)}]` }])
    expect(client(recorded).map(frame => recorded.bodyOf(frame).toString()).sort()).to.deep.equal([...parts].sort())
    expect(recorded.of('mcp').filter(frame => frame.from === 'client').map(frame => [frame.batch, frame.rpcId])).to.deep.equal([[0, 1], [1, undefined], [3, 'b']])
    expect(recorded.of('mcp').filter(frame => frame.from === 'server').map(frame => [frame.batch, frame.rpcId])).to.deep.equal([[0, 'b'], [1, 1]])
  })

  it('records a request of 20 MB in parts that join to the original, with its method', async () => {
    const large = call(5, 'store', { text: `${'ü€👋 '.repeat(2_000_000)}` })
    const { recorded } = await exchange([{ body: large }], [{ body: result(5, { content: [{ type: 'text', text: 'é'.repeat(3_000_000) }] }) }])
    const [asked, answered] = recorded.of('mcp')
    expect(asked).to.include({ from: 'client', method: 'tools/call', more: true })
    expect(asked === undefined ? '' : recorded.bodyOf(asked).toString()).to.equal(large)
    expect(answered).to.include({ from: 'server', more: true })
    const last = recorded.of('body').filter(part => part.last === true)
    expect(last.map(part => part.late?.rpcId)).to.deep.equal([5, 5])
    expect(last[0]?.bytes).to.equal(Buffer.byteLength(large))
  })

  it('records ids that repeat in flight, each in its exchange', async () => {
    const held: (() => void)[] = []
    upstream = await httpUpstream((req, res) => {
      void bodyOf(req).then(body => {
        const { params } = JSON.parse(body.toString())
        held.push(() => res.writeHead(200, { 'Content-Type': 'application/json' }).end(result(1, { of: params.name })))
        if (held.length === 2) held.reverse().forEach(go => go())
      })
    })
    recorder = await recorderBefore(upstream.url)
    const { url } = recorder
    const answers = await Promise.all(['a', 'b'].map(async name => (await fetch(url, { method: 'POST', body: call(1, name) })).json()))
    expect(answers.map(answer => (answer as { result: { of: string } }).result.of)).to.deep.equal(['a', 'b'])
    const recorded = await recorder.stop()
    for (const asked of recorded.of('mcp').filter(frame => frame.from === 'client')) {
      const [answered] = recorded.of('mcp', asked.exchange).filter(frame => frame.from === 'server')
      expect(answered?.body).to.equal(result(1, { of: asked.name }))
    }
  })
})
