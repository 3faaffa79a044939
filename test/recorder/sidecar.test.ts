import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { expect } from 'chai'

import { decide } from '../../src/inject/decide.ts'
import { objectsAt } from '../../src/policy/json.ts'
import { steno } from '../support/cli.ts'
import { podCases } from '../support/golden-pods.ts'
import { freePort } from '../support/kube-apiserver.ts'
import { call, httpUpstream, readRecorded, result } from '../support/recorder.ts'

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
    const stopping = new AbortController()
    const started = Promise.withResolvers<void>()
    const running = steno(['record', ...servers.map((server, index) => `--port=${listen[index]}=${server.port}`), '--admin=127.0.0.1:0', `--archive=${folder}`, '--server-name=weather', '--linger=0'], {
      signal: stopping.signal,
      env: { STENO_POD: 'weather-0', STENO_NAMESPACE: 'team-a', STENO_NODE: 'node-a', STENO_IMAGE: 'steno:1', STENO_WORKLOAD: 'StatefulSet/weather', STENO_POLICY: 'all,tools', STENO_POLICY_HASH: '0123456789abcdef' },
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
    expect(recorded.of('writer.start')[0]?.policy).to.deep.equal({ name: 'all,tools', hash: '0123456789abcdef' })
    for (const { server } of recorded.of('session.start')) expect(server).to.include({ workload: 'StatefulSet/weather', pod: 'weather-0' })
    expect(recorded.of('session.start').map(({ server }) => server.name).toSorted()).to.deep.equal(servers.map(({ port }) => `weather:${port}`).toSorted())
    expect(new Set(recorded.of('session.start').map(({ session }) => session))).to.have.property('size', 2)
    expect(recorded.of('exchange.start').map(({ exchange }) => exchange)).to.deep.equal([0, 1])
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
    }
    expect(seen).to.have.property('size').greaterThan(10)
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
