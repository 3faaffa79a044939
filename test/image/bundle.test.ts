/** The program as the image has it, on this machine's Node. */

import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

import { expect } from 'chai'

import { bundle } from '../../hack/image/bundle.ts'
import { call, httpUpstream, result } from '../support/recorder.ts'

const run = promisify(execFile)

describe('the bundle of the image', () => {
  let folder: string
  let packages: readonly string[]
  let main: string
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'bundle-'))
    packages = await bundle(folder)
    main = join(folder, 'dist/js/main.js')
  })
  after(async () => await rm(folder, { recursive: true, force: true }))

  it('records, ships and reads with nothing but itself', async () => {
    const server = await httpUpstream((req, res) => {
      req.resume()
      req.on('end', () => res.writeHead(200, { 'content-type': 'application/json', 'mcp-session-id': 'one' }).end(result(1, { content: [] })))
    })
    const archive = join(folder, 'archive')
    // Without the repository as working directory, and so without its packages.
    const recorder = spawn(process.execPath, [main, 'up', '--upstream', `http://127.0.0.1:${server.port}/mcp`, '--archive', archive, '--listen', '127.0.0.1:0', '--admin', '127.0.0.1:0', '--linger', '0'], { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] })
    const ended = once(recorder, 'exit')
    const log: string[] = []
    try {
      const url = await new Promise<string>((resolve, reject) => {
        recorder.stderr.setEncoding('utf8').on('data', (text: string) => {
          log.push(text)
          const found = /"url":"([^"]+)"/.exec(log.join(''))?.[1]
          if (found !== undefined) resolve(found)
        })
        recorder.once('exit', () => reject(new Error(`it ended: ${log.join('')}`)))
      })
      const answer = await fetch(url, { method: 'POST', headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream' }, body: call(1) })
      expect(await answer.text()).to.equal(result(1, { content: [] }))
    } finally {
      recorder.kill('SIGTERM')
    }
    expect(await ended, log.join('')).to.deep.equal([0, null])
    const verified = await run(process.execPath, [main, 'verify', '--archive', archive], { cwd: folder })
    expect(verified.stdout).to.include('consistent')
    const listed = await run(process.execPath, [main, 'list', '--archive', archive, '-o', 'name'], { cwd: folder })
    expect(listed.stdout.trim().split('\n')).to.have.length(1)
    await server.close()
  })

  for (const [command, says] of [
    [['inject', '--config', 'none.yaml', '--own-certificates'], 'cannot read none.yaml'],
    [['operate', '--config', 'none.yaml'], 'cannot read none.yaml'],
    [['record', '--port', 'none'], '--port must be'],
    [['stats', '-f', 'none.jsonl'], 'none.jsonl'],
    [['list', '--archive', 's3://bucket?endpoint=http://127.0.0.1:9'], "cannot list bucket 'bucket'"],
  ] as const)
    it(`has all that 'steno ${command[0]}' loads`, async () => {
      const ended: unknown = await run(process.execPath, [main, ...command], { cwd: folder, env: { AWS_ACCESS_KEY_ID: 'id', AWS_SECRET_ACCESS_KEY: 'key' } }).catch((error: unknown) => error)
      expect(ended).to.have.property('stderr').that.includes(says)
    })

  it('has only packages that the manifest or one of its dependencies asks for, and none of the tests', () => {
    expect(packages).to.include.members(['node_modules/undici', 'node_modules/prom-client', 'node_modules/express'])
    expect(packages.filter(each => /mocha|chai|@modelcontextprotocol|esbuild/.test(each))).to.deep.equal([])
  })
})
