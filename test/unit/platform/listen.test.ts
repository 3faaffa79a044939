import { createServer } from 'node:net'
import { expect } from 'chai'
import { listen } from '../../../src/platform/listen.ts'

describe('listen()', () => {
  it('gives the port, and afterwards a connection that cannot be accepted harms nobody', async () => {
    const server = createServer()
    expect(await listen(server, { host: '127.0.0.1', port: 0 }, '--listen')).to.be.greaterThan(0)
    // What Node does when no file descriptor is left.
    for (let time = 0; time < 2; time++) expect(server.emit('error', Object.assign(new Error('accept EMFILE'), { code: 'EMFILE' }))).to.equal(true)
    server.close()
  })

  it('rejects with listen.failed and names the flag when the port is taken, and the cause when it is something else', async () => {
    const [one, two, three, four] = [createServer(), createServer(), createServer(), createServer()] as const
    const port = await listen(one, { host: '127.0.0.1', port: 0 }, '--listen')
    const taken: unknown = await listen(two, { host: '127.0.0.1', port }, '--listen').catch((error: unknown) => error)
    expect(taken).to.include({ code: 'listen.failed' })
    expect(String(taken)).to.match(/choose another port with --listen HOST:PORT/)
    const everywhere: unknown = await listen(four, { port }, '--listen').catch((error: unknown) => error)
    expect(String(everywhere)).to.include(`cannot listen on *:${port}: another program listens there`)
    const nowhere: unknown = await listen(three, { host: '203.0.113.1', port: 0 }, '--listen').catch((error: unknown) => error)
    expect(nowhere).to.include({ code: 'listen.failed' })
    expect(String(nowhere)).to.match(/EADDRNOTAVAIL/)
    one.close()
  })
})
