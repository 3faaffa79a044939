import { once } from 'node:events'
import type { ServerResponse } from 'node:http'

import { expect } from 'chai'

import { gatedFs } from '../support/gated-fs.ts'
import type { GatedFs } from '../support/gated-fs.ts'
import { bodyOf, call, httpUpstream, post, rawClient, recorderBefore, result } from '../support/recorder.ts'
import type { RawClient, RecorderUnderTest, Upstream } from '../support/recorder.ts'

describe('release after record', () => {
  let gate: GatedFs
  let upstream: Upstream
  let recorder: RecorderUnderTest
  let client: RawClient
  let asked: string[]
  let answers: ServerResponse[]
  let onAsked: () => void

  /** Resolves when the upstream has had `count` requests. */
  const requests = async (count: number): Promise<void> => {
    while (asked.length < count) await new Promise<void>(resolve => (onAsked = resolve))
  }
  /** What can happen without a write has happened: a round trip to the recorder's other port. */
  const settled = async (): Promise<void> => {
    for (let round = 0; round < 5; round++) await (await fetch(`${recorder.adminUrl}/livez`)).text()
  }

  beforeEach(async () => {
    gate = gatedFs()
    asked = []
    answers = []
    onAsked = () => {}
    upstream = await httpUpstream((req, res) => {
      void bodyOf(req).then(body => {
        asked.push(body.toString())
        answers.push(res)
        onAsked()
      })
    })
    recorder = await recorderBefore(upstream.url, { spoolFs: gate.fs })
    client = await rawClient(recorder.port)
  })
  afterEach(async () => {
    gate.open()
    client.socket.destroy()
    await recorder.dispose()
    await upstream.close()
  })

  it('keeps a request from the upstream while its record is not durable', async () => {
    gate.shut()
    client.write(post(call(1)))
    await gate.waiting()
    await settled()
    expect(asked).to.deep.equal([])
    gate.open()
    await requests(1)
    expect(asked).to.deep.equal([call(1)])
  })

  it('keeps a JSON answer from the client while its record is not durable', async () => {
    client.write(post(call(1)))
    await requests(1)
    gate.shut()
    answers[0]?.writeHead(200, { 'Content-Type': 'application/json' }).end(result(1))
    await gate.waiting()
    await settled()
    expect(client.received).to.equal('')
    gate.open()
    expect(await client.until(text => text.includes(result(1)))).to.match(/^HTTP\/1\.1 200 OK\r\n/)
  })

  it('keeps each event of a stream while its record is not durable, but lets comments and the head pass', async () => {
    client.write(post(call(1)))
    await requests(1)
    const answer = answers[0] as ServerResponse
    answer.writeHead(200, { 'Content-Type': 'text/event-stream' })
    answer.flushHeaders()
    await client.until(text => text.includes('\r\n\r\n'))
    answer.write(': alive\n\n')
    await client.until(text => text.includes(': alive'))
    gate.shut()
    answer.write(`data: ${result(1)}\n\n`)
    await gate.waiting()
    answer.write(': still alive\n\n')
    await settled()
    expect(client.received).not.to.include('data:')
    gate.open()
    await client.until(text => text.includes(result(1)) && text.includes(': still alive'))
    answer.end()
    await client.until(text => text.endsWith('0\r\n\r\n'))
  })

  it('keeps each part of a large upload and of a large download while its record is not durable', async () => {
    const large = Buffer.alloc(3 * 1024 * 1024, 'x')
    const upload = post(large)
    gate.shut()
    client.write(upload.subarray(0, 2 * 1024 * 1024))
    await gate.waiting()
    await settled()
    expect(asked).to.have.length(0)
    gate.open()
    client.write(upload.subarray(2 * 1024 * 1024))
    await requests(1)
    expect(asked[0]).to.have.length(large.length)
    gate.shut()
    answers[0]?.writeHead(200, { 'Content-Type': 'application/octet-stream' }).write(large)
    await gate.waiting()
    await settled()
    expect(client.received).not.to.include('xx')
    gate.open()
    await client.until(text => text.length > large.length)
  })

  it('answers all of many at once when their records become durable together', async () => {
    const clients = await Promise.all(Array.from({ length: 20 }, () => rawClient(recorder.port)))
    gate.shut()
    clients.forEach((each, id) => each.write(post(call(id))))
    await gate.waiting()
    await settled()
    expect(asked).to.have.length(0)
    gate.open()
    await requests(20)
    answers.forEach((answer, at) => answer.writeHead(200, { 'Content-Type': 'application/json' }).end(result(JSON.parse(asked[at] ?? '').id)))
    await Promise.all(clients.map((each, id) => each.until(text => text.includes(result(id)))))
    const closed = clients.map(each => once(each.socket, 'close'))
    for (const each of clients) each.socket.destroy()
    await Promise.all(closed)
    const recorded = await recorder.stop()
    expect(recorded.of('mcp')).to.have.length(40)
    expect(recorded.verdict).to.equal('consistent')
  })
})
