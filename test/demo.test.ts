import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { expect } from 'chai'

import { readRecorded } from './support/recorder.ts'

const START = join(import.meta.dirname, '../demo/start')

describe('npm start', () => {
  let archive: string
  let child: ChildProcess
  let out: string

  beforeEach(async () => {
    archive = await mkdtemp(join(tmpdir(), 'steno-demo-'))
    out = ''
  })
  afterEach(async () => {
    child.kill('SIGKILL')
    await rm(archive, { recursive: true, force: true })
  })

  const start = (...flags: readonly string[]): Promise<number | null> => {
    const started = spawn(START, [...flags, '--archive', archive], { stdio: ['ignore', 'pipe', 'pipe'] })
    child = started
    for (const stream of [started.stdout, started.stderr]) stream.on('data', (chunk: Buffer) => (out += chunk.toString()))
    return once(started, 'close').then(([code]) => code as number | null)
  }

  it('records a real session of a real server, verifies it and ends when --once is given', async () => {
    expect(await start('--once'), out).to.equal(0)
    const last = out.trimEnd().split('\n').at(-1) ?? ''
    const [, exchanges, sessions] = /^recorded (\d+) exchanges in (\d+) sessions?; consistent$/.exec(last) ?? []
    const recorded = await readRecorded(archive)
    expect(recorded.of('exchange.end')).to.have.length(Number(exchanges))
    expect(new Set(recorded.of('session.start').map(frame => frame.session))).to.have.property('size', Number(sessions))
    const asked = recorded.of('mcp').filter(frame => frame.type === 'request')
    expect(asked.filter(frame => frame.from === 'client').map(frame => frame.method)).to.include.members(['initialize', 'tools/list', 'tools/call', 'resources/read'])
    expect(asked.filter(frame => frame.from === 'server').map(frame => frame.method)).to.include.oneOf(['sampling/createMessage', 'elicitation/create'])
    expect(recorded.of('mcp').filter(frame => frame.method === 'notifications/progress')).not.to.be.empty
    expect(recorded.of('mcp').filter(frame => frame.isError === true)).not.to.be.empty
    expect(recorded.text).to.include('image/png')
    expect(out).to.match(/^NAME +/m)
  })

  it('stays up recording, and ends cleanly on Ctrl-C', async () => {
    const ended = start()
    while (!out.includes('Ctrl-C ends it.')) await Promise.race([once(child.stdout as NonNullable<ChildProcess['stdout']>, 'data'), ended.then(() => Promise.reject(new Error(out)))])
    const { url } = (JSON.parse(/^\{\n[^]*?^\}$/m.exec(out)?.[0] ?? '') as { mcpServers: { everything: { url: string } } }).mcpServers.everything
    const response = await fetch(url, { method: 'POST', headers: { 'User-Agent': 'other client' }, body: 'hello' })
    await response.arrayBuffer()
    child.kill('SIGINT')
    expect(await ended, out).to.equal(0)
    const recorded = await readRecorded(archive)
    expect(recorded.of('http').map(frame => frame.body)).to.include('hello')
    expect(recorded.frames.at(-1)?.kind).to.equal('writer.stop')
    expect(recorded.verdict).to.equal('consistent')
  })
})
