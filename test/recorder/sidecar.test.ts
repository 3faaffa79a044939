import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { expect } from 'chai'

import { decide } from '../../src/inject/decide.ts'
import { shortDigest } from '../../src/platform/digest.ts'
import { objectAt, objectsAt, textAt } from '../../src/policy/json.ts'
import { steno } from '../support/cli.ts'
import { podCases } from '../support/golden-pods.ts'
import { freePort } from '../support/kube-apiserver.ts'
import { listenOnLoopback } from '../support/loopback.ts'
import { call, httpUpstream, rawClient, readRecorded, result } from '../support/recorder.ts'

describe('steno record', () => {
  let folder: string
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sidecar-'))
  })
  afterEach(async () => await rm(folder, { recursive: true, force: true }))

  it('records two servers of a pod in one recording, and tells their sessions apart', async () => {
    const servers = await Promise.all(
      ['one', 'two'].map(async name =>
        await httpUpstream((req, res) => {
          req.resume()
          req.on('end', () => {
            res.writeHead(200, { 'content-type': 'application/json', 'mcp-session-id': 'the-same' })
            res.end(result(1, { content: [{ type: 'text', text: name }] }))
          })
        }),
      ),
    )
    const listen = [await freePort(), await freePort()]
    const policies = ['all', 'tools'].map(name => JSON.stringify({ durability: 'Local', format: 1, onFailure: 'Block', policy: { name } }))
    await writeFile(join(folder, 'labels'), 'app.kubernetes.io/name="weather"\npod-template-hash="5c"')
    const stopping = new AbortController()
    const started = Promise.withResolvers<void>()
    const running = steno(['record', ...servers.map((server, index) => `--port=${listen[index]}=${server.port}`), '--admin=127.0.0.1:0', `--archive=${folder}`, '--server-name=weather', '--linger=0'], {
      signal: stopping.signal,
      env: { STENO_POD: 'weather-0', STENO_NAMESPACE: 'team-a', STENO_NODE: 'node-a', STENO_IMAGE: 'steno:1', STENO_WORKLOAD: 'StatefulSet/weather', STENO_POLICIES: JSON.stringify(policies), STENO_LABELS_FILE: join(folder, 'labels') },
      onTalk: text => {
        if (text.includes('"recording"')) started.resolve()
      },
    })
    await Promise.race([started.promise, running])
    const texts = []
    for (const port of listen) {
      const answer = await fetch(`http://127.0.0.1:${port}/mcp`, { method: 'POST', headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream', 'mcp-session-id': 'the-same' }, body: call(1) })
      texts.push(await answer.text())
    }
    stopping.abort()
    expect(await running).to.have.property('code', 0)
    expect(texts.map(text => /one|two/.exec(text)?.[0])).to.deep.equal(['one', 'two'])

    const recorded = await readRecorded(folder)
    expect(recorded.of('writer.start')).to.have.length(1)
    expect(recorded.of('writer.start')[0]).to.include({ pod: 'weather-0', namespace: 'team-a', node: 'node-a', image: 'steno:1' })
    expect(recorded.of('writer.start')[0]?.policy).to.deep.equal({ name: 'all,tools', hash: shortDigest(policies.map(shortDigest).join('\n')) })
    expect(recorded.of('writer.start')[0]?.labels).to.deep.equal({ 'app.kubernetes.io/name': 'weather', 'pod-template-hash': '5c' })
    for (const { server } of recorded.of('session.start')) expect(server).to.include({ workload: 'StatefulSet/weather', pod: 'weather-0' })
    expect(recorded.of('session.start').map(({ server }) => server.name).toSorted()).to.deep.equal(servers.map(({ port }) => `weather:${port}`).toSorted())
    expect(new Set(recorded.of('session.start').map(({ session }) => session))).to.have.property('size', 2)
    expect(recorded.of('exchange.start').map(({ exchange }) => exchange)).to.deep.equal([0, 1])
  })

  it('lets steno ready end when it is ready, and not before', async () => {
    const port = await freePort()
    const stopping = new AbortController()
    let ready = false
    const waiting = steno(['ready', `--admin=127.0.0.1:${port}`], {}).finally(() => (ready = true))
    // Something else on that port, which is not ready.
    const other = createServer((_req, res) => void res.writeHead(503).end('sink down'))
    await new Promise<void>(resolve => other.listen(port, '127.0.0.1', resolve))
    const late = await steno(['ready', `--admin=127.0.0.1:${port}`, '--timeout=100ms'])
    expect(late).to.include({ code: 1, out: '' })
    expect(late.err).to.equal(`error: the recorder at 127.0.0.1:${port} is not ready after 100ms: it says 503 sink down; read its log (recorder.not-ready)\n`)
    expect(ready).to.equal(false)
    await new Promise(resolve => other.close(resolve))
    const running = steno(['record', `--port=${await freePort()}=1`, `--admin=127.0.0.1:${port}`, `--archive=${folder}`], { signal: stopping.signal })
    expect(await waiting).to.include({ code: 0, out: '', err: '' })
    stopping.abort()
    expect(await running).to.have.property('code', 0)
  })

  it('says that nobody is there when steno ready waits in vain', async () => {
    const run = await steno(['ready', `--admin=127.0.0.1:${await freePort()}`, '--timeout=50ms'])
    expect(run.code).to.equal(1)
    expect(run.err).to.match(/is not ready after 50ms: connect ECONNREFUSED .*read its log \(recorder\.not-ready\)/)
  })

  it('takes every argument that the injector gives it', async () => {
    const seen = new Set<string>()
    for (const { input } of podCases()) {
      const { pod } = decide(input)
      const container = ['containers', 'initContainers'].flatMap(list => objectsAt(pod['spec'], list)).find(each => each['name'] === 'steno-recorder')
      const args = Array.isArray(container?.['args']) ? container['args'].map(String) : []
      if (args.length === 0 || seen.has(args.join(' '))) continue
      seen.add(args.join(' '))
      // One wrong port is the first that is found wrong once all flags are known.
      const run = await steno([...args, '--port=none'])
      expect(run.err).to.match(/--port must be LISTEN=APP/)
      const hook: unknown = objectAt(objectAt(objectAt(container, 'lifecycle'), 'postStart'), 'exec')['command']
      const [program, ...words] = Array.isArray(hook) ? hook.map(String) : []
      expect(program).to.equal('steno')
      expect((await steno([...words, '--timeout=none'])).err).to.match(/--timeout 'none' is no time span/)
    }
    expect(seen).to.have.property('size').greaterThan(10)
  })

  it('reads the policies with which the injector makes the pod, and goes by them', async () => {
    const server = await httpUpstream(() => {})
    for (const each of podCases().filter(({ name }) => ['allow', 'two-policies', 'unicode', 'long-names'].includes(name))) {
      const { pod } = decide(each.input)
      const container = objectsAt(pod['spec'], 'initContainers').find(found => found['name'] === 'steno-recorder')
      const value = textAt(objectsAt(container, 'env').find(found => found['name'] === 'STENO_POLICIES'), 'value') ?? ''
      expect(value).to.not.include('$')
      const archive = join(folder, each.name)
      const stopping = new AbortController()
      const run = await steno(['record', `--port=0=${server.port}`, '--admin=127.0.0.1:0', `--archive=${archive}`, '--linger=0'], {
        signal: stopping.signal,
        env: { STENO_POLICIES: value },
        onTalk: text => {
          if (text.includes('"recording"')) stopping.abort()
        },
      })
      expect(run.code).to.equal(0)
      expect((await readRecorded(archive)).of('writer.start')[0]?.policy?.name).to.equal(decide(each.input).decision === 'inject' ? each.input.policies.map(({ name }) => name).join(',') : '')
    }
    expect(await steno(['record', '--port=0=1', `--archive=${folder}`], { env: { STENO_POLICIES: '["{}"]' } })).to.include({ code: 1 }).and.have.property('err').that.matches(/STENO_POLICIES holds a policy that cannot be read/)
  })

  it('records under a key of its own, and says so, while the Secret with the key is absent', async () => {
    const server = await httpUpstream(() => {})
    const stopping = new AbortController()
    const run = await steno(['record', `--port=0=${server.port}`, '--admin=127.0.0.1:0', `--archive=${folder}`, `--key-file=${join(folder, 'absent')}`], {
      signal: stopping.signal,
      onTalk: text => {
        if (text.includes('"recording"')) stopping.abort()
      },
    })
    expect(run).to.have.property('code', 0)
    expect(run.err).to.match(/"level":"warn","msg":"there is no key file: hashes of this run cannot be compared/)
    await writeFile(join(folder, 'short'), 'secret')
    expect(await steno(['record', `--port=0=${server.port}`, '--admin=127.0.0.1:0', `--archive=${folder}`, `--key-file=${join(folder, 'short')}`])).to.have.property('err').that.matches(/holds 6 bytes.*config\.invalid/)
    expect(await steno(['up', `--upstream=${server.url}`, `--archive=${folder}`, `--key-file=${join(folder, 'absent')}`])).to.have.property('err').that.matches(/cannot read the key file/)
  })

  it('connects to the server from the address it is given: at its start, for calls and for upgrades', async () => {
    const from: (string | undefined)[] = []
    const server = createServer((_req, res) => res.writeHead(200, { 'content-type': 'application/json' }).end(result(1)))
    server.on('upgrade', (_req, socket) => socket.end('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhello'))
    server.on('connection', (socket: Socket) => from.push(socket.remoteAddress))
    const { port } = await listenOnLoopback(server)
    const listen = await freePort()
    const stopping = new AbortController()
    const started = Promise.withResolvers<void>()
    const running = steno(['record', `--port=${listen}=${port}`, '--connect-from=127.0.0.15', '--admin=127.0.0.1:0', `--archive=${folder}`], {
      signal: stopping.signal,
      onTalk: text => {
        if (text.includes('"recording"')) started.resolve()
      },
    })
    await Promise.race([started.promise, running])
    const answer = await fetch(`http://127.0.0.1:${listen}/mcp`, { method: 'POST', headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream' }, body: call(1) })
    expect(answer.status).to.equal(200)
    await answer.text()
    const client = await rawClient(listen)
    client.write('GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n')
    expect(await client.closed()).to.match(/^HTTP\/1\.1 101 [^]*hello$/)
    stopping.abort()
    expect(await running).to.have.property('code', 0)
    // The look at the upstream when it starts, the call, and the upgrade, which has the connection of the call or one of its own.
    expect(from).to.have.length.within(2, 3)
    expect(new Set(from)).to.deep.equal(new Set(['127.0.0.15']))
    expect((await readRecorded(folder)).of('exchange.end').map(({ status }) => status)).to.deep.equal([200, 101])
  })

  it('refuses to connect from what is no address, or none of its own', async () => {
    const server = await httpUpstream(() => {})
    for (const text of ['localhost', '127.0.0.15:0', '127.1', '::1', '']) {
      expect(await steno(['record', `--port=0=${server.port}`, `--connect-from=${text}`, '--admin=127.0.0.1:0', `--archive=${folder}`])).to.include({ code: 2 }).and.have.property('err').that.matches(/--connect-from must be an IPv4 address of this machine/)
    }
    // RFC 5737: of no machine.
    expect(await steno(['record', `--port=0=${server.port}`, '--connect-from=203.0.113.1', '--admin=127.0.0.1:0', `--archive=${folder}`])).to.include({ code: 2 }).and.have.property('err').that.matches(/--connect-from 203\.0\.113\.1 is no address of this machine/)
  })

  it('refuses ports that are none', async () => {
    expect(await steno(['record', '--port=15080', `--archive=${folder}`])).to.include({ code: 2 }).and.have.property('err').that.matches(/--port must be LISTEN=APP/)
    expect(await steno(['record'])).to.have.property('code', 2)
  })

  it('ends, and holds nothing, when one of its ports is taken', async () => {
    const taken = await httpUpstream(() => {})
    const run = await steno(['record', `--port=${await freePort()}=1`, `--port=${taken.port}=2`, '--admin=127.0.0.1:0', `--archive=${folder}`])
    expect(run.code).to.equal(1)
    expect(run.err).to.include('(listen.failed)')
  })
})
