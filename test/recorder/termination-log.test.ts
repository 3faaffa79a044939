import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { existsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { expect } from 'chai'

import { startAwsDouble, STATIC_KEYS } from '../support/aws/double.ts'
import { setAwsEnvironment } from '../support/aws/environment.ts'
import { steno } from '../support/cli.ts'
import type { CliRun } from '../support/cli.ts'
import { call, httpUpstream, result } from '../support/recorder.ts'
import type { Upstream } from '../support/recorder.ts'

describe('the termination message of a recorder', () => {
  let folder: string
  let file: string
  let upstream: Upstream
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'termination-'))
    file = join(folder, 'termination-log')
    upstream = await httpUpstream((req, res) => {
      req.resume()
      req.on('end', () => res.writeHead(200, { 'content-type': 'application/json' }).end(result(1)))
    })
  })
  afterEach(async () => {
    await upstream.close()
    await rm(folder, { recursive: true, force: true })
  })
  const left = async (): Promise<string> => await readFile(file, 'utf8')
  /** Runs `steno up` for one call, then whatever `before` does, then ends it as a signal does. */
  const oneCall = async (flags: readonly string[], before: (url: string) => Promise<void> = async () => {}): Promise<CliRun> => {
    const stopping = new AbortController()
    const started = Promise.withResolvers<string>()
    const running = steno(['up', `--upstream=${upstream.url}`, '--listen=127.0.0.1:0', '--admin=127.0.0.1:0', `--spool=${join(folder, 'spool')}`, `--termination-log=${file}`, ...flags], {
      signal: stopping.signal,
      onTalk: text => {
        const url = /"msg":"recording".*"url":"([^"]+)"/.exec(text)?.[1]
        if (url !== undefined) started.resolve(url)
      },
    })
    const url = await Promise.race([started.promise, running.then(({ err }) => Promise.reject(new Error(err)))])
    await (await fetch(url, { method: 'POST', body: call(1) })).text()
    await before(url)
    stopping.abort()
    return await running
  }

  it('is not written when all is shipped', async () => {
    expect(await oneCall([`--archive=${folder}`])).to.have.property('code', 0)
    expect(existsSync(file)).to.equal(false)
  })

  it('says how much is left unshipped, and why, when the sink accepts nothing', async () => {
    const restore = setAwsEnvironment({ AWS_ACCESS_KEY_ID: STATIC_KEYS.id, AWS_SECRET_ACCESS_KEY: STATIC_KEYS.secret })
    const aws = await startAwsDouble()
    try {
      aws.fault = () => ({ type: 'refuse', status: 400, code: 'ResourceNotFoundException' })
      const run = await oneCall([`--sink=firehose://steno?region=us-east-1&endpoint=${aws.endpoint}`, '--linger=0'])
      expect(run.code).to.equal(0)
      expect(await left()).to.match(/^\d+ bytes are not shipped and stay in the spool for the next start; they are lost with its volume: .+ \(sink\.missing\)\n$/)
    } finally {
      await aws.close()
      restore()
    }
  })

  it('says that the recording is cut when the spool could not be written to the last', async () => {
    const run = await oneCall([`--archive=${folder}`, '--linger=0'], async url => {
      await rm(join(folder, 'spool'), { recursive: true })
      await writeFile(join(folder, 'spool'), 'in the way')
      expect(await (await fetch(url, { method: 'POST', body: call(2) })).text()).to.include('recording-impossible')
    })
    expect(run.code).to.equal(1)
    expect(await left()).to.match(/^the spool could not be written to the last, so this recording is cut/)
  })

  it('says why it did not start, in one line', async () => {
    await writeFile(file, 'what an earlier container left, longer than what follows'.repeat(10))
    const taken = new URL(upstream.url).host
    const run = await steno(['up', `--upstream=http://127.0.0.1:1`, `--listen=${taken}`, '--admin=127.0.0.1:0', `--archive=${folder}`, `--termination-log=${file}`])
    expect(run.code).to.equal(1)
    expect(await left()).to.match(/^did not record: [^\n]+ \(listen\.failed\)\n$/).and.to.include(taken)
  })

  it('fits into what the kubelet reads, whole characters only, when a sidecar is refused with a long reason', async () => {
    for (const shift of ['', 'a']) {
      const run = await steno(['record', `--port=${shift}${'ü'.repeat(5000)}`, `--archive=${folder}`, `--termination-log=${file}`])
      expect(run.code).to.equal(2)
      const bytes = await readFile(file)
      expect(bytes).to.have.property('length').that.is.within(4090, 4096)
      expect(new TextDecoder('utf-8', { fatal: true }).decode(bytes)).to.match(/^did not record: --port must be .*ü\n$/)
    }
  })

  it('changes no exit code when it cannot be written', async () => {
    const run = await steno(['record', '--port=none', `--archive=${folder}`, `--termination-log=${join(folder, 'none', 'file')}`])
    expect(run).to.include({ code: 2 }).and.have.property('err').that.matches(/termination message could not be written [^\n]*ENOENT/)
  })
})
