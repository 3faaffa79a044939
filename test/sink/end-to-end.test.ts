/** The real program before a real upstream, to Firehose, to S3, and read back by the command line. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

import { expect } from 'chai'

import { BUCKET, STATIC_KEYS, STREAM } from '../support/aws/double.ts'
import { awsEnvironment, setAwsEnvironment } from '../support/aws/environment.ts'
import { SERVICES } from '../support/aws/services.ts'
import type { AwsService } from '../support/aws/services.ts'
import { steno } from '../support/cli.ts'
import type { CliRun } from '../support/cli.ts'
import { call, httpUpstream, result } from '../support/recorder.ts'
import type { Upstream } from '../support/recorder.ts'

const STENO = join(import.meta.dirname, '../../steno')
const KEYS = { AWS_ACCESS_KEY_ID: STATIC_KEYS.id, AWS_SECRET_ACCESS_KEY: STATIC_KEYS.secret }
const HEADERS = { 'Content-Type': 'application/json', Accept: 'application/json, text/event-stream', 'Mcp-Session-Id': 'the-session' }

for (const { name, start } of SERVICES) {
  for (const durability of ['local', 'off-pod'] as const) {
    describe(`steno up --sink firehose, durability ${durability}, on ${name}`, () => {
      let service: AwsService
      let upstream: Upstream
      let folder: string
      let restore: () => void
      const read = (...argv: string[]): Promise<CliRun> => steno([...argv, '--archive', `s3://${BUCKET}/team-a?endpoint=${service.endpoint}`], { env: { XDG_CACHE_HOME: folder }, now: Date.now })

      beforeEach(async function () {
        restore = setAwsEnvironment(KEYS)
        service = await start(this)
        folder = await mkdtemp(join(tmpdir(), 'end-to-end-'))
        upstream = await httpUpstream((_req, res) => void res.writeHead(200, { 'Content-Type': 'application/json' }).end(result(1, { content: [{ type: 'text', text: 'grüße' }] })))
      })
      afterEach(async () => {
        restore()
        await upstream?.close()
        await service?.close()
        if (folder !== undefined) await rm(folder, { recursive: true, force: true })
      })

      it('is in S3, whole and in order, when it was stopped, and its spool is empty', async () => {
        const spool = join(folder, 'spool')
        const argv = ['up', '--upstream', upstream.url, '--sink', `firehose://${STREAM}?endpoint=${service.endpoint}`, '--spool', spool, '--durability', durability, '--listen', '127.0.0.1:0', '--admin', '127.0.0.1:0']
        const child = spawn(STENO, argv, { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, ...awsEnvironment(KEYS) } })
        const said: string[] = []
        const url = await new Promise<string>((resolve, reject) => {
          createInterface({ input: child.stderr }).on('line', line => {
            said.push(line)
            const found = /"msg":"recording".*"url":"([^"]+)"/.exec(line)?.[1]
            if (found !== undefined) resolve(found)
          })
          child.on('exit', () => reject(new Error(said.join('\n'))))
        })
        for (let at = 0; at < 5; at++) {
          const response = await fetch(url, { method: 'POST', headers: HEADERS, body: call(1, 'echo', { text: `call ${at}` }) })
          expect(await response.text()).to.include('grüße')
        }
        if (durability === 'off-pod') {
          // Released, so it is there already.
          const shown = (await service.delivered()).length
          expect(shown).to.be.greaterThan(0)
        }
        const exited = once(child, 'exit')
        child.kill('SIGTERM')
        expect(await exited).to.deep.equal([0, null])
        expect(said.join('\n')).to.include('everything is shipped')
        expect(await readdir(spool)).to.deep.equal([])
        await service.delivered()

        const [session] = JSON.parse((await read('list', '-o', 'json')).out) as readonly { readonly id: string; readonly calls: number; readonly state: string }[]
        expect(session).to.include({ calls: 5, state: 'ended' })
        expect((await read('show', session?.id ?? '', '--paired', '-o', 'jsonl')).out.trim().split('\n')).to.have.length(5)
        const verified = await read('verify')
        expect(verified.out).to.match(/^consistent/)
        expect(verified.code).to.equal(0)
      })
    })
  }
}

describe('steno up --sink', () => {
  for (const [what, argv, says] of [
    ['an archive too', ['--sink', 'firehose://s?region=r', '--archive', 'x'], 'two places'],
    ['no region', ['--sink', 'firehose://s'], 'no region is set'],
    ['another scheme', ['--sink', 'kafka://s'], 'it is no firehose place'],
    ['an unknown parameter', ['--sink', 'firehose://s?regin=r'], "'regin' is none of region, endpoint"],
    ['a path', ['--sink', 'firehose://s/x?region=r'], 'a stream has no path'],
    ['an archive in S3', ['--archive', 's3://bucket'], 'through Firehose'],
    ['an archive in S3 that is written wrongly', ['--archive', 's3:/bucket'], 'through Firehose'],
    ['a stream in place of a folder', ['--archive', 'firehose://s'], 'give it as --sink'],
    ['a name that no stream has', ['--sink', `firehose://${'s'.repeat(65)}?region=r`], 'it is no firehose place'],
    ['a region that is none', ['--sink', 'firehose://s?region=eu%20west'], "'eu west' is no region"],
    ['an empty region', ['--sink', 'firehose://s?region='], "'' is no region"],
    ['an endpoint that is no URL', ['--sink', 'firehose://s?region=r&endpoint=http://h:99999'], 'endpoint must be an http or https URL'],
    ['keys in the endpoint', ['--sink', 'firehose://s?region=r&endpoint=http://a:b@h'], 'without user name or password'],
  ] as const) {
    it(`is refused with ${what}`, async () => {
      const { code, err } = await steno(['up', '--upstream', 'http://127.0.0.1:1/mcp', ...argv])
      expect(code).to.equal(2)
      expect(err).to.include(says).and.include('usage.invalid')
    })
  }

  for (const [name, value] of [['AWS_REGION', 'eu_west'], ['AWS_ENDPOINT_URL', 'localhost:4566'], ['AWS_ENDPOINT_URL_STS', 'nothing']] as const) {
    it(`is refused when ${name} is wrong`, async () => {
      const { code, err } = await steno(['up', '--upstream', 'http://127.0.0.1:1/mcp', '--sink', 'firehose://s?region=r'], { env: { [name]: value } })
      expect(code).to.equal(2)
      expect(err).to.include(name).and.include('usage.invalid')
    })
  }
})
