/** The whole way through a real account: recorder, stream, bucket, reader. Only when it is asked for, since it writes a recording there that a locked bucket keeps. */

import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'

import { expect } from 'chai'

import { firehosePlace } from '../../src/cli/sink-flag.ts'
import type { Finding } from '../../src/cli/doctor/check.ts'
import { steno } from '../support/cli.ts'
import type { CliRun } from '../support/cli.ts'
import { call, httpUpstream, recorderBefore, result } from '../support/recorder.ts'

const HOW_TO_RUN = 'set STENO_AWS_LIVE=1, STENO_AWS_LIVE_SINK=firehose://stream?region=… and STENO_AWS_LIVE_ARCHIVE=s3://bucket/prefix?region=…, with credentials that may put, describe, list and read (CONTRIBUTING.md)'
/** Firehose buffers for at most 15 minutes. */
const DELIVERY_MS = 20 * 60_000
const ASK_MS = 10_000

describe('a real AWS account', () => {
  const { STENO_AWS_LIVE: live, STENO_AWS_LIVE_SINK: sink = '', STENO_AWS_LIVE_ARCHIVE: archive = '', ...env } = process.env
  let folder: string
  const run = async (...argv: readonly string[]): Promise<CliRun> => await steno(argv, { env: { ...(env as Record<string, string>), XDG_CACHE_HOME: folder }, now: Date.now })

  before(async function () {
    if (live !== '1') {
      console.error(`      skipped: a real account is only used when it is asked for: ${HOW_TO_RUN}`)
      return this.skip()
    }
    if (sink === '' || archive === '') throw new Error(HOW_TO_RUN)
    folder = await mkdtemp(join(tmpdir(), 'steno-live-'))
  })
  after(async () => {
    if (folder !== undefined) await rm(folder, { recursive: true, force: true })
  })

  it('is set up as the doctor wants the stream', async function () {
    this.timeout(60_000)
    const { out } = await run('doctor', 'aws', '--sink', sink, '--archive', archive, '-o', 'json')
    const findings = JSON.parse(out) as readonly Finding[]
    for (const { id, state, found, change } of findings) if (state !== 'ok') console.log(`      ${state} ${id}: ${found}; ${change ?? ''}`)
    expect(findings.filter(({ id, state }) => id.startsWith('stream.') && state !== 'ok' && state !== 'note').map(({ id }) => id)).to.deep.equal([])
  })

  it('has in S3, whole and in order, what a recorder has shipped', async function () {
    this.timeout(DELIVERY_MS + 120_000)
    const serverName = `live-${randomUUID()}`
    const upstream = await httpUpstream((_req, res) => void res.writeHead(200, { 'Content-Type': 'application/json' }).end(result(1, { content: [] })))
    const stdio = { env: process.env, stdin: process.stdin, stdout: process.stdout, stderr: process.stderr, signal: new AbortController().signal }
    // What this call returns was accepted by the stream: off-pod.
    const recorder = await recorderBefore(upstream.url, { serverName, durability: 'off-pod', sink: { type: 'firehose', ...firehosePlace(sink, stdio) } })
    for (let at = 0; at < 3; at++) {
      const response = await fetch(recorder.url, { method: 'POST', headers: { 'Content-Type': 'application/json', 'Mcp-Session-Id': serverName }, body: call(1, 'echo', { text: `call ${at}` }) })
      expect(await response.json()).to.have.property('result')
    }
    expect(await recorder.end()).to.deep.include({ unshippedBytes: 0, ended: true })
    await recorder.dispose()
    await upstream.close()

    const since = performance.now()
    const session = async (): Promise<string> => {
      for (;;) {
        const { out, err } = await run('list', '--archive', archive, '--since', '1h', '-o', 'json')
        const found = (JSON.parse(out === '' ? '[]' : out) as readonly { readonly id: string; readonly server: string; readonly state: string }[]).find(each => each.server === serverName && each.state === 'ended')
        if (found !== undefined) return found.id
        if (performance.now() - since > DELIVERY_MS) throw new Error(`not delivered within ${DELIVERY_MS / 60_000} min: ${err}`)
        await wait(ASK_MS)
      }
    }
    const id = await session()
    console.log(`      in S3 after ${Math.round((performance.now() - since) / 1000)} s`)
    expect((await run('show', id, '--archive', archive, '--paired', '-o', 'jsonl')).out.trim().split('\n')).to.have.length(3)
    const verified = await run('verify', id, '--archive', archive)
    expect(verified.out).to.match(/^consistent/)
    expect(verified.code).to.equal(0)
  })
})
