import { expect } from 'chai'
import { createAdminServer } from '../../../src/platform/admin-server.ts'
import type { AdminServer } from '../../../src/platform/admin-server.ts'

describe('createAdminServer()', () => {
  let server: AdminServer
  let base: string
  let ready: { ready: boolean; reason?: string }

  beforeEach(async () => {
    ready = { ready: true }
    server = createAdminServer({ listen: { host: '127.0.0.1', port: 0 }, metrics: { text: async () => 'steno_up 1\n', contentType: 'text/plain; version=0.0.4' }, ready: () => ready })
    base = `http://127.0.0.1:${(await server.start()).port}`
  })
  afterEach(() => server.stop())

  it('answers /livez whatever the state', async () => {
    ready = { ready: false, reason: 'draining' }
    const answer = await fetch(`${base}/livez`)
    expect([answer.status, await answer.text()]).to.deep.equal([200, 'ok\n'])
  })

  it('answers /readyz with 200, or 503 and the reason', async () => {
    expect((await fetch(`${base}/readyz`)).status).to.equal(200)
    ready = { ready: false, reason: 'the spool is full' }
    const answer = await fetch(`${base}/readyz`)
    expect([answer.status, await answer.text()]).to.deep.equal([503, 'the spool is full\n'])
  })

  it('says why when it is ready but degraded', async () => {
    ready = { ready: true, reason: 'degraded: not recording' }
    const answer = await fetch(`${base}/readyz`)
    expect([answer.status, await answer.text()]).to.deep.equal([200, 'degraded: not recording\n'])
  })

  it('answers /metrics in the type Prometheus expects, also with a query', async () => {
    const answer = await fetch(`${base}/metrics?x=1`)
    expect(await answer.text()).to.equal('steno_up 1\n')
    expect(answer.headers.get('content-type')).to.equal('text/plain; version=0.0.4')
  })

  it('answers HEAD with the length and no body', async () => {
    const answer = await fetch(`${base}/metrics`, { method: 'HEAD' })
    expect([answer.status, answer.headers.get('content-length'), await answer.text()]).to.deep.equal([200, '11', ''])
  })

  it('refuses other paths and methods', async () => {
    expect((await fetch(`${base}/`)).status).to.equal(404)
    const answer = await fetch(`${base}/metrics`, { method: 'POST', body: 'x' })
    expect([answer.status, answer.headers.get('allow')]).to.deep.equal([405, 'GET, HEAD'])
  })

  it('start() fails with listen.failed and advice when the port is taken', async () => {
    const second = createAdminServer({ listen: { host: '127.0.0.1', port: Number(new URL(base).port) }, metrics: { text: async () => '', contentType: '' }, ready: () => ready })
    const error = await second.start().then(() => undefined, (reason: unknown) => reason)
    expect(error).to.include({ code: 'listen.failed' })
    expect(String(error)).to.match(/--admin/)
    await second.stop()
  })
})
